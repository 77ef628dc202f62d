"""Breaking changes of features and options: presence, closed enums, encodings, extensions, editions."""

import pytest

from registry.tests.test_breaking import found


def proto2(body):
    return f'syntax = "proto2"; package p; {body}'


def proto3(body):
    return f'syntax = "proto3"; package p; {body}'


def edition(body, year=2023):
    return f'edition = "{year}"; package p; {body}'


def message(body):
    return f"message M {{ {body} }}"


EXTENDED = "message M { extensions 100 to max; } message O { extensions 100 to max; } "
DELIMITED = "[features.message_encoding = DELIMITED]"

BREAKING = [
    (
        proto3(message("optional string a = 1;")),
        proto3(message("string a = 1;")),
        [("field_presence_removed", "p.M.a")],
    ),
    (
        proto2(message("required string a = 1;")),
        proto2(message("reserved 1; reserved 'a';")),
        [("required_field_removed", "p.M.a")],
    ),
    (
        proto2(message("optional int32 a = 1;")),
        proto2(message("optional int32 a = 1 [default = 5];")),
        [("field_default_changed", "p.M.a")],
    ),
    (
        proto3(message("int64 a = 1;")),
        proto3(message("int64 a = 1 [jstype = JS_STRING];")),
        [("field_jstype_changed", "p.M.a")],
    ),
    (
        proto2(message("extensions 4 to max;")),
        proto2(message("option message_set_wire_format = true; extensions 4 to max;")),
        [("message_set_changed", "p.M")],
    ),
    (
        proto2("enum E { A = 0; B = 1; }"),
        proto2("enum E { B = 1; A = 0; }"),
        [("enum_default_changed", "p.E")],
    ),
    (
        proto2("enum E { A = 0; }"),
        proto3("enum E { A = 0; }"),
        [("enum_type_changed", "p.E")],
    ),
    (
        proto3("enum E { A = 0; }"),
        proto2("enum E { A = 0; }"),
        [("enum_type_changed", "p.E"), ("json_format_changed", "p.E")],
    ),
    (
        proto2(message("optional string a = 1;")),
        proto3(message("optional string a = 1;")),
        [("field_utf8_validation_changed", "p.M.a")],
    ),
    (
        proto3("message Q {} service S { rpc Get(Q) returns (Q); }"),
        proto3(
            "message Q {} service S { rpc Get(Q) returns (Q)"
            " { option idempotency_level = NO_SIDE_EFFECTS; } }"
        ),
        [("method_idempotency_changed", "p.S.Get")],
    ),
    # What editions say by features, older syntax says otherwise.
    (
        edition(message("string a = 1;")),
        edition(message("string a = 1 [features.field_presence = LEGACY_REQUIRED];")),
        [("field_cardinality_changed", "p.M.a")],
    ),
    (
        edition(message("")),
        edition(message("string a = 1 [features.field_presence = LEGACY_REQUIRED];")),
        [("required_field_added", "p.M.a")],
    ),
    (
        edition("message A {} " + message("A a = 1;")),
        edition("message A {} " + message(f"A a = 1 {DELIMITED};")),
        [("field_type_changed", "p.M.a")],
    ),
    (
        edition("enum E { A = 0; }"),
        edition("option features.enum_type = CLOSED; enum E { A = 0; }"),
        [("enum_type_changed", "p.E")],
    ),
    (
        edition(message("string a = 1;")),
        edition(message("string a = 1 [features.field_presence = IMPLICIT];")),
        [("field_presence_removed", "p.M.a")],
    ),
    (
        edition(message("message I {}") + " message T {}"),
        edition(message("message I {}") + " local message T {}", 2024),
        [("visibility_narrowed", "p.M.I"), ("visibility_narrowed", "p.T")],
    ),
    # Extensions.
    (
        proto2(EXTENDED + "extend M { optional int32 x = 100; optional int32 y = 101; }"),
        proto2(EXTENDED + "extend M { optional int32 x = 100; }"),
        [("extension_removed", "p.y")],
    ),
    (
        proto2(EXTENDED + "extend M { optional int32 x = 100; optional int32 y = 101; }"),
        proto2(EXTENDED + "extend M { optional string x = 100; repeated int32 y = 102; }"),
        [
            ("field_cardinality_changed", "p.y"),
            ("field_renumbered", "p.y"),
            ("field_type_changed", "p.x"),
        ],
    ),
    (
        proto2(EXTENDED + "extend M { optional int32 x = 100; }"),
        proto2(EXTENDED + "extend O { optional int32 x = 100; }"),
        [("extension_extendee_changed", "p.x")],
    ),
    (
        proto2(EXTENDED + "message H { extend M { optional int32 x = 100; } }"),
        proto2(EXTENDED + "message H {}"),
        [("extension_removed", "p.H.x")],
    ),
]

COMPATIBLE = [
    (proto3(message("string a = 1;")), proto3(message("optional string a = 1;"))),
    (proto3(message("M a = 1;")), proto3(message("optional M a = 1;"))),
    (
        proto3(message("repeated int32 a = 1;")),
        proto3(message("repeated int32 a = 1 [packed = false];")),
    ),
    (proto3("enum E { A = 0; }"), proto3("enum E { option allow_alias = true; A = 0; Z = 0; }")),
    (proto3(message("")), proto3(message("option deprecated = true;"))),
    # The same, written as an edition: a file may take a new syntax.
    (
        proto3("enum E { A = 0; } " + message("string a = 1; optional int32 b = 2; M m = 3;")),
        edition(
            "option features.field_presence = IMPLICIT; enum E { A = 0; } "
            + message("string a = 1; int32 b = 2 [features.field_presence = EXPLICIT]; M m = 3;")
        ),
    ),
    (
        proto2("enum E { A = 0; } " + message("required string a = 1; optional group G = 2 {}")),
        edition(
            "option features.enum_type = CLOSED; option features.utf8_validation = NONE;"
            " option features.json_format = LEGACY_BEST_EFFORT; enum E { A = 0; } "
            + message(
                "string a = 1 [features.field_presence = LEGACY_REQUIRED];"
                f" message G {{}} G g = 2 {DELIMITED};"
            )
        ),
    ),
    (
        edition(message("export message I {}"), 2024),
        edition(message("message I {}"), 2023),
    ),
]


@pytest.mark.parametrize(("old", "new", "expected"), BREAKING)
def test_breaking(old, new, expected):
    assert sorted(found(old, new)) == expected
    assert found(old, old) == found(new, new) == []


@pytest.mark.parametrize(("old", "new"), COMPATIBLE)
def test_compatible(old, new):
    assert found(old, new) == []
