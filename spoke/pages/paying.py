"""The pages of what is paid: the plan, cards, invoices, the budget."""

from decimal import Decimal
from typing import Any, ClassVar

from django.conf import settings
from django.http import HttpResponse
from django.urls import reverse

from spoke.core.money import exponent_of
from spoke.pages.base import OWNERS, TEAM, Act, OrgPage, Shown, cursor_of, older
from spoke.pages.filters import moment, money, words
from spoke.pages.inside import Answer, call

RESOURCES = ("modules", "storage", "compile_jobs", "api_requests", "overage")
DETAILS = (
    *("legal_name", "line1", "line2", "city", "postal_code", "state", "country"),
    *("tax_id_type", "tax_id"),
)
# What each is called, and what a browser may fill in.
FIELDS = (
    ("legal_name", "Legal name", "organization"),
    ("line1", "Address", "address-line1"),
    ("line2", "More of the address", "address-line2"),
    ("postal_code", "Postal code", "postal-code"),
    ("city", "City", "address-level2"),
    ("state", "State or region", "address-level1"),
    ("country", "Country, two letters such as DE", "country"),
)
TAX_ID_TYPES = (
    *("eu_vat", "au_abn", "br_cnpj", "ca_bn", "ca_gst_hst", "ch_vat", "gb_vat", "in_gst", "jp_trn"),
    *("no_vat", "nz_gst", "sg_uen", "us_ein", "za_vat"),
)


def _minor(text: str, currency: str) -> int:
    """Major units that somebody typed, as minor ones. Raises ValueError, for people."""
    whole, _, rest = text.strip().replace(",", "").partition(".")
    places = exponent_of(currency)
    if not (whole + rest).isdecimal() or len(rest) > places:
        raise ValueError(f"Amount: a number such as {Decimal(2000).scaleb(-places)} is expected.")
    return int(f"{whole or 0}{rest.ljust(places, '0')}")


def _budget(sent: dict[str, str]) -> dict[str, Any]:
    if not sent.get("amount", "").strip():
        return {"amount_cents": None}
    currency = sent.get("currency", "usd")
    return {
        "amount_cents": _minor(sent["amount"], currency),
        "currency": currency,
        "action": sent.get("action", "notify"),
    }


def _thresholds(sent: dict[str, str]) -> dict[str, Any]:
    """Percentages parted by commas. Raises ValueError, for people."""
    named: dict[str, list[int]] = {}
    for name in RESOURCES:
        parts = [part.strip(" %") for part in sent.get(name, "").split(",") if part.strip(" %")]
        if not all(part.isdecimal() and len(part) < 5 for part in parts):
            raise ValueError(
                f"{words(name)}: whole numbers with commas between, such as 50, 80, 100."
            )
        named[name] = [int(part) for part in parts]
    return {"thresholds": named, "email_me": "email_me" in sent}


def _billing(org: str) -> str:
    return f"{settings.SPOKE_BASE_URL}{reverse('pages_billing', args=[org])}"


class Billing(OrgPage):
    """What is paid, how, and what for."""

    template, tab, roles = "pages/billing.html", "billing", TEAM
    reads: ClassVar[dict[str, str]] = {
        "subscription": "/subscription",
        "balance": "/billing/balance",
        "upcoming": "/invoices/upcoming",
        "methods": "/payment-methods",
        "invoices": "/invoices",
        "details": "/billing/details",
    }
    acts: ClassVar[dict[str, Act]] = {
        "portal": Act("POST", "/billing/portal", leads_away=True),
        "cancel": Act(
            "POST",
            "/subscription/cancel",
            (),
            "The subscription ends with what is paid for.",
            "Cancel the subscription?",
            "Cancel the subscription",
            body=lambda sent: {"immediately": False},
        ),
        "reactivate": Act("POST", "/subscription/reactivate", (), "The subscription goes on."),
        "details": Act("PUT", "/billing/details", DETAILS, "Billing details saved."),
        "default": Act("PUT", "/payment-methods/{id}/default", (), "This card pays from now on."),
        "remove": Act(
            "DELETE", "/payment-methods/{id}", (), "Removed.", "Remove the card {who}?", "Remove"
        ),
    }

    def context(self) -> dict[str, Any]:
        found = super().context()
        return {
            **found,
            "tax_id_types": TAX_ID_TYPES,
            "older": older(found["invoices"]),
            **self._details(found["details"] or {}),
        }

    def show(self, shown: Shown) -> HttpResponse:
        self.sent = shown.sent if shown.sent.get("do") == "details" else {}
        return super().show(shown)

    def back(self) -> dict[str, str]:
        return {"return_url": _billing(self.kwargs["org"])}

    def _details(self, kept: dict[str, Any]) -> dict[str, Any]:
        """What was sent and refused stands in the form, else what is kept."""
        kept = {**kept, **getattr(self, "sent", {})}
        fields = [(name, label, kept.get(name, ""), hint) for name, label, hint in FIELDS]
        return {"kept": kept, "fields": fields}

    def ask(self, path: str, **query: str) -> Answer:
        if path == "/invoices":
            query |= cursor_of(self.request)
        return super().ask(path, **query)

    def told(self, act: Act, sent: dict[str, str]) -> list[tuple[str, str]]:
        if act.path != "/subscription/cancel":
            return []
        row = self.ask("/subscription").data
        return [
            ("Plan", f"{row.get('plan', '')} by {row.get('interval', '')}"),
            ("Works until", moment(row.get("current_period_end"))),
            ("Then", "the free plan's limits; nothing is deleted"),
        ]


