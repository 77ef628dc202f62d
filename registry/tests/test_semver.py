"""The grammar and the precedence of semver.org, and the key that sorts by it."""

from functools import cmp_to_key

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.semver import InvalidVersion, may_break, parse

# In rising precedence; the middle is the example of semver.org, section 11.
RISING = """
0.0.0-0 0.0.0-a 0.0.0 0.0.1 0.0.9 0.0.10 0.9.0 0.10.0
1.0.0-0 1.0.0-9 1.0.0-10 1.0.0-999999999999999999 1.0.0-- 1.0.0-0a 1.0.0-A 1.0.0-a-b
1.0.0-alpha 1.0.0-alpha.1 1.0.0-alpha.beta 1.0.0-alpha1 1.0.0-beta 1.0.0-beta.2 1.0.0-beta.11
1.0.0-rc.1 1.0.0-z 1.0.0 1.0.1 1.2.0 1.10.0 2.0.0-rc 2.0.0 10.0.0 999999999999999999.0.0
""".split()  # noqa: SIM905
INVALID = """
1 1.2 1.2.3.4 1.2.3- 1.2.3+ 1.2.3-01 1.2.3-a..b 1.2.3-.a 01.2.3 1.02.3 1.2.03 v1.2.3 1.2.3-ä
1.2.3+a..b 1.2.3+a+b a.b.c -1.0.0 +1.2.3 1.2.-3 1.2.3_a 1.2.3-beta_1 latest
1000000000000000000.0.0 1.0.0-1000000000000000000 1.2.3-0.00
""".split()  # noqa: SIM905
VALID = """
0.0.0 1.2.3 1.2.3-0 1.2.3-0a 1.2.3-alpha.0.x-y.-- 1.2.3+001 1.2.3-rc.1+build.5114f85 1.0.0+0.build.1
""".split()  # noqa: SIM905


@pytest.mark.parametrize(
    "text", [*INVALID, "", " 1.2.3", "1.2.3 ", "1.2.3\n", "1.2.3-a\x00", "\u0661.2.3"]
)
def test_what_is_no_version_is_refused(text):
    with pytest.raises(InvalidVersion):
        parse(text)


@pytest.mark.parametrize("text", VALID)
def test_versions_of_the_grammar_are_taken(text):
    parsed = parse(text)
    again = ".".join(parsed.core)
    again += "-" + ".".join(parsed.prerelease) if parsed.prerelease else ""
    again += "+" + ".".join(parsed.build) if parsed.build else ""
    assert again == text


def test_length_is_bounded():
    assert len(parse("1.0.0-" + "a" * 122).sort_key) <= 512
    with pytest.raises(InvalidVersion):
        parse("1.0.0-" + "a" * 123)


def test_the_longest_key_fits_its_column():
    most_identifiers = "1.0.0-" + ".".join("1" * 61)
    assert len(most_identifiers) == 127
    assert len(parse(most_identifiers).sort_key) <= 512


def test_keys_rise_with_precedence():
    keys = [parse(text).sort_key.encode() for text in RISING]
    assert keys == sorted(keys)
    assert len(set(keys)) == len(RISING)


def test_build_metadata_has_no_part_in_precedence():
    assert parse("1.2.3-a.1+x.1").sort_key == parse("1.2.3-a.1").sort_key
    assert parse("1.2.3+b").sort_key == parse("1.2.3").sort_key


def reference_compare(one: str, other: str) -> int:
    """Semver.org's section 11, word for word, on texts without build metadata."""
    core_one, _, pre_one = one.partition("-")
    core_other, _, pre_other = other.partition("-")
    numbers_one = [int(part) for part in core_one.split(".")]
    numbers_other = [int(part) for part in core_other.split(".")]
    if numbers_one != numbers_other:
        return -1 if numbers_one < numbers_other else 1
    if not pre_one or not pre_other:
        return bool(pre_other) - bool(pre_one)
    parts_one, parts_other = pre_one.split("."), pre_other.split(".")
    for a, b in zip(parts_one, parts_other, strict=False):
        if a == b:
            continue
        if a.isdigit() and b.isdigit():
            return -1 if int(a) < int(b) else 1
        if a.isdigit() != b.isdigit():
            return -1 if a.isdigit() else 1
        return -1 if a.encode() < b.encode() else 1
    return (len(parts_one) > len(parts_other)) - (len(parts_one) < len(parts_other))


numbers = st.one_of(st.integers(0, 12), st.integers(0, 10**18 - 1)).map(str)
identifiers = st.one_of(
    numbers,
    st.text("abAZ09-", min_size=1, max_size=4).filter(lambda text: not text.isdigit()),
)
versions = st.builds(
    lambda core, pre: ".".join(core) + ("-" + ".".join(pre) if pre else ""),
    st.tuples(numbers, numbers, numbers),
    st.lists(identifiers, max_size=4),
).filter(lambda text: len(text) <= 128)
similar = st.lists(identifiers, min_size=1, max_size=4).map(lambda pre: "1.0.0-" + ".".join(pre))


@given(st.one_of(versions, similar), st.one_of(versions, similar))
def test_keys_compare_as_semver_org_says(one, other):
    key, other_key = parse(one).sort_key.encode(), parse(other).sort_key.encode()
    assert (key > other_key) - (key < other_key) == reference_compare(one, other)


@given(st.lists(st.one_of(versions, similar), max_size=12))
def test_sorting_by_key_is_sorting_by_precedence(texts):
    by_key = sorted(texts, key=lambda text: parse(text).sort_key.encode())
    assert by_key == sorted(texts, key=cmp_to_key(reference_compare))


@pytest.mark.parametrize(
    ("before", "after", "announced"),
    [
        ("1.2.3", "2.0.0", True),
        ("1.2.3", "2.0.0-rc.1", True),
        ("9.0.0", "10.0.0", True),
        ("1.2.3", "1.3.0", False),
        ("1.2.3", "1.2.4", False),
        ("0.1.9", "0.2.0", True),
        ("0.9.0", "0.10.0", True),
        ("0.1.0", "0.1.1", False),
        ("0.9.0", "1.0.0", True),
        ("1.0.0-rc.1", "1.0.0", True),
        ("2.0.0-alpha.1", "2.0.0-alpha.2", True),
        ("1.0.0", "1.1.0-rc.1", False),
        ("0.2.0", "0.2.1-rc.1", False),
    ],
)
def test_which_numbers_announce_breaking_changes(before, after, announced):
    assert may_break(before=before, after=after) is announced
