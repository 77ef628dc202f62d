"""How dependencies are named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.references import InvalidReference, Reference, parse_reference


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("common@1.2.0", Reference(None, "common", "1.2.0")),
        ("my_common-2@1.2.0-rc.1+b.7", Reference(None, "my_common-2", "1.2.0-rc.1+b.7")),
        ("google-apis/common@1.0.0", Reference("google-apis", "common", "1.0.0")),
    ],
)
def test_references_are_read_and_written(text, reference):
    assert parse_reference(text) == reference
    assert str(reference) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "common",
        "common@",
        "@1.0.0",
        "common@latest",
        "common@^1.0.0",
        "common@1.0",
        "common@1.0.0 ",
        "Common@1.0.0",
        "a/b/c@1.0.0",
        "/common@1.0.0",
        "a@b@1.0.0",
        "7up/common@1.0.0",
        "common@1.0.0\n",
        "x" * 101 + "@1.0.0",
    ],
)
def test_what_names_no_exact_version_is_refused(text):
    with pytest.raises(InvalidReference):
        parse_reference(text)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text):
    try:
        reference = parse_reference(text)
    except InvalidReference:
        return
    assert str(reference) == text


def test_the_owner_is_left_out_where_it_is_oneself():
    own = parse_reference("common@1.0.0").within("acme")
    assert str(own) == "acme/common@1.0.0"
    assert str(own.seen_from("acme")) == "common@1.0.0"
    assert str(own.seen_from("rival")) == "acme/common@1.0.0"
