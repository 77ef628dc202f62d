"""Entity tags of answers that hold more than one row: `"<name>.<digest of the answer>"`.

The name changes with what a client can change; If-Match compares names alone, so usage that came in
meanwhile does not refuse a change. If-None-Match compares the whole.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from rest_framework.request import Request
from rest_framework.utils.encoders import JSONEncoder

from spoke.core.errors import PreconditionFailed


def tag_of(name: str, data: Mapping[str, Any]) -> str:
    """The entity tag of an answer."""
    text = json.dumps(data, cls=JSONEncoder, sort_keys=True)
    return f'"{name}.{hashlib.sha256(text.encode()).hexdigest()[:16]}"'


def require_name(request: Request, name: str, refusal: str) -> None:
    """Honours If-Match against the name, whose source the caller holds locked."""
    sent = request.headers.get("If-Match", "*").strip()
    names = [tag.strip().strip('"').split(".")[0] for tag in sent.split(",")]
    if sent != "*" and name not in names:
        raise PreconditionFailed(refusal)
