"""What a new set of descriptors breaks for those who use the old one. Pure.

Compared by full name, whatever file an element stands in. A change is breaking when messages that were
written before cannot be read any more, or mean something else, in binary or in JSON, or when code that
was generated before does not fit any more. Removing a field or an enum value breaks nothing when both
its number and its name are reserved from then on. docs/registry.md lists the rules.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
    ServiceDescriptorProto,
)

_TYPE_NAMES = {
    number: name.removeprefix("TYPE_").lower() for name, number in FieldDescriptorProto.Type.items()
}
_REPEATED = FieldDescriptorProto.LABEL_REPEATED
_REQUIRED = FieldDescriptorProto.LABEL_REQUIRED


@dataclass(frozen=True, order=True)
class BreakingChange:
    """One change: the file of the old version it stands in, the element's full name, rule and words."""

    path: str
    element: str
    rule: str
    message: str


@dataclass(frozen=True)
class _Element:
    """A message, enum or service by its full name, and the file that it stands in."""

    path: str
    name: str
    package: str
    proto: Any


@dataclass(frozen=True)
class _Index:
    messages: dict[str, _Element]
    enums: dict[str, _Element]
    services: dict[str, _Element]
    packages: dict[str, str]  # each with a file that states it


def breaking_changes(old: bytes, new: bytes) -> list[BreakingChange]:
    """What the second descriptor set breaks of the first, in the order of files and names.

    Both are serialized FileDescriptorSets without their imports. Raises
    google.protobuf.message.DecodeError where one is none.
    """
    before, after = _index(_parsed(old)), _index(_parsed(new))
    gone = {package for package in before.packages if package not in after.packages}
    found = [
        BreakingChange(
            before.packages[package],
            package,
            "package_removed",
            f'Package "{package}" is gone, with all that it held.',
        )
        for package in gone
    ]
    for kind, compare in _KINDS.items():
        old_ones: dict[str, _Element] = getattr(before, f"{kind}s")
        new_ones: dict[str, _Element] = getattr(after, f"{kind}s")
        for name, element in old_ones.items():
            if element.package in gone or (kind == "message" and element.proto.options.map_entry):
                continue
            if name in new_ones:
                found += compare(element, element.proto, new_ones[name].proto, before, after)
            elif name.rpartition(".")[0] not in before.messages or (
                name.rpartition(".")[0] in after.messages
            ):
                # What went with the message around it is not named again.
                text = f'{kind.capitalize()} "{name}" is gone.'
                found.append(BreakingChange(element.path, name, f"{kind}_removed", text))
    return sorted(found)


def _parsed(serialized: bytes) -> Iterable[FileDescriptorProto]:
    return FileDescriptorSet.FromString(serialized).file


def _index(files: Iterable[FileDescriptorProto]) -> _Index:
    index = _Index({}, {}, {}, {})
    for file in files:
        if file.message_type or file.enum_type or file.service or file.extension:
            index.packages.setdefault(file.package, file.name)
        prefix = f"{file.package}." if file.package else ""
        for message in file.message_type:
            _index_message(index, file, prefix, message)
        for enum in file.enum_type:
            index.enums[prefix + enum.name] = _Element(
                file.name, prefix + enum.name, file.package, enum
            )
        for service in file.service:
            index.services[prefix + service.name] = _Element(
                file.name, prefix + service.name, file.package, service
            )
    return index


def _index_message(
    index: _Index, file: FileDescriptorProto, prefix: str, top: DescriptorProto
) -> None:
    waiting = [(prefix + top.name, top)]
    while waiting:
        name, message = waiting.pop()
        index.messages[name] = _Element(file.name, name, file.package, message)
        waiting += [(f"{name}.{inner.name}", inner) for inner in message.nested_type]
        for enum in message.enum_type:
            full = f"{name}.{enum.name}"
            index.enums[full] = _Element(file.name, full, file.package, enum)


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
    element: _Element, old: DescriptorProto, new: DescriptorProto, before: _Index, after: _Index
) -> Iterator[BreakingChange]:
    if old == new:
        return
    fields = _Fields(new)
    for field in old.field:
        for rule, text in _fate(field, old, fields, before, after):
            label = f'Field "{field.name}" ({field.number})'
            name = f"{element.name}.{field.name}"
            yield BreakingChange(element.path, name, rule, f"{label} {text}.")
    known = {field.number for field in old.field}
    for field in new.field:
        if field.label == _REQUIRED and field.number not in known:
            text = f'Field "{field.name}" ({field.number}) is new and required.'
            name = f"{element.name}.{field.name}"
            yield BreakingChange(element.path, name, "required_field_added", text)
    yield from _message_ranges(element, old, fields)


