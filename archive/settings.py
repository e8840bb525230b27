"""Settings of the archive: one set for intake, shipper and worker, so that one environment serves all three."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator

from archive.clips.settings import ClipsSettings
from archive.downloads.settings import DownloadSettings
from archive.ladder.settings import LadderSettings
from archive.library.settings import LibrarySettings
from archive.pictures.settings import PictureSettings
from archive.retention.settings import RetentionSettings
from archive.shipping.settings import ShipperSettings
from eventbus.settings import BusSettings
from runtime.settings import HttpSettings, ProcessSettings, ReadSettings, RedisSettings, TokenSettings


class ObjectSettings(ProcessSettings):
    """Where recordings are kept."""

    archive_object_store: Literal["s3", "disk"] = Field(
        default="s3", description="Where recordings are kept: an S3 endpoint, or a directory."
    )
    archive_disk_directory: Path = Field(
        default=Path("/var/lib/livestream/recordings"), description="The directory of the object store on disk."
    )
    archive_disk_reserve_bytes: int = Field(
        default=512 << 20,
        ge=0,
        description="Free bytes that the object store on disk leaves to others (Postgres, live segments): it takes no "
        "object that would leave less.",
    )
    archive_s3_endpoint_url: str | None = Field(
        default=None, pattern=r"^https?://\S+$", description="The S3 endpoint; needed for the object store s3."
    )
    archive_s3_region: str = Field(default="us-east-1", min_length=1, description="The region that requests name.")
    archive_s3_bucket: str = Field(
        default="recordings",
        pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$",
        description="The bucket of the recordings; made if it is missing.",
    )
    archive_s3_access_key_id: SecretStr | None = Field(default=None, description="The S3 access key's id.")
    archive_s3_secret_access_key: SecretStr | None = Field(default=None, description="The S3 access key's secret.")
    archive_s3_public_read: bool = Field(
        default=True,
        description="Give the bucket a policy that lets anybody read objects by key, so that the edge can pass "
        "players through to it. Turn it off where something else decides who may read. Whoever reaches the endpoint "
        "can then read private recordings too: let only the edge and the archive reach it.",
    )
    archive_s3_cold_class: str | None = Field(
        default=None,
        pattern=r"^[A-Z][A-Z0-9_]{1,63}$",
        description="The storage class that old recordings are moved to. One that gives its objects at once, or what "
        "is moved there plays no more: STANDARD_IA or GLACIER_IR at Amazon, not GLACIER. None: they stay.",
    )


class ArchiveSettings(
    HttpSettings,
    RedisSettings,
    TokenSettings,
    ReadSettings,
    BusSettings,
    ObjectSettings,
    ClipsSettings,
    DownloadSettings,
    LadderSettings,
    LibrarySettings,
    PictureSettings,
    RetentionSettings,
    ShipperSettings,
):
    """What the archive's processes need to know."""

    archive_work_directory: Path = Field(
        default=Path("/var/lib/livestream/work"),
        description="Where pieces of media lie while they are probed and transcoded; emptied again.",
    )
    archive_abandoned_seconds: float = Field(
        default=21_600.0,
        ge=600,
        description="So long after its end a recording waits for a shipper that is silent. Then what has been shipped "
        "is published, and whatever else is on a dead media server's disk will not be in it.",
    )
    archive_playback_path: str = Field(
        default="/recordings",
        pattern=r"^(/[A-Za-z0-9._-]+)+$",
        description="The path on the public origin that leads to the recordings' objects.",
    )

    archive_chunk_seconds: float = Field(
        default=6.0, gt=0, le=60, description="How much of a recording one transcoding job takes, at least."
    )
    archive_transcode_while_live: bool = Field(
        default=True,
        description="Make renditions while the stream runs, so that all are there soon after its end. It takes "
        "processors while people watch live; ended recordings go first.",
    )
    archive_worker_jobs_at_once: int = Field(
        default=2, ge=1, le=64, description="Jobs that one worker does at the same time."
    )
    archive_worker_threads: int = Field(default=1, ge=1, le=64, description="Threads that one job's encoder uses.")
    archive_worker_nice: int = Field(
        default=19,
        ge=0,
        le=19,
        description="How far encoders stand back for everything else on the machine (nice); 19: for all of it.",
    )
    archive_worker_lease_seconds: float = Field(
        default=30.0, ge=1, le=600, description="After this a silent worker's job is given to another."
    )
    archive_worker_attempts_max: int = Field(
        default=4, ge=1, le=20, description="How often a job is tried before its rendition is given up."
    )
    archive_worker_job_seconds_max: float = Field(
        default=300.0, gt=0, le=3_600, description="After this a job's encoder is stopped."
    )
    archive_worker_job_memory_bytes_max: int = Field(
        default=4 << 30, ge=256 << 20, description="Address space of one job's encoder, at most."
    )

    @model_validator(mode="after")
    def _s3_is_complete(self) -> Self:
        needed = (self.archive_s3_endpoint_url, self.archive_s3_access_key_id, self.archive_s3_secret_access_key)
        if self.archive_object_store == "s3" and None in needed:
            raise ValueError(
                "the object store s3 needs archive_s3_endpoint_url, archive_s3_access_key_id and "
                "archive_s3_secret_access_key"
            )
        return self
