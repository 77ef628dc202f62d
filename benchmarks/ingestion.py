"""What taking usage events in costs: ours over HTTP, a conventional view, and COPY as the limit.

python benchmarks/ingestion.py [--write]
python benchmarks/ingestion.py --resend 1000000    # proves that a resend changes no count
"""

import json
import random
import sys
import types
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import count
from statistics import median

import psycopg
from _harness import interleaved, own_database, ratio, report, table

BATCHES = {100: 40, 1_000: 8, 10_000: 2}  # so many batches a round
ROUNDS = 7
GOALS = {"COPY": 0.55, "conventional": 2.5}  # at 1,000 a batch
numbers = count()

PLAIN = """
CREATE TABLE {name} (
    id bigserial PRIMARY KEY, org_id bigint NOT NULL, idempotency_key varchar(255) NOT NULL,
    meter varchar(64) NOT NULL, quantity numeric(30, 12) NOT NULL, "timestamp" timestamptz NOT NULL,
    properties jsonb, UNIQUE (org_id, idempotency_key));
GRANT SELECT, INSERT ON {name} TO spoke_app; GRANT USAGE ON {name}_id_seq TO spoke_app;
"""


def main() -> None:
    with own_database("ingestion") as conninfo, psycopg.connect(conninfo, autocommit=True) as owner:
        for name in ("peer_events", "copied_events"):
            owner.execute(PLAIN.format(name=name))
        org_id, client = prepare()
        if "--resend" in sys.argv:
            resend(org_id, int(sys.argv[sys.argv.index("--resend") + 1]))
            return
        rows = [compare(owner, org_id, client, size) for size in BATCHES]
    report(
        "Ingestion of usage events",
        "Events a second on one connection, bodies of JSON through the whole of Django (test client,"
        " no socket). Ours: token, role, hourly limit, each event validated, each key stored once,"
        " late events sorted into their period. Conventional: a bare DRF view without authentication,"
        " `ListSerializer`, `bulk_create(ignore_conflicts=True)`. COPY: ready text into a table with"
        f" the same unique key, nothing checked. Medians of {ROUNDS} interleaved rounds.\n\n"
        + table(
            [
                "batch",
                "ours",
                "ours, service alone",
                "conventional",
                "COPY",
                "ours / COPY (goal 0.55 at 1,000)",
                "ours / conventional (goal 2.5 at 1,000)",
            ],
            rows,
        ),
    )


def prepare():
    """An organization without an hourly limit, and a client of its own."""
    from django.conf import settings
    from django.test import Client
    from django.urls import path
    from django.utils import timezone

    import spoke.urls
    from orgs.context import SYSTEM
    from orgs.models import Membership, Organization, User
    from orgs.roles import Scope
    from orgs.services.tokens import create_personal_token
    from quotas.resources import Resource
    from quotas.services.limits import set_overrides
    from spoke.core import tenancy

    now = timezone.now()
    user = User.objects.create_user("bench@example.com")
    with tenancy.all_organizations(reason="benchmark"):
        times = {"created_at": now, "updated_at": now}
        org = Organization.objects.create(name="bench", owner=user, **times)
        Membership.objects.create(org=org, user=user, role="owner", **times)
        set_overrides(org_id=org.pk, actor=SYSTEM, now=now, limits={Resource.API_REQUESTS: None})
        _, token = create_personal_token(user=user, name="b", scopes=[Scope.ADMIN], now=now)
    urls = types.ModuleType("bench_urls")
    urls.urlpatterns = [path("peer", peer_view(org.pk)), *spoke.urls.urlpatterns]
    sys.modules["bench_urls"] = urls
    settings.ROOT_URLCONF = "bench_urls"
    return org.pk, Client(headers={"Authorization": f"Bearer {token}"})


def peer_view(org_id: int):
    """What one would write first."""
    from django.db import models
    from rest_framework import serializers
    from rest_framework.parsers import JSONParser
    from rest_framework.response import Response
    from rest_framework.views import APIView

    class PeerEvent(models.Model):
        org_id = models.BigIntegerField()
        idempotency_key = models.CharField(max_length=255)
        meter = models.CharField(max_length=64)
        quantity = models.DecimalField(max_digits=30, decimal_places=12)
        timestamp = models.DateTimeField()
        properties = models.JSONField(null=True)

        class Meta:
            app_label, db_table, managed = "quotas", "peer_events", False

    class PeerSerializer(serializers.Serializer):
        idempotency_key = serializers.CharField(max_length=255)
        meter = serializers.ChoiceField(choices=["artifact_downloads", "compile_seconds"])
        quantity = serializers.DecimalField(max_digits=30, decimal_places=12, min_value=0)
        timestamp = serializers.DateTimeField()
        properties = serializers.DictField(required=False)

    class PeerView(APIView):
        authentication_classes = permission_classes = throttle_classes = ()
        parser_classes = (JSONParser,)

        def post(self, request):
            serializer = PeerSerializer(data=request.data["events"], many=True)
            serializer.is_valid(raise_exception=True)
            rows = [PeerEvent(org_id=org_id, **data) for data in serializer.validated_data]
            PeerEvent.objects.bulk_create(rows, ignore_conflicts=True)
            return Response({"accepted": len(rows)})

    return PeerView.as_view()


