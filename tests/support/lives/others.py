"""What staff, Stripe's dashboard, banks and the network do."""

from typing import Any

from billing.models import Invoice, InvoiceStatus
from billing.services import subscriptions
from billing.services.invoicing import settle_invoice
from billing.stripe.client import api
from orgs.context import Actor
from orgs.services.organizations import reactivate_organization, suspend_organization
from quotas.models import Plan
from quotas.resources import LIMIT_FIELDS, Resource
from spoke.core import tenancy
from spoke.core.errors import DomainError
from tests.support.lives.life import DAY, Life
from tests.support.lives.owners import live

FAULTS = ("500", "429", "disconnect_after")
PATHS = (
    "",
    "/v1/subscriptions",
    "/v1/invoices",
    "/pay$",
    "/attach$",
    "/v1/invoiceitems",
    "/v1/customers",
)


def override(life: Life) -> None:
    """A limit of staff's is set, for ever or for a while, or taken away."""
    dice = life.dice
    resource = dice.choice([Resource.COMPILE_JOBS, Resource.STORAGE])
    name = LIMIT_FIELDS[resource]
    if dice.random() < 0.5:
        sent: dict[str, Any] = {"reset": [name]}
        until: Any = False
    else:
        until = dice.choice([None, life.world.at + dice.randrange(1, 50) * DAY])
        sent = {name: dice.choice([0, 500, 5_000, 2**40]), "expires_at": until}
    if life.ask("patch", "/quotas", sent, who="staff").status_code == 200:
        life.overrides.append((life.world.at, resource.value, until))


def credit(life: Life) -> None:
    dice = life.dice
    sent: dict[str, Any] = {
        "amount_cents": dice.choice([100, 999, 5_000]),
        "currency": dice.choice(["usd", "usd", "eur"]),
        "reason": "An outage",
        "priority": dice.choice([1, 100]),
    }
    if dice.random() < 0.3:
        sent["expires_at"] = life.world.at + dice.randrange(1, 60) * DAY
    life.ask("post", "/credits", sent, who="staff")


def _invoice(life: Life, **which: Any) -> Invoice | None:
    with tenancy.all_organizations(reason="test"):
        rows = Invoice.objects.filter(org_id=life.org, number__isnull=False, total_minor__gt=0)
        found = list(rows.filter(**which).order_by("pk"))
    return life.dice.choice(found) if found else None


def credit_note(life: Life) -> None:
    row = _invoice(life)
    if row is None:
        return
    sent: dict[str, Any] = {
        "kind": life.dice.choice(["refund", "credit", "reduction"]),
        "reason": "Counted twice",
    }
    left = row.total_minor - row.credited_minor
    if life.dice.random() < 0.7 and left > 1:
        sent["amount_cents"] = life.dice.randrange(1, left + 1)
    life.ask("post", f"/invoices/{row.pk}/credit-notes", sent, who="staff")


def settle(life: Life) -> None:
    """Staff say that an open invoice was paid, is void, or will never be paid."""
    row = _invoice(life, status__in=("open", "uncollectible"))
    if row is None:
        return
    status = InvoiceStatus(life.dice.choice(["paid", "void", "uncollectible"]))
    life.note(f"staff: {row.number} of {row.total_minor} is {status}")
    with tenancy.organization(life.org):
        settle_invoice(
            org_id=life.org, invoice_id=row.pk, status=status, actor=_staff(life), now=life.world.at
        )


def _staff(life: Life) -> Actor:
    user = life.world.cast.staff
    return Actor("staff", user.pk, user.email, user)


def suspension(life: Life) -> None:
    org = life.row()
    with tenancy.organization(life.org):
        try:
            if org.status == "suspended":
                reactivate_organization(org=org, actor=_staff(life), now=life.world.at)
            else:
                reason = "Abuse"
                suspend_organization(org=org, actor=_staff(life), reason=reason, now=life.world.at)
        except DomainError as refused:
            life.note(f"refused: {refused.code}")
            return
    life.note(f"staff: {org.status} no more")


