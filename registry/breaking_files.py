"""What becomes of the files of a version for whoever imports them, or generated code of them. Pure."""

from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileOptions

from registry.descriptors import Element, Index, holds_elements, public_imports

# Path, element, rule, words.
Found = tuple[str, str, str, str]
# Those that change the names or the kind of generated code.
OPTIONS = (
    "java_package",
    "java_outer_classname",
    "java_multiple_files",
    "java_generic_services",
    "cc_generic_services",
    "py_generic_services",
    "csharp_namespace",
    "go_package",
    "objc_class_prefix",
    "php_class_prefix",
    "php_namespace",
    "php_metadata_namespace",
    "ruby_package",
    "swift_prefix",
    "optimize_for",
)


def file_changes(before: Index, after: Index, gone: set[str]) -> Iterator[Found]:
    """What breaks for those who import files; `gone` are packages whose loss is told already."""
    for path, file in before.files.items():
        new = after.files.get(path)
        if new is not None:
            yield from _imports(file, new, before, after)
            if holds_elements(file) and holds_elements(new):
                yield from _options(file, new)
        elif file.package not in gone or not holds_elements(file):
            yield path, path, "file_removed", f'File "{path}" is gone; who imports it fails.'


def moved(kind: str, old: Element, new: Element, after: Index) -> Iterator[Found]:
    """An element that cannot be named any more by those who import the file it was in."""
    if old.path == new.path or old.path not in after.files:
        return
    if new.path not in after.seen_from(old.path):
        text = (
            f'{kind.capitalize()} "{old.name}" is in {new.path} now,'
            f" which {old.path} does not import publicly."
        )
        yield old.path, old.name, f"{kind}_moved", text


def _imports(
    old: FileDescriptorProto, new: FileDescriptorProto, before: Index, after: Index
) -> Iterator[Found]:
    lost = set(public_imports(old)) - after.seen_from(new.name)
    for target in sorted(lost):
        if target in after.files or target not in before.files:
            text = f'"{target}" is not imported publicly any more.'
            yield old.name, target, "public_import_removed", text


def _options(old: FileDescriptorProto, new: FileDescriptorProto) -> Iterator[Found]:
    for name in OPTIONS:
        was, now = _option(old, name), _option(new, name)
        # Without a Go package no Go code could be generated.
        if was != now and not (name == "go_package" and not was):
            text = f"Option {name} was {_shown(name, was)} and is {_shown(name, now)} now."
            yield old.name, name, "file_option_changed", text


def _option(file: FileDescriptorProto, name: str) -> Any:
    # Java's package is the Protobuf one unless said.
    if name == "java_package" and not file.options.HasField("java_package"):
        return file.package
    return getattr(file.options, name)


def _shown(name: str, value: Any) -> str:
    if name == "optimize_for":
        return FileOptions.OptimizeMode.Name(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return f'"{value}"' if value else "not set"
