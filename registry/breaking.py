"""What a new set of descriptors breaks for those who use the old one. Pure.

Compared by full name, whatever file an element stands in. A change is breaking when messages that were
written before cannot be read any more, or mean something else, in binary or in JSON, or when code that
was generated before does not fit any more. Removing a field or an enum value breaks nothing when both
its number and its name are reserved from then on. docs/registry.md lists the rules.
"""

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


def _compare_messages(
    element: _Element, old: DescriptorProto, new: DescriptorProto, before: _Index, after: _Index
) -> Iterator[BreakingChange]:
    for field in old.field:
        for rule, text in _fate(field, old, new, before, after):
            label = f'Field "{field.name}" ({field.number})'
            name = f"{element.name}.{field.name}"
            yield BreakingChange(element.path, name, rule, f"{label} {text}.")
    known = {field.number for field in old.field}
    for field in new.field:
        if field.label == _REQUIRED and field.number not in known:
            text = f'Field "{field.name}" ({field.number}) is new and required.'
            name = f"{element.name}.{field.name}"
            yield BreakingChange(element.path, name, "required_field_added", text)
    yield from _reserved_changes(element, old, new)


def _fate(
    field: FieldDescriptorProto,
    old: DescriptorProto,
    new: DescriptorProto,
    before: _Index,
    after: _Index,
) -> Iterator[tuple[str, str]]:
    """What became of a field: each rule that it breaks, with the rest of a sentence."""
    named = next((one for one in new.field if one.name == field.name), None)
    numbered = next((one for one in new.field if one.number == field.number), None)
    if named is not None and named.number != field.number:
        yield "field_renumbered", f"has number {named.number} now"
    elif numbered is None:
        if not _is_reserved(field.number, field.name, new):
            yield "field_removed", "is gone, and its number and name are not both reserved"
    else:
        if named is None:
            yield "field_renamed", f'is called "{numbered.name}" now'
        yield from _field_changes(_Side(field, old, before), _Side(numbered, new, after))


def _is_reserved(number: int, name: str, message: DescriptorProto) -> bool:
    ranged = any(part.start <= number < part.end for part in message.reserved_range)
    return ranged and name in message.reserved_name


def _reserved_changes(
    element: _Element, old: DescriptorProto, new: DescriptorProto
) -> Iterator[BreakingChange]:
    kept = [(part.start, part.end) for part in new.reserved_range]
    for part in old.reserved_range:
        if not _covered(part.start, part.end, kept):
            text = f"Numbers {part.start} to {part.end - 1} are not reserved any more."
            yield BreakingChange(element.path, element.name, "reserved_range_removed", text)
    for name in sorted(set(old.reserved_name) - set(new.reserved_name)):
        text = f'The name "{name}" is not reserved any more.'
        yield BreakingChange(element.path, element.name, "reserved_name_removed", text)
    offered = [(part.start, part.end) for part in new.extension_range]
    for room in old.extension_range:
        if not _covered(room.start, room.end, offered):
            text = f"Numbers {room.start} to {room.end - 1} are not open to extensions any more."
            yield BreakingChange(element.path, element.name, "extension_range_removed", text)


def _covered(start: int, end: int, ranges: list[tuple[int, int]]) -> bool:
    """Whether half-open ranges, in any order, cover start to end together."""
    for low, high in sorted(ranges):
        if low <= start < high:
            start = high
    return start >= end


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
        elif _is_reserved_value(value.number, value.name, new):
            continue
        else:
            rule = "enum_value_removed"
            text = f"{label} is gone, and its number and name are not both reserved."
        yield BreakingChange(element.path, f"{element.name}.{value.name}", rule, text)
    kept = [(part.start, part.end + 1) for part in new.reserved_range]
    for part in old.reserved_range:
        if not _covered(part.start, part.end + 1, kept):
            text = f"Numbers {part.start} to {part.end} are not reserved any more."
            yield BreakingChange(element.path, element.name, "reserved_range_removed", text)
    for name in sorted(set(old.reserved_name) - set(new.reserved_name)):
        text = f'The name "{name}" is not reserved any more.'
        yield BreakingChange(element.path, element.name, "reserved_name_removed", text)


def _is_reserved_value(number: int, name: str, enum: EnumDescriptorProto) -> bool:
    # Of enums the end of a range is part of it.
    ranged = any(part.start <= number <= part.end for part in enum.reserved_range)
    return ranged and name in enum.reserved_name


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
