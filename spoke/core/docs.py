"""`/docs/errors`, where the `type` of every problem leads."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse


def errors(request: HttpRequest) -> HttpResponse:
    """The list of error codes, as its document says it."""
    text = (settings.BASE_DIR / "docs" / "errors.md").read_text(encoding="utf-8")
    return HttpResponse(text, content_type="text/plain; charset=utf-8")
