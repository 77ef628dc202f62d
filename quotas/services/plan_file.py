"""The file of plans: reading it, and saying clearly what is wrong with it."""

import re
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Any

from quotas.charges import ChargeDefinition, rule_of
from quotas.rating import MODELS, TIERED, Tier
from quotas.resources import Resource
from quotas.services.plans import (
    DEFAULT_PLAN,
    LimitDefinition,
    PlanDefinition,
    unpriced_overage,
)
from spoke.core.money import CURRENCIES

PLAN_FILE = Path(__file__).resolve().parents[1] / "plans.toml"
MAX_BIGINT = 2**63 - 1
# Everything else is a hard limit on every plan.
MAY_HAVE_OVERAGE = (Resource.STORAGE, Resource.COMPILE_JOBS)
INTERVALS = ("month", "year")
PLAN_KEYS = {"code", "name", "description", "public", "overage", "limits", "prices", "charges"}
# Of a charge, what each currency has of its own.
BY_CURRENCY = ("unit_amount", "tiers", "minimum", "maximum")
CHARGE_KEYS = {"unit", "unit_size", "included", "model", *BY_CURRENCY}
TIER_KEYS = {"up_to", "unit_amount", "flat_amount"}


class PlanFileError(ValueError):
    """What is wrong with the file, and where."""


