"""multipart/form-data, after RFC 7578, of a body that is in memory. Pure but for header parsing.

Django's own parser cuts folders off file names and takes 100 files; here the path of a file is the
point, and a version has up to 1,000.
"""

import re
from dataclasses import dataclass

from django.utils.http import parse_header_parameters

MAX_HEADERS_BYTES = 4_096
BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{1,70}")


class MalformedMultipart(ValueError):
    """The body is not multipart/form-data; the message says where it went wrong."""


@dataclass(frozen=True)
class Part:
    """One part: the form field's name, the file name where one is given, and the content."""

    name: str
    filename: str | None
    content: bytes


def boundary_of(content_type: str) -> bytes:
    """The boundary that a Content-Type states. Raises MalformedMultipart."""
    boundary = _parameters(content_type)[1].get("boundary", "")
    if not BOUNDARY.fullmatch(boundary):
        raise MalformedMultipart("The Content-Type states no valid boundary.")
    return boundary.encode("ascii")


def parse_parts(body: bytes, boundary: bytes, max_parts: int) -> list[Part]:
    """The parts of a body, in order. Raises MalformedMultipart, also beyond `max_parts`."""
    delimiter = b"\r\n--" + boundary
    pieces = (b"\r\n" + body).split(delimiter, max_parts + 2)
    if len(pieces) > max_parts + 2:
        raise MalformedMultipart(f"The body has more than {max_parts} parts.")
    if len(pieces) < 2 or not pieces[-1].startswith(b"--"):
        raise MalformedMultipart("The body does not end with its boundary.")
    return [_parse_part(piece, number) for number, piece in enumerate(pieces[1:-1], start=1)]


def _parse_part(piece: bytes, number: int) -> Part:
    padding, newline, rest = piece.partition(b"\r\n")
    head, blank, content = (b"\r\n" + rest).partition(b"\r\n\r\n")
    if not newline or padding.strip(b" \t") or not blank or len(head) > MAX_HEADERS_BYTES:
        raise MalformedMultipart(f"Part {number} has no proper headers.")
    headers = _headers(head, number)
    kind, parameters = _parameters(headers.get("content-disposition", ""))
    name = parameters.get("name")
    if kind != "form-data" or name is None:
        raise MalformedMultipart(f"Part {number} names no form field.")
    if headers.get("content-transfer-encoding", "binary").lower() not in ("7bit", "8bit", "binary"):
        raise MalformedMultipart(f"Part {number} has a transfer encoding, which HTTP has not.")
    return Part(name=name, filename=parameters.get("filename"), content=content)


def _headers(head: bytes, number: int) -> dict[str, str]:
    try:
        lines = head.decode("utf-8").split("\r\n")
    except UnicodeDecodeError as exc:
        raise MalformedMultipart(f"The headers of part {number} are not UTF-8.") from exc
    pairs = (line.partition(":") for line in lines if line)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _parameters(header: str) -> tuple[str, dict[str, str]]:
    try:
        kind, parameters = parse_header_parameters(header)
        for value in parameters.values():
            value.encode()  # a parameter states its own charset, and some have lone surrogates
    except (ValueError, IndexError, TypeError) as exc:
        # TypeError: a parameter both in one piece and in several (RFC 2231).
        raise MalformedMultipart("A header's parameters cannot be read.") from exc
    return kind, parameters
