"""The shapes of modules, versions and files in the API."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from registry import semver
from registry.files import (
    MAX_FILE_BYTES,
    MAX_FILES,
    Push,
    PushedFile,
    has_proto,
    path_problem,
    set_problems,
)
from registry.models import BreakingPolicy
from registry.references import MAX_DEPENDENCIES, InvalidReference, parse_reference
from registry.services.modules import MAX_NAME_LENGTH
from spoke.core.serializers import (
    BoundedListField,
    PageQuerySerializer,
    StrictQuerySerializer,
    StrictSerializer,
)

MAX_DESCRIPTION_LENGTH = 2_000


def name_field(**kwargs: Any) -> serializers.RegexField:
    return serializers.RegexField(
        r"^[a-z][a-z0-9_-]*\Z",
        max_length=MAX_NAME_LENGTH,
        help_text="Lower-case letters, digits, _ and -; starts with a letter; never changes.",
        error_messages={
            "invalid": "Use lower-case letters, digits, _ and -, and start with a letter."
        },
        **kwargs,
    )


def description_field() -> serializers.CharField:
    return serializers.CharField(
        required=False, allow_blank=True, max_length=MAX_DESCRIPTION_LENGTH
    )


def policy_field() -> serializers.ChoiceField:
    return serializers.ChoiceField(
        choices=BreakingPolicy.values,
        required=False,
        help_text="What a push does that breaks the release before: nothing, tell (the default), or"
        " refuse it unless the major number rises.",
    )


def compared_field() -> serializers.CharField:
    return serializers.CharField(
        allow_null=True,
        help_text="The newest release before it, or else pre-release; null: there is none, or the"
        " module compares nothing.",
    )


class ModuleSerializer(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    name = serializers.CharField()
    description = serializers.CharField()
    is_public = serializers.BooleanField()
    breaking_policy = serializers.ChoiceField(choices=BreakingPolicy.values)
    versions_count = serializers.IntegerField()
    latest_version = serializers.CharField(
        allow_null=True,
        help_text="The newest release, or else the newest pre-release; yanked ones are none.",
    )
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()


class NewModuleSerializer(StrictSerializer):
    name = name_field()
    description = description_field()
    is_public = serializers.BooleanField(required=False)
    breaking_policy = policy_field()


class ModuleChangeSerializer(StrictSerializer):
    name = name_field(required=False)
    description = description_field()
    is_public = serializers.BooleanField(required=False)
    breaking_policy = policy_field()


class ModuleQuerySerializer(PageQuerySerializer):
    search = serializers.CharField(
        required=False, max_length=100, help_text="Part of the name or the description."
    )
    is_public = serializers.BooleanField(required=False)


class VersionSerializer(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    version = serializers.CharField()
    is_prerelease = serializers.BooleanField()
    description = serializers.CharField()
    size_bytes = serializers.IntegerField(help_text="The sizes of its files together.")
    created_by_id = serializers.IntegerField(
        allow_null=True, help_text="The user who published it; null for a service token."
    )
    created_at = serializers.DateTimeField()
    yanked_at = serializers.DateTimeField(
        allow_null=True, help_text="Since when it is passed over; null: it is not."
    )
    yank_reason = serializers.CharField(allow_blank=True)


class VersionFileSerializer(serializers.Serializer[Any]):
    path = serializers.CharField()
    size_bytes = serializers.IntegerField(source="blob.size_bytes")
    sha256 = serializers.CharField(source="blob.digest")


class BreakingChangeSerializer(serializers.Serializer[Any]):
    rule = serializers.CharField()
    path = serializers.CharField(help_text="The file of the version compared with.")
    element = serializers.CharField(help_text="The full name of what changed.")
    message = serializers.CharField()


class VersionDetailSerializer(VersionSerializer):
    dependencies = serializers.ListField(
        child=serializers.CharField(), help_text="What it depends on directly."
    )
    files = VersionFileSerializer(many=True)


class PublishedVersionSerializer(VersionDetailSerializer):
    compared_with = compared_field()
    breaking_changes = BreakingChangeSerializer(many=True, help_text="What it breaks of that.")


class CheckedFileSerializer(serializers.Serializer[Any]):
    path = serializers.CharField()
    size_bytes = serializers.IntegerField()
    sha256 = serializers.CharField()


class CheckedVersionSerializer(serializers.Serializer[Any]):
    """What a dry run found: it would be published."""

    dry_run = serializers.BooleanField()
    version = serializers.CharField()
    size_bytes = serializers.IntegerField()
    dependencies = serializers.ListField(child=serializers.CharField())
    files = CheckedFileSerializer(many=True)
    compared_with = compared_field()
    breaking_changes = BreakingChangeSerializer(many=True)


class YankSerializer(StrictSerializer):
    reason = serializers.CharField(
        required=False, allow_blank=True, max_length=500, help_text="Shown to whoever names it."
    )


class PushQuerySerializer(StrictQuerySerializer):
    dry_run = serializers.BooleanField(
        required=False, help_text="Check everything, publish nothing; the answer is a 200."
    )


def _beside_an_archive() -> serializers.CharField:
    # PushSerializer judges it, with the files.
    return serializers.CharField(
        required=False,
        allow_blank=True,
        trim_whitespace=False,
        help_text="Only with an archive as the body, whose other fields stand in the query.",
    )


class ArchivePushQuerySerializer(PushQuerySerializer):
    version = _beside_an_archive()
    description = _beside_an_archive()
    dependency = serializers.ListField(
        child=serializers.CharField(allow_blank=True, trim_whitespace=False),
        required=False,
        help_text="Only with an archive as the body; any number of them.",
    )


class ArchiveQuerySerializer(StrictQuerySerializer):
    format = serializers.ChoiceField(choices=["tar.gz", "zip"], required=False)


class VersionQuerySerializer(PageQuerySerializer):
    is_prerelease = serializers.BooleanField(required=False)


@extend_schema_field(OpenApiTypes.STR)
class ContentField(serializers.Field[bytes, str, str, bytes]):
    """Text of a file, as bytes.

    No CharField: that looks for NUL and surrogates character by character, which takes seconds for a
    large push, and the parsers have refused them already.
    """

    default_error_messages = {
        "invalid": "Not a string.",
        "file_too_large": "A file has at most {limit} bytes.",
    }

    def to_internal_value(self, data: Any) -> bytes:
        if not isinstance(data, str):
            self.fail("invalid")
        content = data.encode("utf-8")
        if len(content) > MAX_FILE_BYTES:
            self.fail("file_too_large", limit=MAX_FILE_BYTES)
        return content

    def to_representation(self, value: bytes) -> str:
        return value.decode("utf-8")


class NewFilesSerializer(serializers.ListSerializer[Any]):
    """Counts the files before it looks at any."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, list) and len(data) > MAX_FILES:
            raise serializers.ValidationError(
                f"A version has at most {MAX_FILES} files.", code="too_many_files"
            )
        return super().to_internal_value(data)


