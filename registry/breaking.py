"""What a new set of descriptors breaks for those who use the old one. Pure.

Elements are compared by full name, files by path. A change is breaking when messages that were written
before cannot be read any more, or mean something else, in binary or in JSON; when code that was
generated before does not fit any more; or when a file that imports these does not compile any more.
Removing a field or an enum value breaks nothing when both its number and its name are reserved from
then on. docs/registry.md lists the rules, and what is not looked at.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FeatureSet,
    FieldDescriptorProto,
    FieldOptions,
    MethodDescriptorProto,
    MethodOptions,
    ServiceDescriptorProto,
)

from registry.breaking_files import file_changes, moved
from registry.descriptors import Element, Index, index_of
from registry.features import has_presence, is_delimited, is_exported, is_required, within

_TYPE_NAMES = {
    number: name.removeprefix("TYPE_").lower() for name, number in FieldDescriptorProto.Type.items()
}
_REPEATED = FieldDescriptorProto.LABEL_REPEATED


@dataclass(frozen=True, order=True)
class BreakingChange:
    """One change: the file of the old version it stands in, the element's full name, rule and words."""

    path: str
    element: str
    rule: str
    message: str


def breaking_changes(old: bytes, new: bytes) -> list[BreakingChange]:
    """What the second descriptor set breaks of the first, in the order of files and names.

    Both are serialized FileDescriptorSets without their imports. Raises
    google.protobuf.message.DecodeError where one is none.
    """
    before, after = index_of(old), index_of(new)
    gone = before.packages.keys() - after.packages.keys()
    found = [
        BreakingChange(
            before.packages[package],
            package,
            "package_removed",
            f'Package "{package}" is gone, with all that it held.',
        )
        for package in gone
    ]
    found += [BreakingChange(*change) for change in file_changes(before, after, gone)]
    for kind in _KINDS:
        found += _of_kind(kind, before, after, gone)
    return sorted(found)


def _of_kind(kind: str, before: Index, after: Index, gone: set[str]) -> Iterator[BreakingChange]:
    old_ones: dict[str, Element] = getattr(before, f"{kind}s")
    new_ones: dict[str, Element] = getattr(after, f"{kind}s")
    for name, element in old_ones.items():
        if element.package in gone or (kind == "message" and element.proto.options.map_entry):
            continue
        around = name.rpartition(".")[0]
        if name in new_ones:
            yield from _KINDS[kind](element, new_ones[name], before, after)
            if not before.is_nested(name):
                for change in moved(kind, element, new_ones[name], after):
                    yield BreakingChange(*change)
        elif not before.is_nested(name) or around in after.messages:
            # What went with the message around it is not named again.
            text = f'{kind.capitalize()} "{name}" is gone.'
            yield BreakingChange(element.path, name, f"{kind}_removed", text)


class _Ranges:
    """Half-open ranges of numbers, in any order, as one set."""

    def __init__(self, ranges: Iterable[tuple[int, int]]) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        for start, end in sorted(ranges):
            if self._ends and start <= self._ends[-1]:
                self._ends[-1] = max(self._ends[-1], end)
            else:
                self._starts.append(start)
                self._ends.append(end)

    def cover(self, start: int, end: int) -> bool:
        """Whether every number from start to before end is in one of them."""
        at = bisect_right(self._starts, start) - 1
        return start >= end or (at >= 0 and end <= self._ends[at])


class _Fields:
    """The fields of a message and what it keeps free, found at once: there may be very many."""

    def __init__(self, message: DescriptorProto) -> None:
        self.message = message
        self.named = {field.name: field for field in reversed(message.field)}
        self.numbered = {field.number: field for field in reversed(message.field)}
        self.reserved = _Ranges((part.start, part.end) for part in message.reserved_range)
        self._reserved_names = set(message.reserved_name)

    def keeps_free(self, number: int, name: str) -> bool:
        """Whether both are reserved."""
        return name in self._reserved_names and self.reserved.cover(number, number + 1)


