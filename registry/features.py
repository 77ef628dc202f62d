"""What Protobuf's features are in force where: the edition's, and what stands nearer overrides it. Pure.

After https://protobuf.dev/editions/features/. Descriptors only state what was written; proto2 and proto3
are editions with other defaults. A label, a group and `optional` say what fields of editions say by
features.
"""

from typing import Any

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    Edition,
    EnumDescriptorProto,
    FeatureSet,
    FieldDescriptorProto,
    FileDescriptorProto,
    SymbolVisibility,
)

Visibility = FeatureSet.VisibilityFeature
_MODERN = FeatureSet(
    field_presence=FeatureSet.EXPLICIT,
    enum_type=FeatureSet.OPEN,
    utf8_validation=FeatureSet.VERIFY,
    message_encoding=FeatureSet.LENGTH_PREFIXED,
    json_format=FeatureSet.ALLOW,
    default_symbol_visibility=Visibility.EXPORT_ALL,
)
_OVERRIDES = {
    Edition.EDITION_PROTO2: FeatureSet(
        enum_type=FeatureSet.CLOSED,
        utf8_validation=FeatureSet.NONE,
        json_format=FeatureSet.LEGACY_BEST_EFFORT,
    ),
    Edition.EDITION_PROTO3: FeatureSet(field_presence=FeatureSet.IMPLICIT),
    Edition.EDITION_2023: FeatureSet(),
}
_LATER = FeatureSet(default_symbol_visibility=Visibility.EXPORT_TOP_LEVEL)


def features_of_file(file: FileDescriptorProto) -> FeatureSet:
    """The features of a file as a whole."""
    edition = {"editions": file.edition, "proto3": Edition.EDITION_PROTO3}.get(
        file.syntax, Edition.EDITION_PROTO2
    )
    features = FeatureSet()
    features.CopyFrom(_MODERN)
    features.MergeFrom(_OVERRIDES.get(edition, _LATER))
    return within(features, file.options)


def within(around: FeatureSet, options: Any) -> FeatureSet:
    """The features of an element with these options, inside of something with the features `around`."""
    if not options.HasField("features"):
        return around
    features = FeatureSet()
    features.CopyFrom(around)
    features.MergeFrom(options.features)
    return features


def is_required(field: FieldDescriptorProto, features: FeatureSet) -> bool:
    """Whether a message without the field is none; `features` are the field's own."""
    return field.label == FieldDescriptorProto.LABEL_REQUIRED or (
        features.field_presence == FeatureSet.LEGACY_REQUIRED and _is_singular(field)
    )


def has_presence(field: FieldDescriptorProto, features: FeatureSet) -> bool:
    """Whether a field that was not set is told from one set to its default."""
    return _is_singular(field) and (
        field.HasField("oneof_index")
        or field.HasField("extendee")
        or field.type in (FieldDescriptorProto.TYPE_MESSAGE, FieldDescriptorProto.TYPE_GROUP)
        or features.field_presence != FeatureSet.IMPLICIT
    )


def _is_singular(field: FieldDescriptorProto) -> bool:
    return field.label != FieldDescriptorProto.LABEL_REPEATED


def is_delimited(field: FieldDescriptorProto, features: FeatureSet) -> bool:
    """Whether a message stands between two tags, as a group does, and not after its length."""
    return field.type == FieldDescriptorProto.TYPE_GROUP or (
        field.type == FieldDescriptorProto.TYPE_MESSAGE
        and features.message_encoding == FeatureSet.DELIMITED
    )


def is_exported(
    proto: DescriptorProto | EnumDescriptorProto, features: FeatureSet, *, nested: bool
) -> bool:
    """Whether other files may name it."""
    if proto.visibility != SymbolVisibility.VISIBILITY_UNSET:
        return proto.visibility == SymbolVisibility.VISIBILITY_EXPORT
    default = features.default_symbol_visibility
    return default == Visibility.EXPORT_ALL or (
        default == Visibility.EXPORT_TOP_LEVEL and not nested
    )
