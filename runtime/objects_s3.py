"""The object store behind any S3 endpoint; boto3 blocks, so it works in a bounded thread pool of its own."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, TypeVar, cast

import boto3
import botocore.session
import structlog
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.utils import parse_timestamp
from pydantic import SecretStr

from runtime.objects import (
    EVERYTHING,
    ObjectKind,
    ObjectMissing,
    ObjectTooLarge,
    StoredObject,
    StoreUnavailable,
    checked_key,
    checked_prefix,
    folder_of,
    is_key,
)

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client
    from types_boto3_s3.literals import StorageClassType
    from types_boto3_s3.type_defs import ListObjectsV2OutputTypeDef, MultipartUploadTypeDef

log = structlog.get_logger(__name__)
T = TypeVar("T")

COPY_BYTES = 1 << 20
# A larger object goes up in parts, so that no request takes long and none repeats much. One part is held in memory;
# s3transfer makes parts larger where there would be more than 10,000, and aborts the upload when one of them fails.
PARTS_ABOVE_BYTES = 64 << 20
PARTS = TransferConfig(multipart_threshold=PARTS_ABOVE_BYTES, multipart_chunksize=16 << 20, use_threads=False)
UPLOADS_PAGE_MAX = 1_000
# What every store gives at once, at most.
LIST_PAGE_OBJECTS = 1_000
PAGES_AT_ONCE = 6
_MD5 = re.compile(r"[0-9a-f]{32}", re.ASCII)
_MISSING = frozenset({"404", "NoSuchKey", "NotFound"})


@dataclass(frozen=True, slots=True)
class S3Place:
    """Where the bucket is and how patient we are with it."""

    endpoint_url: str
    bucket: str
    access_key_id: SecretStr
    secret_access_key: SecretStr
    region: str = "us-east-1"
    connect_timeout_seconds: float = 3.0
    read_timeout_seconds: float = 15.0
    attempts_max: int = 2
    threads_max: int = 16


class S3Objects:
    """Objects in one bucket. Entering waits for nothing: it makes the bucket if it is not there, or raises."""

    def __init__(self, place: S3Place, *, public_read: bool, cold_class: str | None = None) -> None:
        self._bucket = place.bucket
        self._public_read = public_read
        # boto3 names those of Amazon; other stores may have others.
        self._cold_class = cast("StorageClassType | None", cold_class)
        self._client = _client(place)
        self._threads = ThreadPoolExecutor(place.threads_max, thread_name_prefix="objects-s3")

    async def __aenter__(self) -> S3Objects:
        await self._call("prepare bucket", self._prepare)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    async def put_bytes(self, key: str, body: bytes, kind: ObjectKind) -> StoredObject:
        """See the port."""
        checked_key(key)

        def put() -> StoredObject:
            answer = self._client.put_object(
                Bucket=self._bucket,
                Key=key,
                Body=body,
                ContentType=kind.content_type,
                CacheControl=kind.cache_control,
            )
            return _stored(key, len(body), answer.get("ETag"))

        return await self._call(f"put {key}", put)

    async def put_file(self, key: str, path: Path, kind: ObjectKind) -> StoredObject:
        """See the port."""
        checked_key(key)

        def put() -> StoredObject:
            with path.open("rb") as body:
                if os.fstat(body.fileno()).st_size > PARTS_ABOVE_BYTES:
                    return self._put_parts(key, body, kind)
                answer = self._client.put_object(
                    Bucket=self._bucket,
                    Key=key,
                    Body=body,
                    ContentType=kind.content_type,
                    CacheControl=kind.cache_control,
                )
                return _stored(key, body.tell(), answer.get("ETag"))

        return await self._call(f"put {key}", put)

    def _put_parts(self, key: str, body: BinaryIO, kind: ObjectKind) -> StoredObject:
        self._client.upload_fileobj(
            body,
            self._bucket,
            key,
            ExtraArgs={"ContentType": kind.content_type, "CacheControl": kind.cache_control},
            Config=PARTS,
        )
        return self._head(key)

    async def copy(self, source_key: str, target_key: str, kind: ObjectKind) -> StoredObject:
        """See the port."""
        checked_key(source_key)
        checked_key(target_key)
        return await self._existing(source_key, lambda: self._copy(source_key, target_key, kind, None))

    async def cool(self, key: str) -> bool:
        """See the port: the class is the settings'."""
        checked_key(key)
        cold = self._cold_class

        def cool() -> bool:
            answer = self._client.head_object(Bucket=self._bucket, Key=key)
            if cold is not None and answer.get("StorageClass") != cold:
                # S3 changes the class of an object by copying it onto itself.
                kind = ObjectKind(answer["ContentType"], answer.get("CacheControl", ""))
                self._copy(key, key, kind, cold)
            return cold is not None

        return await self._existing(key, cool)

    def _copy(self, source: str, target: str, kind: ObjectKind, storage_class: StorageClassType | None) -> StoredObject:
        client, bucket = self._client, self._bucket
        size_bytes = client.head_object(Bucket=bucket, Key=source)["ContentLength"]
        if size_bytes > PARTS_ABOVE_BYTES:
            arguments = {"ContentType": kind.content_type, "CacheControl": kind.cache_control}
            if storage_class is not None:
                arguments["StorageClass"] = storage_class
            client.copy({"Bucket": bucket, "Key": source}, bucket, target, ExtraArgs=arguments, Config=PARTS)
            return self._head(target)
        answer = client.copy_object(
            Bucket=bucket,
            Key=target,
            CopySource={"Bucket": bucket, "Key": source},
            MetadataDirective="REPLACE",
            ContentType=kind.content_type,
            CacheControl=kind.cache_control,
            StorageClass=storage_class or "STANDARD",
        )
        return _stored(target, size_bytes, answer["CopyObjectResult"].get("ETag"))

    async def get_bytes(self, key: str, *, bytes_max: int) -> bytes:
        """See the port."""
        checked_key(key)

        def get() -> bytes:
            body = self._client.get_object(Bucket=self._bucket, Key=key)["Body"]
            with closing(body):
                return body.read(bytes_max + 1)

        read = await self._existing(key, get)
        if len(read) > bytes_max:
            raise ObjectTooLarge(key, bytes_max)
        return read

    async def get_file(self, key: str, path: Path) -> int:
        """See the port."""
        checked_key(key)

        def get() -> int:
            answer = self._client.get_object(Bucket=self._bucket, Key=key)
            # Its own "with" would give the bare connection, which does not notice an answer that is cut short.
            with closing(answer["Body"]) as body, path.open("wb") as file:
                for piece in body.iter_chunks(COPY_BYTES):
                    file.write(piece)
            return answer["ContentLength"]

        return await self._existing(key, get)

    async def head(self, key: str) -> StoredObject | None:
        """See the port."""
        checked_key(key)
        try:
            return await self._existing(key, lambda: self._head(key))
        except ObjectMissing:
            return None

    def _head(self, key: str) -> StoredObject:
        answer = self._client.head_object(Bucket=self._bucket, Key=key)
        return _stored(key, answer["ContentLength"], answer.get("ETag"), answer.get("LastModified"))

    async def list(self, prefix: str = EVERYTHING, *, after: str = "") -> AsyncIterator[StoredObject]:
        """See the port."""
        checked_prefix(prefix)
        page = await self._call(f"list {prefix}", partial(self._page, prefix, None, after))
        while True:
            for entry in page.get("Contents", []):
                if is_key(entry["Key"]):
                    yield _stored(entry["Key"], entry["Size"], entry.get("ETag"), entry.get("LastModified"))
            token = page.get("NextContinuationToken")
            if not token:
                return
            page = await self._call(f"list {prefix}", partial(self._page, prefix, token, after))

    def _page(self, prefix: str, token: str | None, after: str) -> ListObjectsV2OutputTypeDef:
        if token is None:
            return self._client.list_objects_v2(Bucket=self._bucket, Prefix=prefix, StartAfter=after)
        return self._client.list_objects_v2(Bucket=self._bucket, Prefix=prefix, ContinuationToken=token)

    async def sizes(self, keys: Collection[str]) -> dict[str, int]:
        """See the port. The keys are known, so the pages of a listing need not wait for each other."""
        if not keys:
            return {}
        folder, ordered = folder_of(keys), sorted(keys)
        runs = [ordered[at : at + LIST_PAGE_OBJECTS] for at in range(0, len(ordered), LIST_PAGE_OBJECTS)]
        befores = ["", *(run[-1] for run in runs[:-1])]
        slots = asyncio.Semaphore(PAGES_AT_ONCE)

        async def look(before: str, last: str) -> dict[str, int]:
            async with slots:
                return await self._call(f"list {folder}", partial(self._sizes_between, folder, before, last))

        looks = [look(before, run[-1]) for before, run in zip(befores, runs, strict=True)]
        found = {key: size_bytes for sizes in await asyncio.gather(*looks) for key, size_bytes in sizes.items()}
        return {key: found[key] for key in ordered if key in found}

    def _sizes_between(self, folder: str, before: str, last: str) -> dict[str, int]:
        """Of all objects in a folder after ``before`` up to ``last``."""
        sizes: dict[str, int] = {}
        while before < last:
            page = self._client.list_objects_v2(Bucket=self._bucket, Prefix=folder, StartAfter=before)
            entries = page.get("Contents", [])
            sizes |= {entry["Key"]: entry["Size"] for entry in entries}
            if not entries or not page.get("IsTruncated"):
                return sizes
            before = entries[-1]["Key"]
        return sizes

    async def delete(self, key: str) -> None:
        """See the port."""
        checked_key(key)
        await self._call(f"delete {key}", lambda: self._client.delete_object(Bucket=self._bucket, Key=key))

    async def sweep_unfinished(self, older_than: timedelta, *, dry_run: bool) -> int:
        """See the port: uploads in parts."""
        before, swept = datetime.now(UTC) - older_than, 0
        key_marker, upload_marker = "", ""
        while True:
            page = await self._call(
                "list unfinished uploads",
                partial(
                    self._client.list_multipart_uploads,
                    Bucket=self._bucket,
                    KeyMarker=key_marker,
                    UploadIdMarker=upload_marker,
                    MaxUploads=UPLOADS_PAGE_MAX,
                ),
            )
            for upload in page.get("Uploads", []):
                if upload["Initiated"] < before:
                    swept += 1
                    if not dry_run:
                        await self._abort(upload)
            if not page.get("IsTruncated"):
                return swept
            key_marker, upload_marker = page["NextKeyMarker"], page["NextUploadIdMarker"]

    async def _abort(self, upload: MultipartUploadTypeDef) -> None:
        key, upload_id = upload["Key"], upload["UploadId"]

        def abort() -> None:
            try:
                self._client.abort_multipart_upload(Bucket=self._bucket, Key=key, UploadId=upload_id)
            except ClientError as error:
                # Finished or aborted in between.
                if _code(error) != "NoSuchUpload":
                    raise

        await self._call(f"abort upload of {key}", abort)

    async def check(self) -> None:
        """See the port."""
        await self._call("check bucket", lambda: self._client.head_bucket(Bucket=self._bucket))

    def _prepare(self) -> None:
        try:
            self._client.head_bucket(Bucket=self._bucket)
        except ClientError as error:
            if _code(error) not in _MISSING | {"NoSuchBucket"}:
                raise
            self._create_bucket()
        if self._public_read:
            self._client.put_bucket_policy(Bucket=self._bucket, Policy=public_read_policy(self._bucket))

    def _create_bucket(self) -> None:
        try:
            self._client.create_bucket(Bucket=self._bucket)
        except ClientError as error:
            # Another process of ours made it in between.
            if _code(error) not in {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}:
                raise
        else:
            log.info("bucket_created", bucket=self._bucket)

    async def _existing(self, key: str, work: Callable[[], T]) -> T:
        try:
            return await self._call(f"get {key}", work)
        except StoreUnavailable as unavailable:
            if isinstance(unavailable.__cause__, ClientError) and _code(unavailable.__cause__) in _MISSING:
                raise ObjectMissing(key) from unavailable.__cause__
            raise

    async def _call(self, action: str, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except (BotoCoreError, ClientError) as error:
            raise StoreUnavailable(action, str(error)) from error


def public_read_policy(bucket: str) -> str:
    """A bucket policy that lets anybody read objects by their key, and nothing else (no listing)."""
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": ["*"]},
        "Action": ["s3:GetObject"],
        "Resource": [f"arn:aws:s3:::{bucket}/*"],
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def _client(place: S3Place) -> S3Client:
    config = Config(
        connect_timeout=place.connect_timeout_seconds,
        read_timeout=place.read_timeout_seconds,
        retries={"mode": "standard", "total_max_attempts": place.attempts_max},
        max_pool_connections=place.threads_max,
        # Not every store that speaks S3 knows the newer checksum trailers.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        # One host name for all buckets: a local store has no wildcard name.
        s3={"addressing_style": "path"},
    )
    # A session of its own: boto3's default session is shared and not safe to build clients from in threads.
    session = botocore.session.get_session()
    # Nearly all of the time that reading a page of a listing takes goes into guessing how its times are written.
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_time_told)
    return boto3.session.Session(botocore_session=session).client(
        "s3",
        endpoint_url=place.endpoint_url,
        region_name=place.region,
        aws_access_key_id=place.access_key_id.get_secret_value(),
        aws_secret_access_key=place.secret_access_key.get_secret_value(),
        config=config,
    )


def _stored(key: str, size_bytes: int, etag: str | None, modified_at: datetime | None = None) -> StoredObject:
    """An ETag of 32 hex digits is the MD5 of what was put in one piece and not encrypted by a key service.

    Others (of multipart uploads, say) have another form; whoever compares must take a difference for "not known".
    """
    tag = (etag or "").strip('"')
    md5 = tag if _MD5.fullmatch(tag) else None
    return StoredObject(key, size_bytes, version=tag or None, md5=md5, modified_at=modified_at)


def _time_told(value: str) -> datetime:
    """A time in an answer: ISO 8601 in listings, other forms elsewhere."""
    if value[:1].isdigit():
        with suppress(ValueError):
            return datetime.fromisoformat(value)
    return parse_timestamp(value)


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