def _compare_messages(
    element: Element, other: Element, before: Index, after: Index
) -> Iterator[BreakingChange]:
    yield from _scope(element, other, before)
    old, new = element.proto, other.proto
    if old == new and element.features == other.features:
        return
    fields = _Fields(new)
    for field in old.field:
        side = _Side(field, old, element.features, before)
        for rule, text in _fate(side, fields, other, after):
            label = f'Field "{field.name}" ({field.number})'
            name = f"{element.name}.{field.name}"
            yield BreakingChange(element.path, name, rule, f"{label} {text}.")
    known = {field.number for field in old.field}
    for field in new.field:
        side = _Side(field, new, other.features, after)
        if field.number not in known and side.cardinality == "required":
            text = f'Field "{field.name}" ({field.number}) is new and required.'
            name = f"{element.name}.{field.name}"
            yield BreakingChange(element.path, name, "required_field_added", text)
    yield from _message_ranges(element, old, fields)
    if old.options.message_set_wire_format != new.options.message_set_wire_format:
        text = "It is written as a message set in one of the two versions alone."
        yield BreakingChange(element.path, element.name, "message_set_changed", text)


def _scope(element: Element, other: Element, before: Index) -> Iterator[BreakingChange]:
    """What messages and enums alike may lose: that other files can name them, that JSON is checked."""
    nested = before.is_nested(element.name)
    if is_exported(element.proto, element.features, nested=nested) and not is_exported(
        other.proto, other.features, nested=nested
    ):
        text = "Other files cannot name it any more: it is local now."
        yield BreakingChange(element.path, element.name, "visibility_narrowed", text)
    json = (element.features.json_format, other.features.json_format)
    if json == (FeatureSet.ALLOW, FeatureSet.LEGACY_BEST_EFFORT):
        text = "JSON was sure to work, and is written at best effort now."
        yield BreakingChange(element.path, element.name, "json_format_changed", text)


def _fate(
    old: "_Side", fields: _Fields, message: Element, after: Index
) -> Iterator[tuple[str, str]]:
    """What became of a field: each rule that it breaks, with the rest of a sentence."""
    field = old.field
    named, numbered = fields.named.get(field.name), fields.numbered.get(field.number)
    if named is not None and named.number != field.number:
        yield "field_renumbered", f"has number {named.number} now"
    elif numbered is None:
        if not fields.keeps_free(field.number, field.name):
            yield "field_removed", "is gone, and its number and name are not both reserved"
        elif old.cardinality == "required":
            yield "required_field_removed", "was required, and is gone"
    else:
        if named is None:
            yield "field_renamed", f'is called "{numbered.name}" now'
        yield from _field_changes(old, _Side(numbered, fields.message, message.features, after))


def _message_ranges(
    element: Element, old: DescriptorProto, fields: _Fields
) -> Iterator[BreakingChange]:
    new = fields.message
    yield from _unreserved(element, old, new, fields.reserved, last=0)
    offered = _Ranges((part.start, part.end) for part in new.extension_range)
    for room in old.extension_range:
        if not offered.cover(room.start, room.end):
            text = f"Numbers {room.start} to {room.end - 1} are not open to extensions any more."
            yield BreakingChange(element.path, element.name, "extension_range_removed", text)


def _unreserved(
    element: Element,
    old: DescriptorProto | EnumDescriptorProto,
    new: DescriptorProto | EnumDescriptorProto,
    kept: _Ranges,
    *,
    last: int,
) -> Iterator[BreakingChange]:
    """What is reserved no more; `last` is 1 where the end of a range is part of it."""
    for part in old.reserved_range:
        if not kept.cover(part.start, part.end + last):
            text = f"Numbers {part.start} to {part.end + last - 1} are not reserved any more."
            yield BreakingChange(element.path, element.name, "reserved_range_removed", text)
    for name in sorted(set(old.reserved_name) - set(new.reserved_name)):
        text = f'The name "{name}" is not reserved any more.'
        yield BreakingChange(element.path, element.name, "reserved_name_removed", text)


