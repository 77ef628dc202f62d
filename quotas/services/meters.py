"""The catalogue of meters: its file, and the rules that events are held against."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from django.db import transaction

from quotas.events import MeterRules
from quotas.metering import Aggregation
from quotas.models import Meter
from quotas.resources import Resource
from quotas.services.plans import lock_catalogue

METER_FILE = Path(__file__).resolve().parents[1] / "meters.toml"
FIXED = ("aggregation", "unique_property", "resource")
# What an event can count towards; the others are counted by Spoke itself.
COUNTABLE = (Resource.COMPILE_JOBS,)


class MeterFileError(ValueError):
    """What is wrong with the file of meters, and where."""


@dataclass(frozen=True, kw_only=True)
class MeterDefinition:
    """Everything that makes a meter."""

    code: str
    name: str
    aggregation: str
    unit: str
    unique_property: str | None = None
    allows_decrease: bool = False
    resource: str | None = None


def read_meters(path: Path = METER_FILE) -> list[MeterDefinition]:
    """The meters of the file, in its order. Raises MeterFileError naming the meter and the key."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise MeterFileError(f"{path}: {exc.strerror}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise MeterFileError(f"{path}: {exc}") from exc
    tables = data.get("meter")
    if set(data) != {"meter"} or not isinstance(tables, list):
        raise MeterFileError(f"{path}: [[meter]] tables, and nothing else, are expected")
    meters = [_meter(table, number) for number, table in enumerate(tables, start=1)]
    codes = [meter.code for meter in meters]
    if len(set(codes)) != len(codes):
        raise MeterFileError("two meters have the same code")
    return meters


def _meter(table: Any, number: int) -> MeterDefinition:
    code = table.get("code") if isinstance(table, dict) else None
    if not isinstance(code, str) or not re.fullmatch("[a-z][a-z0-9_]{0,63}", code):
        raise MeterFileError(f"meter number {number}: code is missing or malformed")
    try:
        meter = MeterDefinition(**table)
    except TypeError as exc:
        raise MeterFileError(f"meter {code}: {str(exc).split(') ')[-1]}") from exc
    for name, most in (("name", 100), ("unit", 32), ("unique_property", 64)):
        value = getattr(meter, name)
        if value is None and name == "unique_property":
            continue
        if not isinstance(value, str) or not 1 <= len(value) <= most:
            raise MeterFileError(f"meter {code}: {name} is text of 1 to {most} characters")
    if not isinstance(meter.allows_decrease, bool):
        raise MeterFileError(f"meter {code}: allows_decrease is true or false")
    _check_meaning(meter)
    return meter


def _check_meaning(meter: MeterDefinition) -> None:
    where = f"meter {meter.code}"
    if meter.aggregation not in list(Aggregation):
        raise MeterFileError(f"{where}: unknown aggregation {meter.aggregation!r}")
    if (meter.aggregation == Aggregation.UNIQUE) != (meter.unique_property is not None):
        raise MeterFileError(f"{where}: unique_property goes with the aggregation unique")
    if meter.resource is None:
        return
    if meter.resource not in COUNTABLE:
        raise MeterFileError(f"{where}: events cannot count towards {meter.resource!r}")
    if meter.aggregation != Aggregation.SUM or meter.allows_decrease:
        raise MeterFileError(f"{where}: what counts towards a limit is a sum without decreases")


@transaction.atomic
def seed_meters(*, definitions: list[MeterDefinition], dry_run: bool = False) -> list[str]:
    """The meters are as defined; says what changed, one line each. Meters not named stay.

    Raises MeterFileError when the meaning of a published meter would change.
    """
    lock_catalogue()
    known = {meter.code: meter for meter in Meter.objects.all()}
    lines = []
    for definition in definitions:
        facts = asdict(definition)
        meter = known.get(definition.code)
        if meter is None:
            lines.append(f"meter {definition.code}: new")
            meter = Meter()
        else:
            changed = [name for name, value in facts.items() if getattr(meter, name) != value]
            if not changed:
                continue
            if fixed := [name for name in changed if name in FIXED]:
                raise MeterFileError(
                    f"meter {definition.code}: {', '.join(fixed)} of a published meter cannot change"
                )
            lines += [
                f"meter {definition.code}: {name}: {getattr(meter, name)} -> {facts[name]}"
                for name in changed
            ]
        if not dry_run:
            for name, value in facts.items():
                setattr(meter, name, value)
            meter.save()
    return lines


def meter_rules(meters: list[Meter]) -> Mapping[str, MeterRules]:
    """What each meter, by its code, asks of its events."""
    return {
        meter.code: MeterRules(
            meter_id=meter.pk,
            unique_property=meter.unique_property,
            allows_decrease=meter.allows_decrease,
            whole=meter.resource is not None,
        )
        for meter in meters
    }
