"""JSON in: everything that cannot be stored is refused with its place, nothing else is."""

import contextlib
import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.exceptions import ParseError, ValidationError

from spoke.core.errors import PayloadTooLarge
from spoke.core.parsers import (
    MAX_INTEGER,
    MAX_VALUES,
    _check,
    parse_json,
    require_few_values,
)

STORABLE_TEXT = st.text(
    st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=20
)
STORABLE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-MAX_INTEGER, MAX_INTEGER)
    | st.floats(-1e15, 1e15, allow_nan=False)
    | STORABLE_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(STORABLE_TEXT, inner, max_size=4),
    max_leaves=12,
)


@given(STORABLE)
def test_storable_json_comes_through_unchanged(value):
    assert parse_json(json.dumps(value).encode()) == value


@given(st.binary(max_size=200))
def test_any_bytes_are_either_parsed_or_refused_clearly(body):
    with contextlib.suppress(ParseError, ValidationError):
        json.dumps(parse_json(body))


@pytest.mark.parametrize(
    ("body", "field", "code"),
    [
        (b'{"a": {"b": "x\\u0000"}}', "a.b", "null_characters_not_allowed"),
        (b'{"a": ["ok", "\\udc00"]}', "a.1", "surrogate_characters_not_allowed"),
        (b'{"a": 9223372036854775808}', "a", "number_too_large"),
        (b'{"a": 1e999}', "a", "number_too_large"),
        (b'["\\u0000"]', "0", "null_characters_not_allowed"),
        (b'"\\u0000"', "non_field_errors", "null_characters_not_allowed"),
        (b'{"a": [1, {"b": 2}], "c\\u0000": 3}', "non_field_errors", "null_characters_not_allowed"),
        (b'{"a": [1, {"b": 2, "c\\ud800": 3}]}', "a.1", "surrogate_characters_not_allowed"),
        (b'{"a": [[], {}, [1, [2]], "\\u0000"]}', "a.3", "null_characters_not_allowed"),
    ],
)
def test_what_cannot_be_stored_is_refused_by_its_place(body, field, code):
    with pytest.raises(ValidationError) as caught:
        parse_json(body)
    detail: Any = caught.value.detail
    assert list(detail) == [field]
    assert detail[field][0].code == code


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "not valid JSON"),
        (b"\xff\xfe", "not UTF-8 at byte 0"),
        (b'{"a": NaN}', "NaN is not JSON"),
        (b'{"a": 1, "a": 2}', "appears twice"),
        (b"[" * MAX_VALUES, "nested deeper"),
        (b"[" * 40 + b"]" * 40, "nested deeper"),
        (b"1" * 5000, "not valid JSON"),
    ],
)
def test_what_is_not_json_is_refused(body, words):
    with pytest.raises(ParseError, match=words):
        parse_json(body)


def separators_of(value: Any) -> int:
    """The commas and opening brackets that a value is written with."""
    if not isinstance(value, list | dict):
        return 0
    inner = list(value.values()) if isinstance(value, dict) else value
    return 1 + max(len(inner) - 1, 0) + sum(map(separators_of, inner))


SEPARATING_TEXT = st.text(st.sampled_from('[]{},:"\\ \nä'), max_size=6)


@given(
    st.recursive(
        st.integers() | SEPARATING_TEXT,
        lambda inner: st.lists(inner) | st.dictionaries(SEPARATING_TEXT, inner),
    )
)
def test_what_separates_values_is_counted_outside_of_strings_alone(value):
    body, found = json.dumps(value).encode(), separators_of(value)
    require_few_values(body, max(found, 1))
    if found > 1:
        with pytest.raises(PayloadTooLarge):
            require_few_values(body, found - 1)


@pytest.mark.parametrize("value", [b"1", b'"a"', b'"\\\\"'])
def test_one_value_more_than_the_most_is_refused(value):
    assert len(parse_json(b"[" + b",".join([value] * MAX_VALUES) + b"]")) == MAX_VALUES
    with pytest.raises(PayloadTooLarge) as refused:
        parse_json(b"[" + b",".join([value] * (MAX_VALUES + 1)) + b"]")
    assert refused.value.error_code == "too_many_values"


@pytest.mark.parametrize(
    "unit", [b"[],", b"{},", b'"",', b'{"a":1},', b"[" * 31 + b"]" * 31 + b",", b'\\"']
)
def test_thirty_megabytes_of_nothing_are_refused_before_anything_is_made_of_them(unit):
    body = b'{"files": [' + unit * (30 * 2**20 // len(unit))
    tracemalloc.start()
    try:
        with pytest.raises((PayloadTooLarge, ParseError)):
            parse_json(body)
        assert tracemalloc.get_traced_memory()[1] < 4 * len(body)
    finally:
        tracemalloc.stop()


def test_looking_at_a_body_takes_no_memory_beside_it():
    data = [0] * 1_000_000
    tracemalloc.start()
    _check({"a": {"b": data}})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000