@dataclass(frozen=True)
class _Side:
    """A field in its message (None: an extension), its features, and all elements of its version."""

    field: FieldDescriptorProto
    message: DescriptorProto | None
    around: FeatureSet
    index: Index

    @property
    def features(self) -> FeatureSet:
        return within(self.around, self.field.options)

    @property
    def type(self) -> str:
        """The type as it is written in a file."""
        field = self.field
        if not field.type_name:
            return _TYPE_NAMES[field.type]
        name = field.type_name.removeprefix(".")
        entry = self.index.messages.get(name)
        if entry is not None and entry.proto.options.map_entry:
            sides = (_Side(p, entry.proto, self.around, self.index) for p in entry.proto.field)
            return f"map<{', '.join(side.type for side in sides)}>"
        return f"group {name}" if is_delimited(field, self.features) else name

    @property
    def cardinality(self) -> str:
        """How many values it has; optional and plain are the same on the wire."""
        if self.type.startswith("map<"):
            return "map"
        if self.field.label == _REPEATED:
            return "repeated"
        return "required" if is_required(self.field, self.features) else "singular"

    @property
    def oneof(self) -> str | None:
        """The oneof that it stands in; the one that stands for proto3's `optional` is none."""
        field = self.field
        if self.message is None or not field.HasField("oneof_index") or field.proto3_optional:
            return None
        return self.message.oneof_decl[field.oneof_index].name


def _field_changes(old: _Side, new: _Side) -> Iterator[tuple[str, str]]:
    if old.type != new.type:
        yield "field_type_changed", f"was {old.type} and is {new.type} now"
    if old.cardinality != new.cardinality:
        yield "field_cardinality_changed", f"was {old.cardinality} and is {new.cardinality} now"
    renamed = old.field.name != new.field.name
    if old.field.json_name != new.field.json_name and not renamed:
        yield (
            "field_json_name_changed",
            f'was "{old.field.json_name}" in JSON and is "{new.field.json_name}" now',
        )
    if old.oneof != new.oneof:
        was, now = (
            f"in oneof {name}" if name else "in no oneof" for name in (old.oneof, new.oneof)
        )
        yield "field_oneof_changed", f"was {was} and is {now} now"
    if (old.type, old.cardinality) == (new.type, new.cardinality):
        yield from _same_type_changes(old, new)


def _same_type_changes(old: _Side, new: _Side) -> Iterator[tuple[str, str]]:
    """What may change of a field that keeps type and cardinality."""
    if old.field.default_value != new.field.default_value:
        was, now = (side.field.default_value or "the type's" for side in (old, new))
        yield "field_default_changed", f"had the default {was} and has {now} now"
    if old.oneof == new.oneof and (
        has_presence(old.field, old.features) and not has_presence(new.field, new.features)
    ):
        yield "field_presence_removed", 'does not tell "not set" from its default any more'
    if old.type == "string" and old.features.utf8_validation != new.features.utf8_validation:
        checked = "is" if new.features.utf8_validation == FeatureSet.VERIFY else "is not"
        yield "field_utf8_validation_changed", f"{checked} checked to be UTF-8 now"
    if old.field.options.jstype != new.field.options.jstype:
        was, now = (FieldOptions.JSType.Name(side.field.options.jstype) for side in (old, new))
        yield "field_jstype_changed", f"was {was} in JavaScript and is {now} now"


def _compare_extensions(
    element: Element, other: Element, before: Index, after: Index
) -> Iterator[BreakingChange]:
    old = _Side(element.proto, None, element.features, before)
    new = _Side(other.proto, None, other.features, after)
    changes = list(_field_changes(old, new))
    if old.field.number != new.field.number:
        changes.append(("field_renumbered", f"has number {new.field.number} now"))
    if old.field.extendee != new.field.extendee:
        was, now = (side.field.extendee.removeprefix(".") for side in (old, new))
        changes.append(("extension_extendee_changed", f"extended {was} and extends {now} now"))
    for rule, text in changes:
        label = f'Extension "{old.field.name}" ({old.field.number})'
        yield BreakingChange(element.path, element.name, rule, f"{label} {text}.")


