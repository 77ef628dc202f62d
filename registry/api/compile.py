"""/orgs/{org}/modules/{name}/versions/{version}/compile."""

from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.http import FileResponse
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from orgs.api.base import OrgScopedViewSet
from orgs.roles import Permission
from registry import artifacts
from registry.api.contents import AnyAccepted
from registry.api.examples import VERSION_PARAMETER
from registry.compiling import Options
from registry.models import CompileJob, Fault, JobStatus, Language
from registry.services import compile as jobs
from registry.tasks import run_compile_job
from spoke.core.enqueue import enqueue_on_commit
from spoke.core.schema import ProblemSerializer, problem_example
from spoke.core.serializers import PageQuerySerializer, StrictSerializer
from spoke.core.tags import answer_to_condition

JOB_EXAMPLE: dict[str, Any] = {
    "id": 4711,
    "status": "succeeded",
    "language": "python",
    "grpc": False,
    "include_dependencies": False,
    "module": "payments",
    "version": "1.2.0",
    "compiler": "protoc 36.2",
    "cached": False,
    "created_at": "2026-05-11T16:05:12Z",
    "started_at": "2026-05-11T16:05:12Z",
    "finished_at": "2026-05-11T16:05:13Z",
    "error": None,
    "log": "",
    "artifact": {
        "size_bytes": 2241,
        "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "files": 2,
        "url": "https://spoke.example/orgs/7/modules/payments/versions/1.2.0/compile/4711/artifact",
    },
}
QUEUED: dict[str, Any] = JOB_EXAMPLE | {
    "status": "queued",
    "started_at": None,
    "finished_at": None,
    "artifact": None,
}
FAILED: dict[str, Any] = JOB_EXAMPLE | {
    "status": "failed",
    "error": {
        "code": "compile_error",
        "detail": 'acme/payments/v1/refund.proto:3:8: "Missing" is not defined.',
        "fault": "user",
    },
    "log": 'acme/payments/v1/refund.proto:3:8: "Missing" is not defined.\n',
    "artifact": None,
}
CANCELED: dict[str, Any] = QUEUED | {
    "status": "canceled",
    "finished_at": "2026-05-11T16:05:13Z",
}


def example(name: str, value: dict[str, Any], *codes: str) -> OpenApiExample:
    return OpenApiExample(name, value=value, response_only=True, status_codes=list(codes) or None)


class NewJobSerializer(StrictSerializer):
    language = serializers.ChoiceField(
        choices=Language.choices, help_text="`python` has .pyi stubs; `kotlin` has its Java."
    )
    grpc = serializers.BooleanField(
        default=False, help_text="gRPC's clients and servers as well; for Python only."
    )
    include_dependencies = serializers.BooleanField(
        default=False, help_text="Generate the code of what the version depends on as well."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs["grpc"] and attrs["language"] != Language.PYTHON:
            raise serializers.ValidationError(
                {"grpc": ["gRPC code is generated for python only."]}, code="invalid"
            )
        return attrs


class JobQuerySerializer(PageQuerySerializer):
    status = serializers.ChoiceField(choices=JobStatus.choices, required=False)


class JobErrorSerializer(serializers.Serializer[Any]):
    code = serializers.CharField(source="error_code")
    detail = serializers.CharField(source="error_detail")
    fault = serializers.ChoiceField(
        source="error_fault",
        choices=Fault.choices,
        help_text="`service`: it is not counted and may be tried again.",
    )


class ArtifactSerializer(serializers.Serializer[Any]):
    size_bytes = serializers.IntegerField()
    sha256 = serializers.CharField()
    files = serializers.IntegerField()
    url = serializers.CharField()


class JobSerializer(serializers.Serializer[CompileJob]):
    """A compile job. `cached`: it cost nothing, since an equal one had been compiled."""

    id = serializers.IntegerField()
    status = serializers.ChoiceField(choices=JobStatus.choices)
    language = serializers.ChoiceField(choices=Language.choices)
    grpc = serializers.BooleanField()
    include_dependencies = serializers.BooleanField()
    module = serializers.CharField(source="version.module.name")
    version = serializers.CharField(source="version.version")
    compiler = serializers.CharField(help_text="With its version, as `protoc 36.2`.")
    cached = serializers.BooleanField()
    created_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)
    error = serializers.SerializerMethodField(help_text="null unless the job failed.")
    log = serializers.CharField(help_text="What the compiler printed, up to 64 KiB.")
    artifact = serializers.SerializerMethodField(
        help_text="null: there is none yet, or it was not used for too long."
    )

    @extend_schema_field(JobErrorSerializer(allow_null=True))
    def get_error(self, job: CompileJob) -> dict[str, Any] | None:
        return dict(JobErrorSerializer(job).data) if job.error_fault else None

    @extend_schema_field(ArtifactSerializer(allow_null=True))
    def get_artifact(self, job: CompileJob) -> dict[str, Any] | None:
        if job.artifact is None:
            return None
        return {
            "size_bytes": job.artifact.size_bytes,
            "sha256": job.artifact.sha256,
            "files": job.artifact.files,
            "url": f"{settings.SPOKE_BASE_URL}{path_of(job)}/artifact",
        }


def path_of(job: CompileJob) -> str:
    """Where a job is read."""
    version = job.version
    return (
        f"/orgs/{job.org_id}/modules/{version.module.name}"
        f"/versions/{version.version}/compile/{job.pk}"
    )


