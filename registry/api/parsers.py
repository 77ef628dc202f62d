"""A pushed version as multipart/form-data, read into the same shape as the JSON body."""

from collections.abc import Mapping
from typing import IO, Any

from django.conf import settings
from rest_framework.exceptions import ParseError, ValidationError
from rest_framework.parsers import BaseParser

from registry.files import MAX_FILES
from registry.multipart import MalformedMultipart, Part, boundary_of, parse_parts
from spoke.core.parsers import read_body

MAX_FIELDS = 10


class PushMultiPartParser(BaseParser):
    """Fields `version` and `description`, and one part for each file.

    A file's path is its part's file name with its folders (`filename="acme/v1/user.proto"`), or
    stands in the field's name, `files[acme/v1/user.proto]`, for clients that cut folders off; the
    field's name wins. Any other field is kept under its name, for the serializer to refuse.
    """

    media_type = "multipart/form-data"

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        view = (parser_context or {}).get("view")
        body = read_body(stream, getattr(view, "max_body_bytes", settings.MAX_BODY_BYTES))
        try:
            parts = parse_parts(body, boundary_of(media_type or ""), MAX_FILES + MAX_FIELDS)
        except MalformedMultipart as exc:
            raise ParseError(f"The body is not valid multipart/form-data: {exc}") from exc
        data: dict[str, Any] = {"files": []}
        for part in parts:
            path = _path_of(part)
            if path is not None:
                place = f"files.{len(data['files'])}.content"
                data["files"].append({"path": path, "content": _text(part.content, place)})
            elif part.name in data:
                raise ParseError(f"The field {part.name[:64]} appears twice or is no file.")
            else:
                data[part.name] = _text(part.content, part.name[:64])
        return data


def _path_of(part: Part) -> str | None:
    if part.name.startswith("files[") and part.name.endswith("]"):
        return part.name.removeprefix("files[").removesuffix("]")
    return part.filename


def _text(content: bytes, place: str) -> str:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise ValidationError(
            {place: [f"Not UTF-8 at byte {exc.start}."]}, code="not_utf8"
        ) from exc
    if "\x00" in text:
        raise ValidationError(
            {place: ["Null characters are not allowed."]}, code="null_characters_not_allowed"
        )
    return text