def read_plans(path: Path = PLAN_FILE) -> list[PlanDefinition]:
    """The plans of the file, in its order. Raises PlanFileError naming the plan and the key."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
    except OSError as exc:
        raise PlanFileError(f"{path}: {exc.strerror}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise PlanFileError(f"{path}: {exc}") from exc
    _only(data, {"plan"}, "the file")
    tables = data.get("plan")
    if not isinstance(tables, list) or not tables:
        raise PlanFileError(f"{path}: no [[plan]] in it")
    plans = [_plan(table, position) for position, table in enumerate(tables)]
    codes = [plan.code for plan in plans]
    if len(set(codes)) != len(codes):
        raise PlanFileError("two plans have the same code")
    if DEFAULT_PLAN not in codes:
        raise PlanFileError(f"the plan {DEFAULT_PLAN!r} is missing: organizations start on it")
    return plans


def _only(table: dict[str, Any], known: set[str], where: str) -> None:
    if unknown := set(table) - known:
        raise PlanFileError(f"{where}: unknown {', '.join(sorted(unknown))}")


def _table(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise PlanFileError(f"{where}: a table is expected")
    return value


def _text(value: Any, where: str, most: int) -> str:
    if not isinstance(value, str) or len(value) > most:
        raise PlanFileError(f"{where}: text of at most {most} characters is expected")
    return value


def _whole(value: Any, where: str, least: int = 0) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= MAX_BIGINT:
        raise PlanFileError(f"{where}: a whole number from {least} is expected, not {value!r}")
    return value


def _currency(value: str, where: str) -> str:
    if not re.fullmatch("[a-z]{3}", value) or value.upper() not in CURRENCIES:
        raise PlanFileError(f"{where}: {value!r} is no currency; write it as usd")
    return value


def _resource(value: str, where: str) -> Resource:
    if value not in list(Resource):
        raise PlanFileError(f"{where}: unknown resource {value!r}")
    return Resource(value)


def _plan(value: Any, position: int) -> PlanDefinition:
    table = _table(value, f"plan number {position + 1}")
    code = table.get("code")
    if not isinstance(code, str) or not re.fullmatch("[a-z][a-z0-9-]{0,31}", code):
        raise PlanFileError(f"plan number {position + 1}: code is missing or no slug")
    where = f"plan {code}"
    _only(table, PLAN_KEYS, where)
    public = table.get("public", True)
    if not isinstance(public, bool):
        raise PlanFileError(f"{where}: public is true or false")
    limits = _limits(table, where)
    definition = PlanDefinition(
        code=code,
        name=_text(table.get("name"), f"{where}: name", 100),
        description=_text(table.get("description", ""), f"{where}: description", 500),
        is_public=public,
        position=position,
        limits=limits,
        prices=_prices(table.get("prices", {}), where),
        charges=_charges(table.get("charges", {}), limits, where),
    )
    if free := unpriced_overage(definition):
        raise PlanFileError(
            f"{where}: overage of {free[0]} has no charge in {free[1]}, so it would be free"
        )
    return definition


def _limits(table: dict[str, Any], where: str) -> dict[Resource, LimitDefinition]:
    values = _table(table.get("limits"), f"{where}: limits")
    overage = table.get("overage", [])
    if not isinstance(overage, list) or any(name not in MAY_HAVE_OVERAGE for name in overage):
        allowed = " and ".join(MAY_HAVE_OVERAGE)
        raise PlanFileError(f"{where}: overage is a list; only {allowed} can have it")
    _only(values, set(Resource), f"{where}: limits")
    if missing := set(Resource) - set(values):
        raise PlanFileError(f"{where}: limits lacks {', '.join(sorted(missing))}")
    return {
        _resource(name, where): LimitDefinition(
            None if value == "unlimited" else _whole(value, f"{where}: limits.{name}"),
            name in overage,
        )
        for name, value in values.items()
    }


def _prices(value: Any, where: str) -> dict[tuple[str, str], int]:
    prices = {}
    for currency, table in _table(value, f"{where}: prices").items():
        name = f"{where}: prices.{currency}"
        row = _table(table, name)
        _only(row, set(INTERVALS), name)
        for interval, amount in row.items():
            key = (_currency(currency, name), interval)
            prices[key] = _whole(amount, f"{name}.{interval} (minor units)")
    return prices


def _charges(
    value: Any, limits: dict[Resource, LimitDefinition], where: str
) -> dict[tuple[Resource, str], ChargeDefinition]:
    charges: dict[tuple[Resource, str], ChargeDefinition] = {}
    for name, row in _table(value, f"{where}: charges").items():
        charges.update(_charge(name, row, limits, f"{where}: charges.{name}"))
    return charges


def _charge(
    name: str, value: Any, limits: dict[Resource, LimitDefinition], where: str
) -> dict[tuple[Resource, str], ChargeDefinition]:
    row = _table(value, where)
    _only(row, CHARGE_KEYS, where)
    resource = _resource(name, where)
    included = row.get("included", limits[resource].limit)
    model = row.get("model", "per_unit")
    if model not in MODELS:
        raise PlanFileError(f"{where}: model is one of {', '.join(MODELS)}")
    priced = "tiers" if model in TIERED else "unit_amount"
    by_currency = {key: _table(row[key], f"{where}.{key}") for key in BY_CURRENCY if key in row}
    currencies = _table(row.get(priced), f"{where}.{priced}").keys()
    for key, table in by_currency.items():
        _only(table, set(currencies), f"{where}.{key}")
    charges = {}
    for currency in currencies:
        amounts = {key: table[currency] for key, table in by_currency.items() if currency in table}
        charge = ChargeDefinition(
            unit=_text(row.get("unit"), f"{where}.unit", 32),
            unit_size=_whole(row.get("unit_size", 1), f"{where}.unit_size", 1),
            included=_whole(included, f"{where}.included"),
            model=model,
            **{key: _priced(key, amounts[key], f"{where}.{key}.{currency}") for key in amounts},
        )
        charges[resource, _currency(currency, where)] = _sensible(charge, currency, where)
    return charges


def _sensible(charge: ChargeDefinition, currency: str, where: str) -> ChargeDefinition:
    try:
        rule_of(charge, currency)
    except ValueError as exc:
        raise PlanFileError(f"{where}: {exc}") from exc
    return charge


def _priced(key: str, value: Any, where: str) -> Any:
    return _tiers(value, where) if key == "tiers" else _amount(value, where)


def _tiers(value: Any, where: str) -> tuple[Tier, ...]:
    if not isinstance(value, list) or not value:
        raise PlanFileError(f"{where}: a list of tiers is expected")
    tiers = []
    for number, row in enumerate(value, start=1):
        name = f"{where}, tier {number}"
        table = _table(row, name)
        _only(table, TIER_KEYS, name)
        tiers.append(
            Tier(
                up_to=_amount(table["up_to"], f"{name}: up_to") if "up_to" in table else None,
                unit_amount=_amount(table.get("unit_amount", 0), f"{name}: unit_amount"),
                flat_amount=_amount(table.get("flat_amount", 0), f"{name}: flat_amount"),
            )
        )
    return tuple(tiers)


def _amount(value: Any, where: str) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise PlanFileError(f"{where}: a number is expected")
    amount = Decimal(value)
    if not amount.is_finite() or not 0 <= amount < 10**12:
        raise PlanFileError(f"{where}: an amount from 0 is expected, not {value}")
    if amount != round(amount, 12):
        raise PlanFileError(f"{where}: at most 12 decimals")
    return amount
