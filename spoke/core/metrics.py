"""`/metrics`, for the operator's scraper and nobody else."""

import hmac
from ipaddress import ip_address

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django_prometheus.exports import ExportToDjangoView

from spoke.core.errors import NotFound
from spoke.core.http import told_address
from spoke.core.problem import problem_response


def _is_local(address: str) -> bool:
    try:
        return ip_address(address).is_private
    except ValueError:
        return False


def metrics(request: HttpRequest) -> HttpResponse:
    """Prometheus metrics: with METRICS_TOKEN as bearer token, or, unset, from private addresses."""
    expected: str = settings.METRICS_TOKEN
    sent = request.headers.get("Authorization", "").removeprefix("Bearer ")
    allowed = (
        hmac.compare_digest(sent.encode(), expected.encode())
        if expected
        else _is_local(told_address(request) or "")
    )
    if not allowed:
        return problem_response(NotFound("There is nothing at this address."))
    response: HttpResponse = ExportToDjangoView(request)  # type: ignore[no-untyped-call]
    return response
