"""Which database errors are outages, and how problems look outside the API's views."""

import json
from typing import Any

import psycopg
import pytest
from django.db import IntegrityError, InterfaceError, OperationalError, connection
from django.test import Client
from redis.exceptions import ConnectionError as RedisConnectionError
from rest_framework.exceptions import ValidationError

from spoke.core.problem import ProblemFormatter, is_outage


def _with_cause(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (InterfaceError("connection already closed"), True),
        (_with_cause(OperationalError(), psycopg.errors.AdminShutdown()), True),
        (_with_cause(OperationalError(), psycopg.errors.LockNotAvailable()), True),
        (_with_cause(OperationalError(), psycopg.errors.DeadlockDetected()), True),
        (_with_cause(OperationalError(), psycopg.OperationalError("connection refused")), True),
        (_with_cause(IntegrityError(), psycopg.errors.UniqueViolation()), False),
        (_with_cause(OperationalError(), psycopg.errors.OutOfMemory()), True),
        (RedisConnectionError(), True),
        (ValueError(), False),
    ],
)
def test_outages_are_told_from_mistakes(error, expected):
    assert is_outage(error) is expected


def test_an_unknown_address_is_a_problem_with_the_request_id():
    response = Client().get("/nowhere", headers={"X-Request-ID": "abc-1"})
    assert response.status_code == 404
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.headers["X-Request-ID"] == "abc-1"
    assert json.loads(response.content) == {
        "type": "/docs/errors#not_found",
        "title": "Not Found",
        "status": 404,
        "detail": "There is nothing at this address.",
        "code": "not_found",
        "errors": [],
        "request_id": "abc-1",
    }


@pytest.mark.parametrize("sent", ["a b", "x" * 65, "ü", "<script>"])
def test_a_request_id_that_could_harm_a_log_is_replaced(sent):
    response = Client().get("/nowhere", headers={"X-Request-ID": sent})
    assert response.headers["X-Request-ID"] != sent
    assert len(response.headers["X-Request-ID"]) == 32


def test_a_host_that_is_not_ours_is_a_400():
    response = Client().get("/docs", headers={"Host": "evil.example"})
    assert response.status_code == 400
    assert json.loads(response.content)["code"] == "bad_request"


def test_a_body_without_a_length_is_refused_and_not_taken_for_none():
    headers = {"Transfer-Encoding": "chunked"}
    response = Client().generic("PATCH", "/orgs/acme", b"", headers=headers)
    assert (response.status_code, response.json()["code"]) == (411, "length_required")
    assert response.json()["request_id"] == response.headers["X-Request-ID"]
    assert Client().get("/health/live", headers=headers).status_code == 200
    sized = Client().generic("PATCH", "/orgs/acme", b"{}", headers=headers)
    assert sized.json()["code"] == "not_authenticated"


@pytest.mark.django_db
def test_health_says_what_answers():
    assert Client().get("/health/live").json() == {"status": "ok"}
    response = Client().get("/health/ready")
    assert response.status_code == 200
    assert response.json() == {"status": "ok", "checks": {"database": "ok", "redis": "ok"}}
    assert connection.is_usable()


def test_of_many_errors_the_first_are_listed_with_their_places():
    detail = {
        "files": [{}, *({"path": ["Bad.", "Worse."]} for _ in range(100_000))],
        "name": ["Missing."],
    }
    context: Any = {}
    formatter = ProblemFormatter(ValidationError(detail), context, Exception())
    errors = formatter.run()["errors"]
    assert len(errors) == 100
    assert {error["field"] for error in errors} == {f"files.{n}.path" for n in range(1, 51)}
