"""What an event of usage must be. Pure: each event is judged by itself, and by those before it."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal, InvalidOperation
from typing import Any, NamedTuple

OLDEST, NEWEST = timedelta(days=35), timedelta(minutes=5)
MAX_EVENTS = 10_000
MAX_KEY = 255
# A quantity stays below 10^18 and has no more than 12 decimals.
QUANTITY_BOUND = 10**18
DECIMALS = 12
STEP = Decimal(1).scaleb(-DECIMALS)
WIDE = Context(prec=40)
MAX_PROPERTIES = 32
MAX_PROPERTY_NAME, MAX_PROPERTY_TEXT = 64, 512
FIELDS = frozenset(
    {"idempotency_key", "meter", "quantity", "timestamp", "properties", "organization"}
)
DECIMAL_TEXT = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?")
NOT_STORABLE = re.compile("[\x00\ud800-\udfff]")
_encode = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True)
class MeterRules:
    """What one meter asks of its events. `whole`: its quantities are whole numbers."""

    meter_id: int
    unique_property: str | None = None
    allows_decrease: bool = False
    whole: bool = False


@dataclass(frozen=True)
class Organization:
    """The organization whose events these are, and its name."""

    org_id: int
    name: str

    def is_called(self, told: Any) -> bool:
        """Whether an event that says whose it is means this one, by number or name."""
        return type(told) in (int, str) and str(told) in (str(self.org_id), self.name)


class Event(NamedTuple):
    """An event that may be stored. `digest` is of its idempotency key, `properties` JSON text."""

    position: int
    key: str
    digest: bytes
    meter_id: int
    quantity: int | Decimal
    at: datetime
    properties: str | None


class Outcome(NamedTuple):
    """What became of an event that was not stored: `status` is `rejected` or `duplicate`."""

    position: int
    idempotency_key: str | None
    status: str
    code: str
    detail: str


class _Bad(Exception):
    def __init__(self, code: str, detail: str) -> None:
        self.code, self.detail = code, detail


def digest_of(org_id: int, key: str) -> bytes:
    """The 16 bytes by which an organization's idempotency key is remembered.

    Raises UnicodeEncodeError for lone surrogates.
    """
    return hashlib.sha256(b"%d:%b" % (org_id, key.encode())).digest()[:16]


def duplicate(position: int, key: str) -> Outcome:
    """The answer to an event whose key is known already."""
    return Outcome(
        position, key, "duplicate", "duplicate", "An event with this idempotency_key is stored."
    )


def check_events(
    events: Sequence[Any],
    *,
    meters: Mapping[str, MeterRules],
    organization: Organization,
    now: datetime,
) -> tuple[list[Event], list[Outcome]]:
    """The events that may be stored, each key once, and what is to be said of the others.

    Of one key the first event that is
    in order counts; what follows under it is a duplicate.
    """
    good: list[Event] = []
    others: list[Outcome] = []
    seen: set[bytes] = set()
    oldest, newest = now - OLDEST, now + NEWEST
    for position, raw in enumerate(events):
        try:
            event = _checked(position, raw, meters, organization, oldest, newest)
        except _Bad as bad:
            others.append(Outcome(position, _shown_key(raw), "rejected", bad.code, bad.detail))
            continue
        if event.digest in seen:
            others.append(duplicate(position, event.key))
            continue
        seen.add(event.digest)
        good.append(event)
    return good, others


def _checked(
    position: int,
    raw: Any,
    meters: Mapping[str, MeterRules],
    organization: Organization,
    oldest: datetime,
    newest: datetime,
) -> Event:
    if type(raw) is not dict:
        raise _Bad("invalid", "An event is an object.")
    if not raw.keys() <= FIELDS:
        raise _Bad("unknown_field", "Unknown: " + ", ".join(_printable(set(raw) - FIELDS)) + ".")
    if "organization" in raw and not organization.is_called(raw["organization"]):
        raise _Bad("foreign_organization", "This event names another organization.")
    key = raw.get("idempotency_key")
    digest = _digest(organization.org_id, key)
    meter = raw.get("meter")
    rules = meters.get(meter) if type(meter) is str else None
    if rules is None:
        raise _Bad("unknown_meter", "There is no such meter." if meter else "`meter` is required.")
    quantity = _quantity(raw.get("quantity"), rules)
    at = _time(raw.get("timestamp"), oldest, newest)
    properties = _properties(raw.get("properties"), rules)
    return Event(position, str(key), digest, rules.meter_id, quantity, at, properties)


def _printable(names: set[str]) -> list[str]:
    return [name[:64].encode("ascii", "backslashreplace").decode() for name in sorted(names)[:8]]


def _shown_key(raw: Any) -> str | None:
    """The key to tell the client, as far as it can be written at all."""
    key = raw.get("idempotency_key") if type(raw) is dict else None
    if type(key) is not str:
        return None
    return key[:MAX_KEY].encode("utf-8", "replace").decode()


def _digest(org_id: int, key: Any) -> bytes:
    if type(key) is not str:
        raise _Bad("invalid_idempotency_key", "`idempotency_key` is required, as text.")
    if not 1 <= len(key) <= MAX_KEY or "\x00" in key:
        raise _Bad("invalid_idempotency_key", f"1 to {MAX_KEY} characters, none of them NUL.")
    try:
        return digest_of(org_id, key)
    except UnicodeEncodeError as exc:
        raise _Bad("invalid_idempotency_key", "Lone surrogates are not allowed.") from exc


def _quantity(value: Any, rules: MeterRules) -> int | Decimal:
    if type(value) is str and DECIMAL_TEXT.fullmatch(value):
        value = Decimal(value)
    if type(value) is Decimal:
        value = _bounded_decimal(value)
    elif type(value) is not int:
        raise _Bad("invalid_quantity", "`quantity` is a number, or one as text.")
    if not -QUANTITY_BOUND < value < QUANTITY_BOUND:
        raise _Bad("quantity_too_large", "A quantity stays below 10^18.")
    if value < 0 and not rules.allows_decrease:
        raise _Bad("negative_quantity", "This meter takes no negative quantity.")
    if rules.whole and value % 1:
        raise _Bad("fractional_quantity", "This meter takes whole quantities only.")
    return value  # type: ignore[no-any-return]


def _bounded_decimal(value: Decimal) -> Decimal:
    if not value.is_finite():
        raise _Bad("invalid_quantity", "`quantity` is a finite number.")
    if value.adjusted() >= 18 and value:
        raise _Bad("quantity_too_large", "A quantity stays below 10^18.")
    try:
        rounded = value.quantize(STEP, context=WIDE)
    except InvalidOperation as exc:
        raise _Bad("quantity_too_precise", f"At most {DECIMALS} decimals.") from exc
    if rounded != value:
        raise _Bad("quantity_too_precise", f"At most {DECIMALS} decimals.")
    return rounded


def _time(value: Any, oldest: datetime, newest: datetime) -> datetime:
    if type(value) is not str:
        raise _Bad("invalid_timestamp", "`timestamp` is required, as ISO 8601 with a zone.")
    try:
        at = datetime.fromisoformat(value)
    except ValueError as exc:
        raise _Bad("invalid_timestamp", "`timestamp` is no ISO 8601 time.") from exc
    if at.tzinfo is None:
        raise _Bad("invalid_timestamp", "`timestamp` needs a time zone, such as Z.")
    if at < oldest:
        raise _Bad("timestamp_too_old", f"Events are taken up to {OLDEST.days} days back.")
    if at > newest:
        raise _Bad("timestamp_in_future", "Events are taken up to 5 minutes ahead.")
    return at if at.tzinfo is UTC else at.astimezone(UTC)


def _properties(value: Any, rules: MeterRules) -> str | None:
    if rules.unique_property is not None:
        told = value.get(rules.unique_property) if type(value) is dict else None
        if told is None or told == "":
            raise _Bad("missing_property", f"This meter needs properties.{rules.unique_property}.")
    if not value:
        if value is not None and type(value) is not dict:
            raise _Bad("invalid_properties", "`properties` is a flat object.")
        return None
    if type(value) is not dict or len(value) > MAX_PROPERTIES:
        raise _Bad("invalid_properties", f"A flat object of at most {MAX_PROPERTIES} names.")
    plain = True
    for name, item in value.items():
        if not 1 <= len(name) <= MAX_PROPERTY_NAME:
            raise _Bad("invalid_properties", f"A name has 1 to {MAX_PROPERTY_NAME} characters.")
        if not _is_plain(item):
            plain = False
    text = _encode(value if plain else {name: _number(item) for name, item in value.items()})
    if "\\u" in text and NOT_STORABLE.search("".join(_texts(value))):
        raise _Bad("invalid_properties", "Null characters and lone surrogates are not allowed.")
    return text


def _is_plain(item: Any) -> bool:
    """Whether it can be written as it is. Raises _Bad for what is no bounded scalar."""
    kind = type(item)
    if kind is str:
        if len(item) > MAX_PROPERTY_TEXT:
            raise _Bad("invalid_properties", f"A text has at most {MAX_PROPERTY_TEXT} characters.")
        return True
    if item is None or kind is bool:
        return True
    if kind is int and -QUANTITY_BOUND < item < QUANTITY_BOUND:
        return True
    if kind is Decimal and item.is_finite() and -18 <= item.adjusted() < 18:
        return False
    raise _Bad("invalid_properties", "Values are texts, numbers of 18 digits, true, false or null.")


def _number(item: Any) -> Any:
    """Numbers with a point are kept in double precision."""
    return float(item) if type(item) is Decimal else item


def _texts(value: Mapping[str, Any]) -> list[str]:
    return [*value, *(item for item in value.values() if type(item) is str)]
