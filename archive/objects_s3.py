"""The object store behind any S3 endpoint; boto3 blocks, so it works in a bounded thread pool of its own."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

import boto3
import structlog
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import SecretStr

from archive.errors import ObjectMissing, ObjectTooLarge, StoreUnavailable
from archive.objects import EVERYTHING, ObjectKind, StoredObject, checked_key, checked_prefix, is_key

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client
    from types_boto3_s3.type_defs import ListObjectsV2OutputTypeDef

log = structlog.get_logger(__name__)
T = TypeVar("T")

COPY_BYTES = 1 << 20
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

    def __init__(self, place: S3Place, *, public_read: bool) -> None:
        self._bucket = place.bucket
        self._public_read = public_read
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

    async def put_bytes(self, key: str, body: bytes, kind: ObjectKind) -> None:
        """See the port."""
        checked_key(key)
        await self._call(
            f"put {key}",
            lambda: self._client.put_object(
                Bucket=self._bucket,
                Key=key,
                Body=body,
                ContentType=kind.content_type,
                CacheControl=kind.cache_control,
            ),
        )

    async def put_file(self, key: str, path: Path, kind: ObjectKind) -> None:
        """See the port."""
        checked_key(key)

        def put() -> None:
            with path.open("rb") as body:
                self._client.put_object(
                    Bucket=self._bucket,
                    Key=key,
                    Body=body,
                    ContentType=kind.content_type,
                    CacheControl=kind.cache_control,
                )

        await self._call(f"put {key}", put)

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
            answer = await self._existing(key, lambda: self._client.head_object(Bucket=self._bucket, Key=key))
        except ObjectMissing:
            return None
        return _stored(key, answer["ContentLength"], answer.get("ETag"))

    async def list(self, prefix: str = EVERYTHING) -> AsyncIterator[StoredObject]:
        """See the port."""
        checked_prefix(prefix)
        page = await self._call(f"list {prefix}", partial(self._page, prefix, None))
        while True:
            for entry in page.get("Contents", []):
                if is_key(entry["Key"]):
                    yield _stored(entry["Key"], entry["Size"], entry.get("ETag"))
            token = page.get("NextContinuationToken")
            if not token:
                return
            page = await self._call(f"list {prefix}", partial(self._page, prefix, token))

    def _page(self, prefix: str, token: str | None) -> ListObjectsV2OutputTypeDef:
        if token is None:
            return self._client.list_objects_v2(Bucket=self._bucket, Prefix=prefix)
        return self._client.list_objects_v2(Bucket=self._bucket, Prefix=prefix, ContinuationToken=token)

    async def delete(self, key: str) -> None:
        """See the port."""
        checked_key(key)
        await self._call(f"delete {key}", lambda: self._client.delete_object(Bucket=self._bucket, Key=key))

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
    return boto3.session.Session().client(
        "s3",
        endpoint_url=place.endpoint_url,
        region_name=place.region,
        aws_access_key_id=place.access_key_id.get_secret_value(),
        aws_secret_access_key=place.secret_access_key.get_secret_value(),
        config=config,
    )


def _stored(key: str, size_bytes: int, etag: str | None) -> StoredObject:
    """An ETag of 32 hex digits is the MD5 of what was put in one piece and not encrypted by a key service.

    Others (of multipart uploads, say) have another form; whoever compares must take a difference for "not known".
    """
    tag = (etag or "").strip('"')
    return StoredObject(key, size_bytes, version=tag or None, md5=tag if _MD5.fullmatch(tag) else None)


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
