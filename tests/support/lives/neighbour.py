"""An organization beside those that live: nothing of it ever changes."""

from django.db import connection

from quotas.resources import Resource
from quotas.services.reservations import reserve
from spoke.core import tenancy
from tests.support.stripe_world import World

# Periods of usage turn for everybody; of one that costs nothing a draft says so.
TURNING = ("quotas_usageperiod", "quotas_periodusage", "orgs_apitoken")
TABLES = """
SELECT table_name FROM information_schema.columns
WHERE table_schema = 'public' AND column_name = 'org_id' ORDER BY 1
"""


class Neighbour:
    """On the free plan, with a card, a credit, an override and a budget; full of what it may have."""

    def __init__(self, world: World) -> None:
        self.org: int = world.cast.other_org.pk
        owner, staff = world.client("outsider"), world.client("staff")
        name = "/orgs/rival"
        card = {"stripe_payment_method_id": "pm_card_visa"}
        credit = {"amount_cents": 5_000, "currency": "usd", "reason": "A welcome"}
        for answer in (
            owner.post(f"{name}/payment-methods", card),
            owner.put(f"{name}/budget", {"amount_cents": 100, "action": "block"}),
            staff.post(f"{name}/credits", credit),
            staff.patch(f"{name}/quotas", {"max_modules": 7}),
        ):
            assert answer.status_code in (200, 201), answer.content
        with tenancy.organization(self.org):
            for resource, amount in ((Resource.COMPILE_JOBS, 100), (Resource.STORAGE, 2**30)):
                reserve(org_id=self.org, resource=resource, amount=amount, now=world.at)
        world.settle()
        self.before = self.rows()

    def rows(self) -> dict[str, list[str]]:
        """All of its rows, by table."""
        with tenancy.all_organizations(reason="test"), connection.cursor() as cursor:
            cursor.execute(TABLES)
            found = {}
            for (table,) in cursor.fetchall():
                if table not in TURNING:
                    query = f"SELECT t::text FROM {table} t WHERE org_id = %s ORDER BY 1"
                    cursor.execute(query, [self.org])
                    found[table] = [row for (row,) in cursor.fetchall()]
            return found

    def check(self, world: World) -> None:
        """Nothing of it has changed, and nothing was billed to it."""
        now = self.rows()
        changed = [table for table in now if now[table] != self.before[table]]
        assert not changed, {table: (self.before[table], now[table]) for table in changed}
        assert not now["billing_invoice"]
        store = world.fake.store
        with tenancy.all_organizations(reason="test"), connection.cursor() as cursor:
            query = "SELECT stripe_id FROM billing_stripecustomer WHERE org_id = %s"
            cursor.execute(query, [self.org])
            (customer,) = cursor.fetchone()
        for kind in ("invoice", "subscription", "charge"):
            assert not [row for row in store.of(kind).values() if row["customer"] == customer]