def _fate(
    field: FieldDescriptorProto,
    old: DescriptorProto,
    new: _Fields,
    before: _Index,
    after: _Index,
) -> Iterator[tuple[str, str]]:
    """What became of a field: each rule that it breaks, with the rest of a sentence."""
    named, numbered = new.named.get(field.name), new.numbered.get(field.number)
    if named is not None and named.number != field.number:
        yield "field_renumbered", f"has number {named.number} now"
    elif numbered is None:
        if not new.keeps_free(field.number, field.name):
            yield "field_removed", "is gone, and its number and name are not both reserved"
    else:
        if named is None:
            yield "field_renamed", f'is called "{numbered.name}" now'
        yield from _field_changes(_Side(field, old, before), _Side(numbered, new.message, after))


def _message_ranges(
    element: _Element, old: DescriptorProto, fields: _Fields
) -> Iterator[BreakingChange]:
    new = fields.message
    yield from _unreserved(element, old, new, fields.reserved, last=0)
    offered = _Ranges((part.start, part.end) for part in new.extension_range)
    for room in old.extension_range:
        if not offered.cover(room.start, room.end):
            text = f"Numbers {room.start} to {room.end - 1} are not open to extensions any more."
            yield BreakingChange(element.path, element.name, "extension_range_removed", text)


def _unreserved(
    element: _Element,
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
    """A field in its message and among all elements of its version."""

    field: FieldDescriptorProto
    message: DescriptorProto
    index: _Index

    @property
    def type(self) -> str:
        """The type as it is written in a file."""
        field = self.field
        if not field.type_name:
            return _TYPE_NAMES[field.type]
        name = field.type_name.removeprefix(".")
        entry = self.index.messages.get(name)
        if entry is not None and entry.proto.options.map_entry:
            key, value = (_Side(part, entry.proto, self.index) for part in entry.proto.field)
            return f"map<{key.type}, {value.type}>"
        return f"group {name}" if field.type == FieldDescriptorProto.TYPE_GROUP else name

    @property
    def cardinality(self) -> str:
        """How many values it has; optional and plain are the same on the wire."""
        if self.type.startswith("map<"):
            return "map"
        names = {_REPEATED: "repeated", _REQUIRED: "required"}
        return names.get(self.field.label, "singular")

    @property
    def oneof(self) -> str | None:
        """The oneof that it stands in; the one that stands for proto3's `optional` is none."""
        if not self.field.HasField("oneof_index") or self.field.proto3_optional:
            return None
        return self.message.oneof_decl[self.field.oneof_index].name


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


def _compare_enums(
    element: _Element,
    old: EnumDescriptorProto,
    new: EnumDescriptorProto,
    before: _Index,
    after: _Index,
) -> Iterator[BreakingChange]:
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


def _compare_services(
    element: _Element,
    old: ServiceDescriptorProto,
    new: ServiceDescriptorProto,
    before: _Index,
    after: _Index,
) -> Iterator[BreakingChange]:
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
        ):
            if was != now:
                change = f"was {was.removeprefix('.')} and is {now.removeprefix('.')} now"
                text = f'Method "{method.name}" {change}.'
                yield BreakingChange(element.path, full, rule, text)


def _streaming(method: MethodDescriptorProto) -> str:
    client = "stream" if method.client_streaming else "one message"
    server = "stream" if method.server_streaming else "one message"
    return f"{client} to {server}"


_KINDS: dict[str, Callable[..., Iterator[BreakingChange]]] = {
    "message": _compare_messages,
    "enum": _compare_enums,
    "service": _compare_services,
}