def make_events(number: int) -> list[dict]:
    from django.utils import timezone

    now = timezone.now()
    return [
        {
            "idempotency_key": f"event-{n:012d}-{n * 2654435761 % 2**32:08x}",
            "meter": ("artifact_downloads", "compile_seconds")[n % 2],
            "quantity": n % 7,
            "timestamp": (now - timedelta(seconds=n % 3000)).isoformat(),
            "properties": {"user": f"user-{n % 997}", "region": "eu-west"},
        }
        for n in (next(numbers) for _ in range(number))
    ]


def compare(owner, org_id: int, client, size: int) -> list[str]:  # noqa: C901 - one contender each
    from django.utils import timezone

    from quotas.services.ingestion import ingest_events
    from spoke.core import tenancy

    batches = BATCHES[size]

    def ready(make: Callable) -> Iterator:
        """As many inputs as all rounds need, made before the clock runs."""
        return iter([make(make_events(size)) for _ in range((ROUNDS + 1) * batches)])

    def body(events: list[dict]) -> bytes:
        return json.dumps({"events": events}).encode()

    def copy_text(events: list[dict]) -> bytes:
        return "".join(
            f"{org_id}\t{e['idempotency_key']}\t{e['meter']}\t{e['quantity']}\t{e['timestamp']}"
            f"\t{json.dumps(e['properties'])}\n"
            for e in events
        ).encode()

    def post(path: str, inputs: Iterator) -> Callable[[], int]:
        def run() -> int:
            for _ in range(batches):
                answer = client.post(path, next(inputs), content_type="application/json")
                assert answer.status_code == 200, answer.content
                assert answer.json()["accepted"] == size, answer.content[:300]
            return batches * size

        return run

    def service(inputs: Iterator) -> Callable[[], int]:
        def run() -> int:
            for _ in range(batches):
                with tenancy.organization(org_id):
                    ingest_events(org_id=org_id, events=next(inputs), now=timezone.now())
            return batches * size

        return run

    def copy(inputs: Iterator) -> Callable[[], int]:
        statement = (
            "COPY copied_events (org_id, idempotency_key, meter, quantity, timestamp, properties)"
            " FROM STDIN"
        )

        def run() -> int:
            for _ in range(batches):
                with owner.cursor() as cursor, cursor.copy(statement) as stream:
                    stream.write(next(inputs))
            return batches * size

        return run

    rates = interleaved(
        {
            "ours": post("/orgs/bench/usage/events", ready(body)),
            "service": service(ready(list)),
            "conventional": post("/peer", ready(body)),
            "COPY": copy(ready(copy_text)),
        },
        rounds=ROUNDS,
    )
    return [
        f"{size:,}",
        *(f"{median(rates[name]):,.0f}" for name in rates),
        *(f"{ratio(rates, 'ours', peer):.2f}" for peer in GOALS),
    ]


def resend(org_id: int, number: int) -> None:
    """Sends so many events, then all of them again: shuffled, in other batches, at other times."""
    from django.utils import timezone

    from quotas.models import EventKey, UsageEvent
    from quotas.services.ingestion import ingest_events
    from spoke.core import tenancy

    def send(events: list[dict], size: int) -> tuple[int, int]:
        accepted = duplicates = 0
        for start in range(0, len(events), size):
            with tenancy.organization(org_id):
                done = ingest_events(
                    org_id=org_id, events=events[start : start + size], now=timezone.now()
                )
            assert done.rejected == 0
            accepted, duplicates = accepted + done.accepted, duplicates + done.duplicates
        return accepted, duplicates

    events = make_events(number)
    first = send(events, 10_000)
    generator = random.Random(1)
    generator.shuffle(events)
    now = timezone.now()
    for event in events:
        back = timedelta(seconds=generator.randrange(34 * 86_400))
        event["timestamp"] = (now - back).isoformat()
    again = send(events, 3_700)
    with tenancy.all_organizations(reason="benchmark"):
        stored, keys = UsageEvent.objects.count(), EventKey.objects.count()
    print(f"sent {number:,}: accepted {first[0]:,}; sent again: accepted {again[0]:,},")
    print(f"duplicates {again[1]:,}; stored {stored:,} events and {keys:,} keys")
    assert (first[0], again, stored, keys) == (number, (0, number), number, number)


if __name__ == "__main__":
    main()
