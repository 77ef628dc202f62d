"""The form by which staff build a plan: its parts, and what it comes to as a definition."""

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, ClassVar

from django import forms
from django.core.exceptions import ValidationError
from django.forms import BaseFormSet, formset_factory
from unfold.widgets import (
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from orgs.models import Organization
from quotas.charges import ChargeDefinition, plain, rule_of
from quotas.rating import MODELS, TIERED, Tier
from quotas.resources import UNITS, Resource
from quotas.services.limits import MAX_BIGINT
from quotas.services.plan_file import INTERVALS, MAY_HAVE_OVERAGE, read_plans
from quotas.services.plans import LimitDefinition, PlanDefinition, unpriced_overage
from spoke.core.money import CURRENCIES, exponent_of, round_minor

MOST = Decimal(10**12)
TIER = re.compile(r"(above|[\d.]+)\s*:\s*([\d.]+)(?:\s*\+\s*([\d.]+))?")
TIERS_HELP = "One a line: “10: 5 + 2” is up to 10 at 5 each, and 2 once; the last is “above: 3”."


def _amount(**more: Any) -> forms.DecimalField:
    return forms.DecimalField(
        min_value=0,
        max_value=MOST,
        max_digits=24,
        decimal_places=12,
        required=False,
        widget=UnfoldAdminDecimalFieldWidget,
        **more,
    )


def _count(least: int = 0, **more: Any) -> forms.IntegerField:
    return forms.IntegerField(
        min_value=least, max_value=MAX_BIGINT, widget=UnfoldAdminIntegerFieldWidget, **more
    )


def _choice(values: Any, **more: Any) -> forms.ChoiceField:
    return forms.ChoiceField(
        choices=[(str(value), str(value).replace("_", " ")) for value in values],
        widget=UnfoldAdminSelectWidget,
        **more,
    )


def _text(**more: Any) -> forms.CharField:
    return forms.CharField(**{"widget": UnfoldAdminTextInputWidget, **more})


class CurrencyField(forms.CharField):
    """A currency of ISO 4217, in small letters."""

    widget = UnfoldAdminTextInputWidget

    def clean(self, value: Any) -> str:
        code = str(super().clean(value)).lower()
        if code and code.upper() not in CURRENCIES:
            raise ValidationError(f"{code!r} is no currency of ISO 4217.")
        return code


class PlanForm(forms.Form):
    """What the plan is, and its limits; an empty limit is unlimited."""

    code = _text(max_length=32, help_text="A slug, such as custom-acme. An old one: a new version.")
    name = _text(max_length=100)
    description = _text(max_length=500, required=False)
    organization = _text(
        max_length=100, required=False, help_text="Its name: to it the plan is on offer."
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for resource in Resource:
            name, unit = resource.value.replace("_", " "), UNITS[resource]
            label = (name if unit == name else f"{name} ({unit})").capitalize()
            self.fields[f"limit_{resource}"] = _count(required=False, label=label)
        for resource in MAY_HAVE_OVERAGE:
            self.fields[f"overage_{resource}"] = forms.BooleanField(
                required=False,
                widget=UnfoldBooleanWidget,
                label=f"More {resource.value.replace('_', ' ')} may be used, and is billed",
            )

    def clean_code(self) -> str:
        code = str(self.cleaned_data["code"])
        if not re.fullmatch("[a-z][a-z0-9-]{0,31}", code):
            raise ValidationError("Small letters, digits and hyphens, beginning with a letter.")
        if code in {plan.code for plan in read_plans()}:
            raise ValidationError("This plan is kept in the file of plans. Choose another code.")
        return code

    def clean_organization(self) -> Organization | None:
        name = self.cleaned_data["organization"]
        if not name:
            return None
        found = Organization.objects.filter(name=name).first()
        if found is None:
            raise ValidationError("There is no such organization.")
        return found

    def limits(self) -> dict[Resource, LimitDefinition]:
        """The limits of a valid form."""
        data = self.cleaned_data
        return {
            resource: LimitDefinition(
                data[f"limit_{resource}"], bool(data.get(f"overage_{resource}"))
            )
            for resource in Resource
        }


class PriceForm(forms.Form):
    """The base price in one currency; empty: not sold by that interval."""

    currency = CurrencyField(max_length=3)
    month = _amount()
    year = _amount()

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        for interval in INTERVALS:
            amount, currency = data.get(interval), data.get("currency")
            if amount and currency and amount != round(amount, exponent_of(currency)):
                self.add_error(interval, f"At most {exponent_of(currency)} decimals.")
        return data

    def prices(self) -> Iterator[tuple[tuple[str, str], int]]:
        """((currency, interval), minor units) of a valid form."""
        currency = self.cleaned_data["currency"]
        for interval in INTERVALS:
            amount = self.cleaned_data[interval]
            if amount is not None:
                yield (currency, interval), round_minor(amount, currency)


class ChargeForm(forms.Form):
    """How usage of one resource is priced in one currency; amounts in major units."""

    resource = _choice(Resource)
    currency = CurrencyField(max_length=3)
    model = _choice(MODELS, initial="per_unit")
    unit = _text(max_length=32, help_text="As in GB-month.")
    unit_size = _count(1, initial=1, help_text="Bytes, jobs or requests in a unit.")
    included = _count(initial=0, help_text="In bytes, jobs or requests.")
    unit_amount = _amount(help_text="For each unit; of percentage: per cent.")
    tiers = _text(
        required=False, widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}), help_text=TIERS_HELP
    )
    minimum = _amount()
    maximum = _amount()

    def clean_tiers(self) -> tuple[Tier, ...]:
        lines = [line.strip() for line in self.cleaned_data["tiers"].splitlines()]
        return tuple(_tier(line) for line in lines if line)

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if self.errors:
            return data
        if data["model"] not in TIERED and data["unit_amount"] is None:
            self.add_error("unit_amount", "Say what a unit costs.")
            return data
        try:
            rule_of(self.charge(), data["currency"])
        except ValueError as exc:
            self.add_error("model", f"{exc}.".capitalize())
        return data

    def charge(self) -> ChargeDefinition:
        """The charge of a valid form."""
        data = self.cleaned_data
        return ChargeDefinition(
            unit=data["unit"],
            unit_size=data["unit_size"],
            included=data["included"],
            unit_amount=data["unit_amount"] or Decimal(0),
            model=data["model"],
            tiers=data["tiers"],
            minimum=data["minimum"],
            maximum=data["maximum"],
        )