def _compare_enums(
    element: Element, other: Element, before: Index, after: Index
) -> Iterator[BreakingChange]:
    yield from _scope(element, other, before)
    old, new = element.proto, other.proto
    yield from _enum_as_a_whole(element, other)
    if old == new:
        return
    # Of enums the end of a range is part of it.
    kept = _Ranges((part.start, part.end + 1) for part in new.reserved_range)
    free_names = set(new.reserved_name)
    by_name = {value.name: value.number for value in new.value}
    numbers: dict[int, str] = {}
    for value in new.value:
        numbers.setdefault(value.number, value.name)
    for value in old.value:
        label = f'Value "{value.name}" ({value.number})'
        number = by_name.get(value.name)
        if number == value.number:
            continue
        if number is not None:
            rule, text = "enum_value_renumbered", f"{label} has number {number} now."
        elif value.number in numbers:
            text = f'{label} is called "{numbers[value.number]}" now.'
            rule = "enum_value_renamed"
        elif value.name in free_names and kept.cover(value.number, value.number + 1):
            continue
        else:
            rule = "enum_value_removed"
            text = f"{label} is gone, and its number and name are not both reserved."
        yield BreakingChange(element.path, f"{element.name}.{value.name}", rule, text)
    yield from _unreserved(element, old, new, kept, last=1)


def _enum_as_a_whole(element: Element, other: Element) -> Iterator[BreakingChange]:
    kinds = {FeatureSet.OPEN: "open", FeatureSet.CLOSED: "closed"}
    was, now = (kinds.get(one.features.enum_type, "") for one in (element, other))
    if was != now:
        text = f"Enum was {was} and is {now} now: unknown values are kept otherwise."
        yield BreakingChange(element.path, element.name, "enum_type_changed", text)
    first, other_first = element.proto.value[0], other.proto.value[0]
    if first.number != other_first.number:
        text = f'The default was "{first.name}" and is "{other_first.name}" now.'
        yield BreakingChange(element.path, element.name, "enum_default_changed", text)


def _compare_services(
    element: Element, other: Element, before: Index, after: Index
) -> Iterator[BreakingChange]:
    old: ServiceDescriptorProto = element.proto
    new: ServiceDescriptorProto = other.proto
    methods: Mapping[str, MethodDescriptorProto] = {method.name: method for method in new.method}
    for method in old.method:
        full = f"{element.name}.{method.name}"
        same = methods.get(method.name)
        if same is None:
            text = f'Method "{method.name}" is gone.'
            yield BreakingChange(element.path, full, "method_removed", text)
            continue
        for rule, was, now in (
            ("method_request_changed", method.input_type, same.input_type),
            ("method_response_changed", method.output_type, same.output_type),
            ("method_streaming_changed", _streaming(method), _streaming(same)),
            ("method_idempotency_changed", _idempotency(method), _idempotency(same)),
        ):
            if was != now:
                change = f"was {was.removeprefix('.')} and is {now.removeprefix('.')} now"
                text = f'Method "{method.name}" {change}.'
                yield BreakingChange(element.path, full, rule, text)


def _streaming(method: MethodDescriptorProto) -> str:
    client = "stream" if method.client_streaming else "one message"
    server = "stream" if method.server_streaming else "one message"
    return f"{client} to {server}"


def _idempotency(method: MethodDescriptorProto) -> str:
    return MethodOptions.IdempotencyLevel.Name(method.options.idempotency_level)


_KINDS: dict[str, Callable[..., Iterator[BreakingChange]]] = {
    "message": _compare_messages,
    "enum": _compare_enums,
    "service": _compare_services,
    "extension": _compare_extensions,
}
