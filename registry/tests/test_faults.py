"""Which errors of protoc's are faults, and which follow from others."""

from hypothesis import given
from hypothesis import strategies as st

from registry.faults import EVERY_FILE, first_of_each, own_faults
from registry.protoc import ProtoError

ONE = ProtoError("a.proto", 3, 1, "Expected something.")


def imported(file, target, line=1):
    return ProtoError(file, line, 1, f'Import "{target}" was not found or had errors.')


def test_the_file_that_imports_all_is_never_told_of():
    assert own_faults([imported(EVERY_FILE, "a.proto"), ONE], {"a.proto": b""}) == [ONE]


def test_an_import_of_what_is_not_there_is_told_once():
    errors = [
        ProtoError("x.proto", None, None, "File not found."),
        imported("b.proto", "x.proto"),
        imported("a.proto", "x.proto"),
    ]
    sources = {"a.proto": b"", "b.proto": b""}
    assert own_faults(errors, sources) == [errors[2], errors[1]]
    assert own_faults(errors[:1], sources) == errors[:1]


def test_a_dependency_that_the_files_spoil_is_told_and_not_who_imports_it():
    clash = ProtoError("dep.proto", 2, 1, '"p.M" is already defined in file "b.proto".')
    assert own_faults([clash, imported("a.proto", "dep.proto")], {"a.proto": b""}) == [clash]


def test_a_name_is_missing_by_itself_unless_a_faulty_file_declares_it():
    sources = {"a.proto": b"message A {}", "b.proto": b"message B {} enum E {}"}
    undefined = [
        ProtoError("b.proto", 2, n, f'"{name}" is not defined.')
        for n, name in enumerate(["p.A", "A", "X", "p.X"], start=1)
    ]
    errors = [ONE, imported("b.proto", "a.proto"), *undefined]
    assert own_faults(errors, sources) == [ONE, *undefined[2:]]
    # Without the import nothing follows.
    assert own_faults([ONE, *undefined], sources) == [ONE, *undefined]


def test_errors_are_sorted_and_each_is_told_once():
    errors = [ProtoError(file, line, 1, "m") for file in "ba" for line in (10, 9, 10)]
    assert [(e.file, e.line) for e in own_faults(errors, {})] == [
        ("a", 9),
        ("a", 10),
        ("b", 9),
        ("b", 10),
    ]


@given(
    places=st.lists(st.tuples(st.sampled_from("abcde"), st.integers(1, 50)), unique=True),
    limit=st.integers(1, 20),
)
def test_a_limit_leaves_no_file_out_that_another_could_make_room_for(places, limit):
    errors = [ProtoError(file, line, 1, "m") for file, line in sorted(places)]
    chosen = first_of_each(errors, limit)
    assert len(chosen) == min(limit, len(errors))
    assert chosen == [error for error in errors if error in chosen]
    assert len({e.file for e in chosen}) == min(limit, len({e.file for e in errors}))