def _tier(line: str) -> Tier:
    matched = TIER.fullmatch(line)
    try:
        if matched is None:
            raise ValueError
        up_to, unit, flat = matched.groups()
        return Tier(
            up_to=None if up_to == "above" else _bounded(up_to),
            unit_amount=_bounded(unit),
            flat_amount=_bounded(flat or "0"),
        )
    except (ValueError, ArithmeticError) as exc:
        raise ValidationError(f"{line!r} is no tier. {TIERS_HELP}") from exc


def _bounded(text: str) -> Decimal:
    """An amount as other fields take it. Raises ValueError and ArithmeticError."""
    amount = Decimal(text)
    if amount > MOST or amount != round(amount, 12):
        raise ValueError("an amount is up to a million millions, and has 12 decimals at most")
    return amount


def tiers_text(tiers: Any) -> str:
    """Tiers as the form takes them."""
    return "\n".join(
        f"{'above' if tier.up_to is None else plain(tier.up_to)}: {plain(tier.unit_amount)}"
        + (f" + {plain(tier.flat_amount)}" if tier.flat_amount else "")
        for tier in tiers
    )


class SampleForm(forms.Form):
    """A month's usage for which the price is shown."""

    currency = CurrencyField(max_length=3, initial="usd")
    interval = _choice(INTERVALS)
    storage_gb = _amount(label="Storage on average (GB)", initial=15)
    compile_jobs = _count(initial=1_500)
    api_requests = _count(initial=1_000_000)

    def usage(self) -> dict[Resource, Decimal]:
        """The usage of a valid form, as each resource is counted."""
        data = self.cleaned_data
        return {
            Resource.STORAGE: (data["storage_gb"] or Decimal(0)) * 2**30,
            Resource.COMPILE_JOBS: Decimal(data["compile_jobs"]),
            Resource.API_REQUESTS: Decimal(data["api_requests"]),
        }


