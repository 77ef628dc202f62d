"""A pushed version as multipart/form-data or an archive, read into the same shape as the JSON body."""

import io
import tempfile
from collections.abc import Mapping
from typing import IO, Any

from django.conf import settings
from rest_framework.exceptions import ErrorDetail, ParseError, ValidationError
from rest_framework.parsers import BaseParser

from registry.archives import ArchiveRefused, ArchiveTooLarge, read_archive
from registry.files import MAX_FILES
from registry.multipart import MalformedMultipart, Part, boundary_of, parse_parts
from registry.references import MAX_DEPENDENCIES
from spoke.core.errors import PayloadTooLarge
from spoke.core.parsers import read_body

MAX_FIELDS = 10 + MAX_DEPENDENCIES
IN_MEMORY = 1024 * 1024  # bytes of an archive before it goes to a temporary file
ARCHIVE = "archive"
DEPENDENCY, DEPENDENCIES = "dependency", "dependencies"


class PushMultiPartParser(BaseParser):
    """Fields `version`, `description` and `dependency` (any number), and one part for each file.

    A file's path is its part's file name with its folders (`filename="acme/v1/user.proto"`), or
    stands in the field's name, `files[acme/v1/user.proto]`, for clients that cut folders off; the
    field's name wins. Instead of files a part `archive` holds a tar.gz or zip. Any other field is kept
    under its name, for the serializer to refuse.
    """

    media_type = "multipart/form-data"

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        limit = _limit(parser_context)
        body = read_body(stream, limit)
        try:
            parts = parse_parts(body, boundary_of(media_type or ""), MAX_FILES + MAX_FIELDS)
        except MalformedMultipart as exc:
            raise ParseError(f"The body is not valid multipart/form-data: {exc}") from exc
        data: dict[str, Any] = {"files": []}
        archives = [part for part in parts if part.name == ARCHIVE]
        for part in parts:
            if part.name != ARCHIVE:
                _take(part, data)
        if archives:
            if len(archives) > 1 or data["files"]:
                raise ParseError("The body holds one archive, or files, and not both.")
            data["files"] = unpacked(io.BytesIO(archives[0].content), limit)
        return data


def _limit(parser_context: Mapping[str, Any] | None) -> int:
    view = (parser_context or {}).get("view")
    limit: int = getattr(view, "max_body_bytes", settings.MAX_BODY_BYTES)
    return limit


def _take(part: Part, data: dict[str, Any]) -> None:
    path = _path_of(part)
    if path is not None:
        place = f"files.{len(data['files'])}.content"
        data["files"].append({"path": path, "content": _text(part.content, place)})
    elif part.name == DEPENDENCY:
        data.setdefault(DEPENDENCIES, []).append(_text(part.content, DEPENDENCY))
    elif part.name in data or part.name == DEPENDENCIES:
        raise ParseError(f"The field {part.name[:64]} appears twice, or is none of a form's.")
    else:
        data[part.name] = _text(part.content, part.name[:64])


class ArchiveParser(BaseParser):
    """A tar.gz or zip as the body; what else a version has stands in the query.

    The body goes to a temporary file as it comes in; nothing is unpacked beside it.
    """

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        context = parser_context or {}
        limit = _limit(context)
        with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY) as spool:
            size = 0
            while chunk := stream.read(65_536):
                size += len(chunk)
                if size > limit:
                    raise PayloadTooLarge(f"The body is larger than {limit} bytes.", limit=limit)
                spool.write(chunk)
            spool.seek(0)
            files = unpacked(spool, limit)
        query = context["request"].query_params
        data: dict[str, Any] = {
            name: query[name] for name in ("version", "description") if name in query
        }
        if DEPENDENCY in query:
            data[DEPENDENCIES] = query.getlist(DEPENDENCY)
        return {**data, "files": files}


class GzipParser(ArchiveParser):
    media_type = "application/gzip"


class ZipParser(ArchiveParser):
    media_type = "application/zip"


def unpacked(stream: IO[bytes], limit: int) -> list[dict[str, str]]:
    """The files of an archive as the JSON body states them.

    Raises ValidationError naming the entries at fault, and PayloadTooLarge.
    """
    try:
        entries = read_archive(stream, limit=limit)
    except ArchiveRefused as exc:
        raise ValidationError(
            {
                ARCHIVE if entry is None else f"files/{entry}": [ErrorDetail(p.detail, p.code)]
                for entry, p in exc.problems
            }
        ) from exc
    except ArchiveTooLarge as exc:
        raise PayloadTooLarge(str(exc), limit=limit) from exc
    return [
        {"path": entry.path, "content": _text(entry.content, f"files/{entry.path}")}
        for entry in entries
    ]


def _path_of(part: Part) -> str | None:
    if part.name.startswith("files[") and part.name.endswith("]"):
        # `files[]` is how many forms name several files.
        return part.name.removeprefix("files[").removesuffix("]") or part.filename or ""
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
