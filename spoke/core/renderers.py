"""JSON out."""

from rest_framework import renderers


class JSONRenderer(renderers.JSONRenderer):
    """Plain JSON; the charset is JSON's own, UTF-8."""

    charset = None