Prices: Any = formset_factory(PriceForm, extra=0, min_num=1, max_num=20, can_delete=True)
Charges: Any = formset_factory(ChargeForm, extra=0, max_num=60, can_delete=True)


class PlanBuilder:
    """The parts of the page together. `definition` is there once `is_valid` said so."""

    parts: ClassVar[tuple[str, ...]] = ("plan", "prices", "charges", "sample")
    definition: PlanDefinition

    def __init__(self, data: Any = None, like: PlanDefinition | None = None) -> None:
        initial = _initial(like) if like else {}
        self.plan = PlanForm(data, initial=initial.get("plan"))
        self.prices: BaseFormSet[Any] = Prices(
            data, prefix="prices", initial=initial.get("prices", [{"currency": "usd"}])
        )
        self.charges: BaseFormSet[Any] = Charges(
            data, prefix="charges", initial=initial.get("charges", [])
        )
        self.sample = SampleForm(data, prefix="sample")
        self.problem = ""

    def is_valid(self) -> bool:
        """Whether all parts are, and fit together; else each says what is wrong, or `problem` does."""
        # Each is asked, so that each shows its own mistakes.
        valid = [getattr(self, part).is_valid() for part in self.parts]
        if not all(valid):
            return False
        prices = [pair for form in self._kept(self.prices) for pair in form.prices()]
        rows = [form.cleaned_data for form in self._kept(self.charges)]
        charges = [(Resource(row["resource"]), row["currency"]) for row in rows]
        if len(dict(prices)) < len(prices) or len(set(charges)) < len(charges):
            self.problem = "Two rows are for the same currency and resource."
            return False
        self.definition = PlanDefinition(
            code=self.plan.cleaned_data["code"],
            name=self.plan.cleaned_data["name"],
            description=self.plan.cleaned_data["description"],
            is_public=False,
            position=100,
            limits=self.plan.limits(),
            prices=dict(prices),
            charges=dict(zip(charges, [f.charge() for f in self._kept(self.charges)], strict=True)),
        )
        if free := unpriced_overage(self.definition):
            self.problem = f"More {free[0]} is allowed, but has no charge in {free[1]}."
        return not self.problem

    def _kept(self, rows: Any) -> list[Any]:
        return [form for form in rows if not form.cleaned_data.get("DELETE")]


def _initial(like: PlanDefinition) -> dict[str, Any]:
    plan: dict[str, Any] = {"name": f"{like.name} for …", "description": like.description}
    for resource, limit in like.limits.items():
        plan[f"limit_{resource}"], plan[f"overage_{resource}"] = limit.limit, limit.overage
    prices: dict[str, dict[str, Any]] = {}
    for (currency, interval), minor in sorted(like.prices.items()):
        row = prices.setdefault(currency, {"currency": currency})
        row[interval] = Decimal(minor).scaleb(-exponent_of(currency))
    charges = [
        {
            **{name: getattr(charge, name) for name in ("model", "unit", "unit_size", "included")},
            **{
                name: None if getattr(charge, name) is None else plain(getattr(charge, name))
                for name in ("unit_amount", "minimum", "maximum")
            },
            "resource": resource.value,
            "currency": currency,
            "tiers": tiers_text(charge.tiers),
        }
        for (resource, currency), charge in sorted(like.charges.items(), key=lambda pair: pair[0])
    ]
    return {"plan": plan, "prices": list(prices.values()), "charges": charges}
