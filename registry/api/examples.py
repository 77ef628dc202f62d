"""Examples and parameters of the registry's API description."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter

VERSION_PARAMETER = OpenApiParameter(
    "version",
    str,
    OpenApiParameter.PATH,
    description="A version, or `latest`: the newest release, or else the newest pre-release.",
)
VERSION_EXAMPLE: dict[str, Any] = {
    "id": 31,
    "version": "1.2.0",
    "is_prerelease": False,
    "description": "Adds refunds",
    "size_bytes": 1843,
    "created_by_id": 4,
    "created_at": "2026-05-11T16:05:12Z",
    "yanked_at": None,
    "yank_reason": "",
}
FILE_EXAMPLE = {
    "path": "acme/payments/v1/refund.proto",
    "size_bytes": 1843,
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
}
VERSION = OpenApiExample("A version", value=VERSION_EXAMPLE, response_only=True)
VERSION_DETAIL = OpenApiExample(
    "A version and its files",
    value={
        **VERSION_EXAMPLE,
        "dependencies": ["money@2.1.0", "googleapis/common@1.0.0"],
        "files": [FILE_EXAMPLE],
    },
    response_only=True,
)
BREAKING_EXAMPLE = {
    "rule": "field_removed",
    "path": "acme/payments/v1/refund.proto",
    "element": "acme.payments.v1.Refund.reason",
    "message": 'Field "reason" (4) is gone, and its number and name are not both reserved.',
}
PUBLISHED = OpenApiExample(
    "A published version",
    value={
        **VERSION_EXAMPLE,
        "dependencies": ["money@2.1.0", "googleapis/common@1.0.0"],
        "files": [FILE_EXAMPLE],
        "compared_with": "1.1.0",
        "breaking_changes": [BREAKING_EXAMPLE],
    },
    response_only=True,
    status_codes=["201"],
)
CHECKED = OpenApiExample(
    "A dry run",
    value={
        "dry_run": True,
        "version": "1.2.0",
        "size_bytes": 1843,
        "dependencies": ["money@2.1.0"],
        "files": [FILE_EXAMPLE],
        "compared_with": "1.1.0",
        "breaking_changes": [],
    },
    response_only=True,
    status_codes=["200"],
)
PUSH = OpenApiExample(
    "A push",
    value={
        "version": "1.2.0",
        "description": "Adds refunds",
        "dependencies": ["money@2.1.0", "googleapis/common@1.0.0"],
        "files": [
            {
                "path": "acme/payments/v1/refund.proto",
                "content": 'syntax = "proto3";\npackage acme.payments.v1;\n',
            }
        ],
    },
    request_only=True,
    media_type="application/json",
)
MULTIPART: dict[str, Any] = {
    "type": "object",
    "required": ["version"],
    "properties": {
        "version": {"type": "string"},
        "description": {"type": "string"},
        "dependency": {"type": "array", "items": {"type": "string"}},
        "archive": {
            "type": "string",
            "format": "binary",
            "description": "A tar.gz or zip, instead of files.",
        },
        "files": {
            "type": "array",
            "items": {"type": "string", "format": "binary"},
            "description": "One part a file. Its file name is the path, folders included; clients"
            " that cut those off name the part `files[acme/v1/user.proto]` instead.",
        },
    },
}


ARCHIVE_BODY = OpenApiTypes.BINARY
