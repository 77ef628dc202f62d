"""What becomes of files: gone, moved out of, imported otherwise, with other options."""

import time

import pytest

from registry.breaking import breaking_changes
from registry.tests.test_breaking import descriptors, proto3

M, N = "message M { enum E { Z = 0; } }", "message N {}"
SERVICE = "service S { rpc Get(M) returns (M); }"


def found(old, new):
    changes = breaking_changes(descriptors(*old), descriptors(*new))
    return [(change.path, change.element, change.rule) for change in changes]


def test_a_file_that_is_gone_fails_those_who_import_it():
    both = [proto3(M), proto3(N)]
    assert found(both, [proto3(M + N)]) == [("a1.proto", "a1.proto", "file_removed")]
    assert found(both, [proto3(M)]) == [
        ("a1.proto", "a1.proto", "file_removed"),
        ("a1.proto", "p.N", "message_removed"),
    ]
    only_imports = 'syntax = "proto3"; import public "a0.proto";'
    assert found([proto3(M), only_imports], [proto3(M)]) == [
        ("a1.proto", "a1.proto", "file_removed")
    ]
    assert found([proto3(M)], [proto3(M), proto3(N)]) == []


def test_what_moves_to_another_file_is_found_only_by_a_public_import():
    old = [proto3(M + SERVICE), proto3(N)]
    plain = [proto3('import "a1.proto"; ' + SERVICE), proto3(M + N)]
    assert found(old, plain) == [("a0.proto", "p.M", "message_moved")]
    assert found(old, [proto3('import public "a1.proto"; ' + SERVICE), proto3(M + N)]) == []
    # Through a third file as well.
    middle = proto3('import public "a2.proto";' + N)
    assert found(old, [proto3('import public "a1.proto"; ' + SERVICE), middle, proto3(M)]) == []
    assert found(
        [proto3(M + SERVICE), proto3("")], [proto3(M), proto3('import "a0.proto"; ' + SERVICE)]
    ) == [("a0.proto", "p.S", "service_moved")]
    assert found([proto3("enum X { Y = 0; }"), ""], ["", proto3("enum X { Y = 0; }")]) == [
        ("a0.proto", "p.X", "enum_moved")
    ]


def test_a_public_import_that_is_gone_is_missed_by_whoever_relied_on_it():
    wkt = "google/protobuf/any.proto"
    assert found([proto3(f'import public "{wkt}";')], [proto3(f'import "{wkt}";')]) == [
        ("a0.proto", wkt, "public_import_removed")
    ]
    old = [proto3('import public "a1.proto";'), proto3(N)]
    assert found(old, [proto3(""), proto3(N)]) == [
        ("a0.proto", "a1.proto", "public_import_removed")
    ]
    # That the file is gone says it all.
    assert found(old, [proto3(N)]) == [("a1.proto", "a1.proto", "file_removed")]
    assert found([proto3(f'import "{wkt}";')], [proto3("")]) == []


def test_very_many_elements_that_moved_behind_very_many_files_are_compared_at_once():
    elements = "".join(f"message M{n} {{}} " for n in range(5_000))
    rest = [proto3(f'import public "a{n + 1}.proto";') for n in range(1, 400)]
    last = proto3("")
    old = [proto3(f'import public "a1.proto"; {elements}'), *rest, last, proto3("")]
    new = [proto3('import public "a1.proto";'), *rest, last, proto3(elements)]
    before, after = descriptors(*old), descriptors(*new)
    begun = time.process_time()
    assert len(breaking_changes(before, after)) == 5_000
    assert time.process_time() - begun < 5


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('java_package = "a"', 'java_package = "b"', 'java_package was "a" and is "b" now.'),
        ("", 'java_package = "b"', 'java_package was "p" and is "b" now.'),
        ("", 'java_package = "p"', None),
        ("", "java_multiple_files = true", "java_multiple_files was false and is true now."),
        ('go_package = "x/a"', 'go_package = "x/b"', 'go_package was "x/a" and is "x/b" now.'),
        ('go_package = "x/a"', "", 'go_package was "x/a" and is not set now.'),
        ("", 'go_package = "x/b"', None),
        ("", 'csharp_namespace = "P"', 'csharp_namespace was not set and is "P" now.'),
        (
            "optimize_for = LITE_RUNTIME",
            "",
            "optimize_for was LITE_RUNTIME and is SPEED now.",
        ),
        ("", "cc_enable_arenas = true", None),
        ("", "deprecated = true", None),
    ],
)
def test_options_that_name_generated_code(old, new, message):
    texts = [proto3((f"option {option}; " if option else "") + M) for option in (old, new)]
    changes = breaking_changes(*(descriptors(text) for text in texts))
    assert [c.message for c in changes] == ([f"Option {message}"] if message else [])
    assert {c.rule for c in changes} <= {"file_option_changed"}
