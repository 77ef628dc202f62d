"""The rules of breaking changes, on descriptors that the real protoc makes."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.breaking import _Ranges, breaking_changes
from registry.protoc import Limits, run_protoc, working_folder


def descriptors(*texts: str) -> bytes:
    """The descriptor set of files a0.proto, a1.proto and so on."""
    with working_folder() as folder:
        (folder / "src").mkdir()
        names = [f"a{number}.proto" for number in range(len(texts))]
        for name, text in zip(names, texts, strict=True):
            (folder / "src" / name).write_text(text)
        outcome = run_protoc(
            arguments=[
                "--proto_path=src",
                "--descriptor_set_out=out",
                *(f"src/{n}" for n in names),
            ],
            folder=folder,
            limits=Limits(),
        )
        assert outcome.succeeded, outcome.log
        return (folder / "out").read_bytes()


def proto3(body: str) -> str:
    return f'syntax = "proto3"; package p; {body}'


def found(old: str, new: str) -> list[tuple[str, str]]:
    return [(c.rule, c.element) for c in breaking_changes(descriptors(old), descriptors(new))]


MESSAGE = "message M { string a = 1; int32 b = 2; }"
ENUM = "enum E { ZERO = 0; ONE = 1; TWO = 2; }"
SERVICE = "message Q {} message R {} service S { rpc Get(Q) returns (R); rpc Put(Q) returns (R); }"

BREAKING = [
    (MESSAGE, "message N {}", [("message_removed", "p.M")]),
    (MESSAGE, "message M { string a = 1; }", [("field_removed", "p.M.b")]),
    (MESSAGE, "message M { reserved 2; string a = 1; }", [("field_removed", "p.M.b")]),
    (MESSAGE, "message M { string a = 1; int32 b = 3; }", [("field_renumbered", "p.M.b")]),
    (MESSAGE, "message M { string a = 1; int32 c = 2; }", [("field_renamed", "p.M.b")]),
    (
        MESSAGE,
        "message M { string b = 1; int32 a = 2; }",
        [("field_renumbered", "p.M.a"), ("field_renumbered", "p.M.b")],
    ),
    (MESSAGE, "message M { string a = 1; int64 b = 2; }", [("field_type_changed", "p.M.b")]),
    (
        MESSAGE,
        "message M { repeated string a = 1; int32 b = 2; }",
        [("field_cardinality_changed", "p.M.a")],
    ),
    (
        MESSAGE,
        'message M { string a = 1 [json_name = "x"]; int32 b = 2; }',
        [("field_json_name_changed", "p.M.a")],
    ),
    (
        MESSAGE,
        "message M { oneof o { string a = 1; } int32 b = 2; }",
        [("field_oneof_changed", "p.M.a")],
    ),
    (
        "message M { oneof o { string a = 1; int32 b = 2; } }",
        "message M { oneof o { string a = 1; } oneof x { int32 b = 2; } }",
        [("field_oneof_changed", "p.M.b")],
    ),
    (
        "message M { map<string, int32> a = 1; }",
        "message M { map<string, int64> a = 1; }",
        [("field_type_changed", "p.M.a")],
    ),
    (
        "message M { map<string, int32> a = 1; }",
        "message M { string a = 1; }",
        [("field_cardinality_changed", "p.M.a"), ("field_type_changed", "p.M.a")],
    ),
    (
        "message A {} message B {} message M { A a = 1; }",
        "message A {} message B {} message M { B a = 1; }",
        [("field_type_changed", "p.M.a")],
    ),
    (
        "message M { message I { message J {} } enum F { Z = 0; } } message N {}",
        "message N {}",
        [("message_removed", "p.M")],
    ),
    (
        "message M { message I {} enum F { Z = 0; } }",
        "message M {}",
        [("enum_removed", "p.M.F"), ("message_removed", "p.M.I")],
    ),
    (
        "message M { reserved 5 to 9; reserved 'x'; }",
        "message M { reserved 5 to 7; }",
        [("reserved_name_removed", "p.M"), ("reserved_range_removed", "p.M")],
    ),
    (ENUM, "message N {}", [("enum_removed", "p.E")]),
    (ENUM, "enum E { ZERO = 0; ONE = 1; }", [("enum_value_removed", "p.E.TWO")]),
    (ENUM, "enum E { ZERO = 0; ONE = 1; TWO = 3; }", [("enum_value_renumbered", "p.E.TWO")]),
    (ENUM, "enum E { ZERO = 0; ONE = 1; DUO = 2; }", [("enum_value_renamed", "p.E.TWO")]),
    (
        "enum E { reserved 3 to 5; reserved 'X'; ZERO = 0; }",
        "enum E { reserved 3 to 4; ZERO = 0; }",
        [("reserved_name_removed", "p.E"), ("reserved_range_removed", "p.E")],
    ),
    (SERVICE, "message Q {} message R {}", [("service_removed", "p.S")]),
    (
        SERVICE,
        "message Q {} message R {} service S { rpc Get(Q) returns (R); }",
        [("method_removed", "p.S.Put")],
    ),
    (
        SERVICE,
        "message Q {} message R {} service S { rpc Get(R) returns (R); rpc Put(Q) returns (Q); }",
        [("method_request_changed", "p.S.Get"), ("method_response_changed", "p.S.Put")],
    ),
    (
        SERVICE,
        "message Q {} message R {}"
        " service S { rpc Get(Q) returns (stream R); rpc Put(stream Q) returns (R); }",
        [("method_streaming_changed", "p.S.Get"), ("method_streaming_changed", "p.S.Put")],
    ),
]

COMPATIBLE = [
    (MESSAGE, MESSAGE + " message N {}"),
    (MESSAGE, "message M { string a = 1; int32 b = 2; bytes c = 3; }"),
    (MESSAGE, "message M { reserved 2; reserved 'b'; string a = 1; }"),
    (MESSAGE, "message M { reserved 2 to 9; reserved 'b', 'x'; string a = 1; }"),
    (MESSAGE, "message M { optional string a = 1; int32 b = 2; }"),
    ("message M { map<string, int32> a = 1; }", "message M { reserved 1; reserved 'a'; }"),
    ("message M { reserved 1 to 5; }", "message M { reserved 3 to 9; reserved 1, 2; }"),
    (ENUM, "enum E { reserved 2; reserved 'TWO'; ZERO = 0; ONE = 1; THREE = 3; }"),
    (ENUM, "enum E { option allow_alias = true; ZERO = 0; ONE = 1; DUO = 2; TWO = 2; }"),
    (SERVICE, SERVICE + " service T {}"),
]


@pytest.mark.parametrize(("old", "new", "expected"), BREAKING)
def test_breaking(old, new, expected):
    assert sorted(found(proto3(old), proto3(new))) == expected
    assert found(proto3(old), proto3(old)) == []


@pytest.mark.parametrize(("old", "new"), COMPATIBLE)
def test_compatible(old, new):
    assert found(proto3(old), proto3(new)) == []


def test_a_package_that_is_gone_is_named_once():
    old = descriptors('syntax = "proto3"; package q; message Q {}', proto3(MESSAGE + ENUM))
    new = descriptors('syntax = "proto3"; package q; message Q {}')
    (change,) = breaking_changes(old, new)
    assert (change.rule, change.element, change.path) == ("package_removed", "p", "a1.proto")
    assert change.message == 'Package "p" is gone, with all that it held.'


def test_proto2_knows_required_fields_groups_and_extensions():
    def proto2(body):
        return f'syntax = "proto2"; package p; message M {{ {body} }}'

    assert found(proto2(""), proto2("required int32 a = 1;")) == [("required_field_added", "p.M.a")]
    assert found(proto2("required int32 a = 1;"), proto2("optional int32 a = 1;")) == [
        ("field_cardinality_changed", "p.M.a")
    ]
    assert found(proto2("optional group G = 1 {}"), proto2("message G {} optional G g = 1;")) == [
        ("field_type_changed", "p.M.g")
    ]
    assert found(proto2("extensions 100 to 199;"), proto2("extensions 100 to 150;")) == [
        ("extension_range_removed", "p.M")
    ]


def test_it_says_what_was_and_what_is():
    old, new = proto3(MESSAGE), proto3("message M { string a = 1; repeated M b = 2; }")
    changes = breaking_changes(descriptors(old), descriptors(new))
    assert [change.message for change in changes] == [
        'Field "b" (2) was singular and is repeated now.',
        'Field "b" (2) was int32 and is p.M now.',
    ]
    assert {change.path for change in changes} == {"a0.proto"}


@settings(max_examples=25, deadline=None)
@given(
    fields=st.dictionaries(
        st.integers(1, 30), st.sampled_from(["int32", "string", "bool"]), min_size=1
    ),
    removed=st.sets(st.integers(1, 30)),
    keep_reserved=st.booleans(),
)
def test_every_removed_field_is_found_unless_reserved(fields, removed, keep_reserved):
    def text(numbers, reserved=()):
        body = "".join(f"reserved {n}; reserved 'f{n}';" for n in sorted(reserved))
        body += "".join(f"{fields[n]} f{n} = {n};" for n in sorted(numbers))
        return proto3(f"message M {{ {body} }}")

    gone = removed & fields.keys()
    new = text(fields.keys() - gone, gone if keep_reserved else ())
    expected = [] if keep_reserved else sorted(f"p.M.f{n}" for n in gone)
    changes = found(text(fields), new)
    assert sorted(element for _, element in changes) == expected
    assert {rule for rule, _ in changes} <= {"field_removed"}


def many_fields(names: str, number: int) -> str:
    numbers = (n if n < 19_000 else n + 1_000 for n in range(1, number + 1))
    return f"message M {{ {' '.join(f'int32 {names}{n} = {n};' for n in numbers)} }}"


def test_a_message_of_very_many_fields_is_compared_at_once():
    """Seconds for each thousand, were every field looked for among all others: 20,000 took minutes."""
    old = descriptors(proto3(many_fields("a", 20_000)))
    renamed = descriptors(proto3(many_fields("b", 20_000)))
    reserved = ", ".join(f"{n}" for n in range(1, 20_000, 2) if not 19_000 <= n < 20_000)
    gone = descriptors(proto3(f"message M {{ reserved {reserved}; }}"))
    begun = time.process_time()
    assert len(breaking_changes(old, renamed)) == 20_000
    assert len(breaking_changes(old, gone)) == 20_000
    assert len(breaking_changes(gone, old)) == len(reserved.split())
    assert time.process_time() - begun < 15


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(1, 6))),
    st.integers(0, 30),
    st.integers(0, 8),
)
def test_ranges_cover_what_their_numbers_do(ranges, start, length):
    numbers = {n for low, size in ranges for n in range(low, low + size)}
    covering = _Ranges((low, low + size) for low, size in ranges)
    expected = numbers >= set(range(start, start + length))
    assert covering.cover(start, start + length) == expected