class Plan(OrgPage):
    """The plans, and what a change would cost before it is made."""

    template, tab, roles = "pages/plan.html", "billing", OWNERS
    reads: ClassVar[dict[str, str]] = {
        "plans": "/plans",
        "subscription": "/subscription",
        "methods": "/payment-methods",
    }
    acts: ClassVar[dict[str, Act]] = {
        "choose": Act("PATCH", "/subscription", ("plan", "interval"), "The plan is changed.",
                      "Change to {plan}, by {interval}?", "Change the plan", then="pages_billing"),
        "start": Act("POST", "/subscription", ("plan", "interval", "currency"), "You are subscribed.",
                     "Subscribe to {plan}, by {interval}?", "Subscribe and pay",
                     then="pages_billing"),
        "checkout": Act("POST", "/billing/checkout", ("plan", "interval", "currency"),
                        leads_away=True),
    }  # fmt: skip

    def context(self) -> dict[str, Any]:
        found = super().context()
        live = found["subscription"]
        asked = self.request.GET.get("currency", "usd")
        currency = live["currency"] if live else asked
        plans = (found["plans"] or {}).get("results", [])
        offers = [_offer(plan, currency) for plan in plans]
        known = sorted({price["currency"] for plan in plans for price in plan["prices"]})
        act = (
            "choose" if live else "start" if (found["methods"] or {}).get("results") else "checkout"
        )
        return {**found, "offers": offers, "currency": currency, "currencies": known, "choice": act}

    def back(self) -> dict[str, str]:
        address = _billing(self.kwargs["org"])
        return {"success_url": address, "cancel_url": address}

    def perform(self, act: Act, sent: dict[str, str]) -> HttpResponse:
        if act.leads_away:
            return super().perform(act, sent)
        if "confirmed" not in sent:
            wish = {name: sent.get(name, "") for name in ("plan", "interval", "currency")}
            self.preview = call(
                self.request, "POST", f"{self.root()}/subscription/preview",
                {name: value for name, value in wish.items() if value},
            )  # fmt: skip
            if not self.preview.ok:
                return self.show(Shown(self.preview.status, self.preview.refusals, sent))
        return super().perform(act, sent)

    def told(self, act: Act, sent: dict[str, str]) -> list[tuple[str, str]]:
        cost = self.preview.data
        at_once = cost["takes_effect"] == "now"
        lines = [
            (line["description"], money(line["amount_cents"], cost["currency"]))
            for line in cost["lines"]
        ]
        total = money(cost["amount_cents"], cost["currency"])
        paid = "To pay now" if at_once else "To pay then"
        if cost["amount_cents"] < 0:
            paid, total = "To your credit", money(-cost["amount_cents"], cost["currency"])
        when = "at once" if at_once else "at the end of what is paid for"
        return [*lines, (paid, total), ("Takes effect", when)]


def _offer(plan: dict[str, Any], currency: str) -> dict[str, Any]:
    prices = {
        price["interval"]: price["amount_cents"]
        for price in plan["prices"]
        if price["currency"] == currency
    }
    return {**plan, "month": prices.get("month"), "year": prices.get("year")}


class Limits(OrgPage):
    """The budget of overage, and the thresholds of alerts."""

    template, tab, roles = "pages/limits.html", "limits", TEAM
    reads: ClassVar[dict[str, str]] = {"budget": "/budget", "alerts": "/alerts"}
    acts: ClassVar[dict[str, Act]] = {
        "budget": Act("PUT", "/budget", body=_budget, done="Budget saved."),
        "alerts": Act("PUT", "/alerts", body=_thresholds, done="Alerts saved."),
    }

    def context(self) -> dict[str, Any]:
        found = super().context()
        own = (found["alerts"] or {}).get("thresholds", {})
        sent = getattr(self, "sent", {})
        texts = {name: ", ".join(map(str, own.get(name, []))) for name in RESOURCES}
        rows = [(name, sent.get(name, text)) for name, text in texts.items()]
        budget = found["budget"] or {}
        minor = budget.get("amount_cents")
        amount = (
            "" if minor is None else f"{Decimal(minor).scaleb(-exponent_of(budget['currency']))}"
        )
        return {**found, "thresholds": rows, "amount": sent.get("amount", amount)}

    def show(self, shown: Shown) -> HttpResponse:
        self.sent = shown.sent
        return super().show(shown)