def by_hand(life: Life) -> None:
    """Staff start, change or end a subscription that no card pays."""
    life.calm()
    row, dice = live(life), life.dice
    with tenancy.all_organizations(reason="test"):
        plan = Plan.objects.current().get(code=dice.choice(["pro", "enterprise"]))
    common: dict[str, Any] = {"org_id": life.org, "actor": _staff(life), "now": life.world.at}
    try:
        with tenancy.organization(life.org):
            if row is None:
                trial = dice.choice([0, 0, 14])
                more = {"interval": dice.choice(["month", "year"]), "trial_days": trial}
                subscriptions.start_subscription(plan=plan, currency="usd", **more, **common)
                life.note(f"staff: {plan} by hand, {more}")
            elif dice.random() < 0.5:
                subscriptions.change_plan(plan=plan, **common)
                life.note(f"staff: changed to {plan}")
            else:
                now = dice.random() < 0.5
                subscriptions.cancel_subscription(immediately=now, **common)
                life.note(f"staff: ended, immediately: {now}")
    except DomainError as refused:
        life.note(f"staff: {refused.code}")


# --- in Stripe's dashboard, and at the bank ----------------------------------------------------


def dashboard(life: Life) -> None:
    """Something that is done at Stripe; what it refuses is not done."""
    dice = life.dice
    subs = [x["id"] for x in life.there("subscription") if not x["ended_at"]]
    opened = [x["id"] for x in life.there("invoice") if x["status"] == "open"]
    paid = [x["id"] for x in life.there("invoice") if x["status"] == "paid" and x["amount_paid"]]
    charges = [x["id"] for x in life.there("charge") if x["paid"] and not x["refunded"]]
    methods = [x["id"] for x in life.there("payment_method")]
    what, name = dice.choice(
        [
            *[("refund", x) for x in charges[-2:]],
            *[("void", x) for x in opened[-1:]],
            *[("pay", x) for x in opened[-2:]],
            *[("note", x) for x in paid[-2:]],
            *[("end", x) for x in subs if dice.random() < 0.2],
            *[("detach", x) for x in methods[-2:]],
            ("nothing", ""),
        ]
    )
    life.note(f"at Stripe: {what} {name}")
    life.world.control.clear_faults()
    try:
        if what == "refund":
            api().refunds.create({"charge": name, "amount": dice.choice([1, 99])})
        elif what == "void":
            api().invoices.void_invoice(name)
        elif what == "pay":
            api().invoices.pay(name)
        elif what == "note":
            api().credit_notes.create({"invoice": name, "amount": 77, "credit_amount": 77})
        elif what == "end":
            api().subscriptions.cancel(name)
        elif what == "detach":
            api().payment_methods.detach(name)
    except Exception as refused:  # noqa: BLE001 - whatever Stripe says to its own user
        life.note(f"Stripe refuses: {refused!r:.120}")


def bank(life: Life) -> None:
    """Cards fail and work again; what waits for 3-D Secure is answered."""
    customer = life.customer()
    if customer is None:
        return
    store, dice = life.world.fake.store, life.dice
    waiting = [x["id"] for x in life.there("payment_intent") if x["status"] == "requires_action"]
    if waiting and dice.random() < 0.7:
        ok = dice.random() < 0.7
        life.note(f"3-D Secure of {waiting[-1]}: {ok}")
        life.world.control.complete_3ds(waiting[-1], ok=ok)
        return
    broken = store.of("customer")[customer].get("_broken", False)
    life.note(f"cards fail: {not broken}")
    (life.world.control.fix_card if broken else life.world.control.fail_card)(customer)


def network(life: Life) -> None:
    """Stripe fails at some calls, or its webhooks are lost, doubled or shuffled."""
    dice, control = life.dice, life.world.control
    what = dice.randrange(5)
    if what <= 1:
        kind, path = dice.choice(FAULTS), dice.choice(PATHS)
        times, method = dice.choice([1, 2, 3, 9]), dice.choice([None, "POST", "GET"])
        life.note(f"fault {kind} {method} {path} {times} times")
        life.faulty = True
        control.fault(kind, method=method, path=path, times=times)
    elif what == 2:
        life.note("webhooks are lost")
        life.dropped = True
        control.drop_webhooks(dice.choice([1, 3, 50]))
    elif what == 3:
        life.note("webhooks are doubled")
        control.duplicate_webhooks(20)
    else:
        life.note("webhooks are shuffled")
        control.reorder_webhooks(30)


def after_retries(life: Life) -> None:
    """How Stripe's account is set."""
    chosen = life.dice.choice(["past_due", "past_due", "unpaid", "canceled"])
    life.note(f"after the last try: {chosen}")
    life.world.control.after_retries(chosen)