@extend_schema(tags=["compile"], parameters=[VERSION_PARAMETER])
class CompileViewSet(OrgScopedViewSet):
    """Code generated from a version."""

    queryset = CompileJob.objects.none()
    permissions = {
        "list": Permission.MODULES_READ,
        "create": Permission.MODULES_WRITE,
        "retrieve": Permission.MODULES_READ,
        "cancel": Permission.MODULES_WRITE,
    }
    queries = {"list": JobQuerySerializer}
    without_body = frozenset({"cancel"})

    @extend_schema(
        summary="List compile jobs",
        description="Of this version, newest first.",
        responses=JobSerializer(many=True),
        examples=[example("A job", JOB_EXAMPLE)],
    )
    def list(self, request: Request, org: str, name: str, version: str) -> Response:
        found = jobs.jobs_of(org_id=self.org.pk, module_name=name, version_name=version)
        return self.paged(found.filter(**self.query), JobSerializer)

    @extend_schema(
        summary="Compile a version",
        description="202 and a job, which counts as one compile job unless it fails by our fault or"
        " is canceled before it starts. 200 and a finished job that costs nothing where the same was"
        " compiled before. Poll the address in `Location` until the job is finished.",
        request=NewJobSerializer,
        responses={
            202: JobSerializer,
            200: JobSerializer,
            403: ProblemSerializer,
        },
        examples=[
            OpenApiExample(
                "Python with gRPC", value={"language": "python", "grpc": True}, request_only=True
            ),
            example("Queued", QUEUED, "202"),
            example("Compiled before", JOB_EXAMPLE | {"cached": True, "started_at": None}, "200"),
            problem_example(
                "Quota exceeded",
                status=403,
                code="quota_exceeded",
                detail="The limit is 100 compile jobs; 100 are in use.",
                error="quota_exceeded",
                resource="compile_jobs",
                current=100,
                limit=100,
                upgrade_url="https://spoke.example/orgs/7/subscription",
            ),
        ],
    )
    def create(self, request: Request, org: str, name: str, version: str) -> Response:
        data = self.valid(NewJobSerializer, request.data)
        options = Options(
            language=Language(data["language"]),
            grpc=data["grpc"],
            include_dependencies=data["include_dependencies"],
        )
        job = jobs.submit_job(
            org_id=self.org.pk,
            actor=self.context.actor,
            module_name=name,
            version_name=version,
            options=options,
            now=self.now,
        )
        if jobs.is_due(job=job, now=self.now):
            enqueue_on_commit(run_compile_job, self.org.pk, job.pk)
        status = HTTPStatus.OK if job.cached else HTTPStatus.ACCEPTED
        return Response(JobSerializer(job).data, status=status, headers={"Location": path_of(job)})

    @extend_schema(
        summary="Read a compile job",
        responses=JobSerializer,
        examples=[example("Succeeded", JOB_EXAMPLE), example("Failed", FAILED)],
    )
    def retrieve(
        self, request: Request, org: str, name: str, version: str, job_id: int
    ) -> Response:
        return Response(JobSerializer(self._find(name, version, job_id)).data)

    @extend_schema(
        summary="Cancel a compile job",
        description="At once. A job that had not started is not counted. 409 `job_finished` when it"
        " has succeeded or failed.",
        request=None,
        responses=JobSerializer,
        examples=[example("Canceled", CANCELED)],
    )
    def cancel(self, request: Request, org: str, name: str, version: str, job_id: int) -> Response:
        job = self._find(name, version, job_id)
        jobs.cancel_job(job=job, now=self.now)
        enqueue_on_commit(run_compile_job, self.org.pk, job.pk)
        return Response(JobSerializer(self._find(name, version, job_id)).data)

    def _find(self, name: str, version: str, job_id: int) -> CompileJob:
        return jobs.find_job(
            org_id=self.org.pk, module_name=name, version_name=version, job_id=job_id
        )


class ArtifactViewSet(OrgScopedViewSet):
    """What a compile job generated, as a zip archive."""

    content_negotiation_class = AnyAccepted
    permissions = {"retrieve": Permission.MODULES_READ}

    @extend_schema(
        summary="Download the generated code",
        description="The same version, options and compiler give the same bytes. The ETag is their"
        " SHA-256. 409 `artifact_not_ready` unless the job succeeded; 410 `artifact_expired` when"
        " the archive was not used for long.",
        tags=["compile"],
        parameters=[VERSION_PARAMETER],
        responses={(200, "application/zip"): OpenApiTypes.BINARY},
    )
    def retrieve(
        self, request: Request, org: str, name: str, version: str, job_id: int
    ) -> HttpResponseBase:
        job = jobs.find_job(
            org_id=self.org.pk, module_name=name, version_name=version, job_id=job_id
        )
        artifact = jobs.artifact_of(job)
        jobs.use_artifact_of(job=job, now=self.now)
        etag = f'"{artifact.sha256}"'
        # What is streamed, ConditionalGetMiddleware leaves alone.
        response: HttpResponseBase | None = answer_to_condition(request._request, etag)
        if response is None:
            response = FileResponse(
                artifacts.open_archive(self.org.pk, artifact.digest, artifact.sha256),
                as_attachment=True,
                filename=f"{name}-{job.version.version}-{job.language}.zip",
                content_type="application/zip",
            )
            response.headers["Content-Length"] = str(artifact.size_bytes)
            response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["ETag"] = etag
        return response
