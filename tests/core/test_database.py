"""Hot statements are parsed and planned once a connection."""

import pytest
from django.db import connection

from spoke.core.database import prepared_cursor

STATEMENT = "SELECT %(number)s::bigint + 1 AS more"


def prepared() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement FROM pg_prepared_statements")
        return [text for (text,) in cursor.fetchall()]


@pytest.mark.django_db
def test_a_statement_is_prepared_with_its_fourth_use(django_assert_num_queries):
    with django_assert_num_queries(4):
        for number in range(4):
            with prepared_cursor() as cursor:
                cursor.execute(STATEMENT, {"number": number, "unused": 1})
                assert cursor.fetchone() == (number + 1,)
    assert prepared().count("SELECT $1::bigint + 1 AS more") == 1


@pytest.mark.django_db
def test_behind_an_old_pooler_nothing_is_kept(monkeypatch):
    connection.ensure_connection()
    monkeypatch.setattr(connection.connection, "prepare_threshold", None)
    for _ in range(6):
        with prepared_cursor() as cursor:
            cursor.execute("SELECT %(word)s::text", {"word": "kept?"})
    assert "SELECT $1::text" not in prepared()
