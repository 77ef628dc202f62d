"""Reading multipart/form-data byte for byte."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from registry.multipart import MalformedMultipart, Part, boundary_of, parse_parts


def body_of(*parts: tuple[str, bytes], boundary: bytes = b"B") -> bytes:
    pieces = [
        b"--" + boundary + b"\r\nContent-Disposition: " + head.encode() + b"\r\n\r\n" + content
        for head, content in parts
    ]
    return b"\r\n".join([*pieces, b"--" + boundary + b"--\r\n"])


def test_fields_and_files():
    body = body_of(
        ('form-data; name="version"', b"1.2.0"),
        ('form-data; name="f"; filename="acme/v1/user.proto"', b"a\r\nb\n"),
        ("form-data; name=f; filename*=utf-8''caf%C3%A9/a.proto", b""),
    )
    assert parse_parts(body, b"B", 3) == [
        Part("version", None, b"1.2.0"),
        Part("f", "acme/v1/user.proto", b"a\r\nb\n"),
        Part("f", "café/a.proto", b""),
    ]


@given(st.lists(st.binary(max_size=60), max_size=5))
def test_content_comes_back_byte_for_byte(contents):
    assume(not any(b"\r\n--B" in b"\r\n" + content for content in contents))
    body = body_of(*[('form-data; name="f"', content) for content in contents])
    assert [part.content for part in parse_parts(body, b"B", 5)] == contents


@given(st.binary(max_size=200), st.sampled_from([b"", b"--B\r\n", b"--B--"]))
def test_any_bytes_are_read_or_refused(noise, start):
    try:
        parse_parts(start + noise, b"B", 3)
    except MalformedMultipart:
        pass
    else:
        assert b"--B--" in start + noise


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        b"--B\r\n",
        body_of(('form-data; name="a"', b"x"))[:-6],
        b"--B\r\n\r\nno headers\r\n--B--",
        b'--B\r\nContent-Disposition: attachment; name="a"\r\n\r\nx\r\n--B--',
        b"--B\r\nContent-Disposition: form-data\r\n\r\nx\r\n--B--",
        b'--B\r\nContent-Disposition: form-data; name="\xff"\r\n\r\nx\r\n--B--',
        b"--B\r\nContent-Disposition: form-data; name*=bogus''x\r\n\r\nx\r\n--B--",
        b'--B\r\nContent-Disposition: form-data; name="a"\r\nX: '
        + b"y" * 5000
        + b"\r\n\r\nx\r\n--B--",
        b'--B\r\nContent-Disposition: form-data; name="a"\r\n'
        b"Content-Transfer-Encoding: base64\r\n\r\neA==\r\n--B--",
        body_of(*[('form-data; name="a"', b"x")] * 4),
        body_of(("form-data; name=a; filename*=utf-8''a.proto; filename*0=b.proto", b"x")),
        body_of(("form-data; name*=raw_unicode_escape''%5Cud800", b"x")),
        body_of(("form-data; name=a; filename*=utf-7''+2AA-.proto", b"x")),
    ],
)
def test_malformed_bodies_are_refused(body):
    with pytest.raises(MalformedMultipart):
        parse_parts(body, b"B", 3)


def test_boundary():
    assert boundary_of('multipart/form-data; boundary="a b"') == b"a b"
    for content_type in ("multipart/form-data", "multipart/form-data; boundary=ä", "x; boundary="):
        with pytest.raises(MalformedMultipart):
            boundary_of(content_type)
