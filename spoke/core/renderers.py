"""JSON out."""

import re

from rest_framework import renderers
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.request import Request

UNWANTED = re.compile(r";\s*q=0(\.0*)?\s*(;|$)", re.IGNORECASE)


class ContentNegotiation(DefaultContentNegotiation):
    """An Accept that is empty says nothing; what has a weight of 0 is not accepted."""

    def get_accept_list(self, request: Request) -> list[str]:
        header = request.headers.get("Accept", "").strip() or "*/*"
        return [kind.strip() for kind in header.split(",") if not UNWANTED.search(kind)]


class JSONRenderer(renderers.JSONRenderer):
    """Plain JSON; the charset is JSON's own, UTF-8."""

    charset = None
