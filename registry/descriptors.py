"""The elements of a set of descriptors, by their full names. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FeatureSet,
    FileDescriptorProto,
    FileDescriptorSet,
)

from registry.features import features_of_file, within


@dataclass(frozen=True)
class Element:
    """A message, enum, service or extension: its full name, its file, and the features in force.

    Those of an extension are its surroundings', of the others its own.
    """

    path: str
    name: str
    package: str
    proto: Any
    features: FeatureSet


@dataclass(frozen=True)
class Index:
    """All of a version, each by its name; files by their paths."""

    files: dict[str, FileDescriptorProto] = field(default_factory=dict)
    packages: dict[str, str] = field(default_factory=dict)  # each with a file that states it
    messages: dict[str, Element] = field(default_factory=dict)
    enums: dict[str, Element] = field(default_factory=dict)
    services: dict[str, Element] = field(default_factory=dict)
    extensions: dict[str, Element] = field(default_factory=dict)
    # What `seen_from` has found: very many elements may have left one file.
    _seen: dict[str, set[str]] = field(default_factory=dict)

    def is_nested(self, name: str) -> bool:
        """Whether an element stands in a message."""
        return name.rpartition(".")[0] in self.messages

    def seen_from(self, path: str) -> set[str]:
        """The files whose elements whoever imports this file can name: itself, and by public imports."""
        if path in self._seen:
            return self._seen[path]
        seen, waiting = {path}, [path]
        while waiting:
            for target in public_imports(self.files.get(waiting.pop())):
                if target not in seen:
                    seen.add(target)
                    waiting.append(target)
        return self._seen.setdefault(path, seen)


def public_imports(file: FileDescriptorProto | None) -> list[str]:
    """What a file imports publicly; nothing of one that is not there."""
    return [] if file is None else [file.dependency[number] for number in file.public_dependency]


def holds_elements(file: FileDescriptorProto) -> bool:
    """Whether anything is defined in the file."""
    return bool(file.message_type or file.enum_type or file.service or file.extension)


def index_of(serialized: bytes) -> Index:
    """The elements of a serialized FileDescriptorSet.

    Raises google.protobuf.message.DecodeError where it is none.
    """
    index = Index()
    for file in FileDescriptorSet.FromString(serialized).file:
        index.files[file.name] = file
        if holds_elements(file):
            index.packages.setdefault(file.package, file.name)
        features = features_of_file(file)
        prefix = f"{file.package}." if file.package else ""
        _keep(index, file, prefix, file, features)
        for message in file.message_type:
            for name, inner, own in _messages(prefix, message, features):
                index.messages[name] = Element(file.name, name, file.package, inner, own)
                _keep(index, file, f"{name}.", inner, own)
    return index


def _messages(
    prefix: str, top: DescriptorProto, around: FeatureSet
) -> Iterator[tuple[str, DescriptorProto, FeatureSet]]:
    waiting = [(prefix + top.name, top, around)]
    while waiting:
        name, message, features = waiting.pop()
        own = within(features, message.options)
        yield name, message, own
        waiting += [(f"{name}.{inner.name}", inner, own) for inner in message.nested_type]


def _keep(
    index: Index, file: FileDescriptorProto, prefix: str, holder: Any, features: FeatureSet
) -> None:
    """Keeps the enums, services and extensions of a file or message."""
    for kind, protos in (
        (index.enums, holder.enum_type),
        (index.services, getattr(holder, "service", ())),
    ):
        for proto in protos:
            name, own = prefix + proto.name, within(features, proto.options)
            kind[name] = Element(file.name, name, file.package, proto, own)
    for proto in holder.extension:
        name = prefix + proto.name
        index.extensions[name] = Element(file.name, name, file.package, proto, features)
