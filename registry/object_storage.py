"""File content in S3, or what speaks like it: chosen by STORAGE_S3_BUCKET, in place of a local folder.

Imported only where it is configured. `registry.storage` tells what it rests on; here a put replaces an
object whole, and what goes wrong is an OSError as with local files.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from django.core.files.base import File
from storages.backends.s3 import S3Storage


@contextmanager
def _as_os_errors() -> Iterator[None]:
    try:
        yield
    except (Boto3Error, BotoCoreError, ClientError) as exc:
        raise OSError(f"object storage: {exc}") from exc


class ObjectStorage(S3Storage):  # type: ignore[misc]
    """A bucket that keeps the names it is given, and answers failures as a file system does."""

    def __init__(self, *, bucket: str, endpoint: str = "", region: str = "") -> None:
        # Checksums by trailer are Amazon's alone; others speak S3 without them.
        config = Config(
            s3={"addressing_style": "path" if endpoint else "auto"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            connect_timeout=5,
            read_timeout=30,
            retries={"mode": "standard", "max_attempts": 3},
        )
        super().__init__(
            bucket_name=bucket,
            endpoint_url=endpoint or None,
            region_name=region or None,
            client_config=config,
            file_overwrite=True,
            default_acl=None,
            gzip=False,
        )

    def _save(self, name: str, content: "File[bytes]") -> str:
        with _as_os_errors():
            saved: str = super()._save(name, content)
        return saved

    def _open(self, name: str, mode: str = "rb") -> "File[bytes]":
        with _as_os_errors():
            file = super()._open(name, mode)
            file.file  # noqa: B018 - read here, where a failure is still told from an empty file
        opened: File[bytes] = file
        return opened

    def delete(self, name: str) -> None:
        with _as_os_errors():
            super().delete(name)

    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        with _as_os_errors():
            listed: tuple[list[str], list[str]] = super().listdir(path)
        return listed

    def get_modified_time(self, name: str) -> datetime:
        try:
            changed: datetime = super().get_modified_time(name)
        except ClientError as exc:
            if exc.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                raise FileNotFoundError(name) from exc
            raise OSError(f"object storage: {exc}") from exc
        return changed
