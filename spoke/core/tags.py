"""Entity tags: `"<name>.<digest of the answer>"`.

A view names what a client can change, by its revision. If-Match compares names alone, so that what was
counted meanwhile refuses no change; If-None-Match compares the whole, as answers hold more than one row.
"""

import hashlib
import json
import re
from typing import Any

from django.http import HttpRequest
from django.utils.cache import get_conditional_response
from rest_framework.utils.encoders import JSONEncoder

from spoke.core.errors import PreconditionFailed

DIGEST = re.compile(r'\.[0-9a-f]{16}"$')


def whole_tag(name: str, data: Any) -> str:
    """The entity tag of an answer, whose name stands in quotes."""
    text = json.dumps(data, cls=JSONEncoder, sort_keys=True)
    return f'{name.removesuffix(chr(34))}.{hashlib.sha256(text.encode()).hexdigest()[:16]}"'


def names_in(header: str) -> set[str]:
    """The names that If-Match lists. Of a weak tag there is none: it never matches there."""
    return {DIGEST.sub('"', tag.strip()) for tag in header.split(",")}


def answer_to_condition(request: HttpRequest, tag: str, response: Any = None) -> Any:
    """What to answer a read: a 304 to whoever has it already, to others the response.

    Raises PreconditionFailed where If-Match names another tag.
    """
    request.META.pop("HTTP_IF_UNMODIFIED_SINCE", None)  # nothing here has such a time
    answer = get_conditional_response(request, tag, response=response)
    if answer is not None and answer.status_code == 412:
        raise PreconditionFailed("It has changed since you read it.")
    return answer