class NewFileSerializer(StrictSerializer):
    path = serializers.CharField(
        trim_whitespace=False,
        help_text="Relative, segments separated by /; .proto, .md, .txt, .yaml, .yml, .json,"
        " LICENSE, NOTICE or buf.lock.",
    )
    content = ContentField(help_text="UTF-8 text of up to 4 MiB.")

    class Meta:
        list_serializer_class = NewFilesSerializer

    def validate_path(self, path: str) -> str:
        if problem := path_problem(path):
            raise serializers.ValidationError(problem.detail, code=problem.code)
        return path


class PushSerializer(StrictSerializer):
    version = serializers.CharField(help_text="A semantic version (semver.org), as 1.2.0.")
    description = description_field()
    dependencies = BoundedListField(
        child=serializers.CharField(max_length=300),
        required=False,
        max_length=MAX_DEPENDENCIES,
        help_text="Exact versions: common@1.2.0, or googleapis/common@1.0.0 of another organization.",
    )
    files = NewFileSerializer(many=True, help_text="1 to 1,000 files, at least one of them .proto.")

    def validate_dependencies(self, texts: list[str]) -> list[Any]:
        references = []
        for index, text in enumerate(texts):
            try:
                reference = parse_reference(text)
            except InvalidReference as exc:
                fault = serializers.ErrorDetail(str(exc), "invalid_dependency")
                raise serializers.ValidationError({str(index): [fault]}) from exc
            if reference in references:
                fault = serializers.ErrorDetail(f"{text} appears twice.", "duplicate_dependency")
                raise serializers.ValidationError({str(index): [fault]})
            references.append(reference)
        return references

    def validate_version(self, version: str) -> str:
        try:
            semver.parse(version)
        except semver.InvalidVersion as exc:
            raise serializers.ValidationError(str(exc), code="invalid_version") from exc
        return version

    def validate_files(self, pushed: list[dict[str, Any]]) -> list[dict[str, Any]]:
        paths = [file["path"] for file in pushed]
        if not has_proto(paths):
            raise serializers.ValidationError(
                "A version has at least one .proto file.", code="no_proto_file"
            )
        if problems := set_problems(paths):
            raise serializers.ValidationError(
                [
                    {"path": [serializers.ErrorDetail(p.detail, p.code)]} if p else {}
                    for p in map(problems.get, range(len(paths)))
                ]
            )
        return pushed

    def push(self) -> Push:
        """The validated version."""
        data = self.validated_data
        return Push(
            version=data["version"],
            description=data.get("description", ""),
            files=tuple(PushedFile(f["path"], f["content"]) for f in data["files"]),
            dependencies=tuple(data.get("dependencies", ())),
        )
