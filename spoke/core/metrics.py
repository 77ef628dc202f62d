"""`/metrics`, for the operator's scraper and nobody else."""

import hmac
import os
from collections.abc import Iterator
from ipaddress import ip_address

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from redis.exceptions import RedisError

from spoke.core import valkey
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
    return HttpResponse(
        generate_latest(counted()) + generate_latest(WAITING), content_type=CONTENT_TYPE_LATEST
    )


def counted() -> CollectorRegistry:
    """What this process counted; with PROMETHEUS_MULTIPROC_DIR, all processes that share the folder."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry


class Queues(Collector):
    """How long Celery's queues are, as asked of Valkey; nothing while it is away."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """One gauge, by queue."""
        gauge = GaugeMetricFamily("spoke_queue_tasks", "Tasks that wait.", labels=["queue"])
        names = settings.QUEUES
        try:
            with valkey.request_client().pipeline(transaction=False) as pipeline:
                for name in names:
                    pipeline.llen(name)
                lengths = pipeline.execute()
        except RedisError:
            return
        for name, length in zip(names, lengths, strict=True):
            gauge.add_metric([name], length)
        yield gauge


WAITING = CollectorRegistry()
WAITING.register(Queues())
