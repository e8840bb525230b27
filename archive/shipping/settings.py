"""Settings of the shipper: how eager it is, what may lie on the media server's disk, and who may hand it segments."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, model_validator

from runtime.settings import ProcessSettings


class ShipperSettings(ProcessSettings):
    """What ships segments beside the media server is told."""

    archive_hls_directory: Path = Field(
        default=Path("/var/lib/livestream/hls"),
        description="Where the media server writes its HLS directories (shipper).",
    )
    archive_shipper_poll_seconds: float = Field(
        default=0.5, gt=0, le=5, description="How often a running stream's playlist is read; well inside its window."
    )
    archive_shipper_uploads_at_once: int = Field(
        default=12, ge=1, le=64, description="Segments that one shipper uploads at the same time, at most."
    )
    archive_shipper_uploads_per_stream: int = Field(
        default=3, ge=1, le=64, description="The same of one stream, which has a backlog after an outage."
    )
    archive_shipper_directories_max: int = Field(
        default=2_000, ge=1, le=20_000, description="Streams that one shipper follows at the same time, at most."
    )
    archive_shipper_keep_seconds: float = Field(
        default=3_600.0,
        ge=0,
        description="How long local segments stay: while the stream runs since they were written, if the store has "
        "them and the live playlist does not name them; the rest since the recording plays from the store.",
    )
    archive_spool_bytes_max: int = Field(
        default=20 << 30,
        ge=64 << 20,
        description="What segments may take of the media server's disk. From 80 % of it copies of what the store has "
        "go early; if that is not enough the shipper is unready; at the bound the oldest segments are given up.",
    )
    archive_spool_reserve_bytes: int = Field(
        default=256 << 20,
        ge=0,
        description="Free bytes that segments leave on that disk; they count as the bound when it is reached earlier.",
    )
    archive_segment_hook_secret: SecretStr | None = Field(
        default=None,
        min_length=16,
        description="The secret in the address to which SRS and MediaMTX post their segments, "
        "/hooks/segments/{srs|mediamtx}/{secret}; without one there is no such address.",
    )
    archive_segment_hook_root: Path | None = Field(
        default=None, description="The directory below which SRS or MediaMTX write segments; others are refused."
    )
    archive_segment_hook_bytes_max: int = Field(
        default=64 << 20, ge=1 << 20, description="The largest segment that a hook may hand over."
    )

    @model_validator(mode="after")
    def _hooks_have_a_root(self) -> Self:
        if (self.archive_segment_hook_secret is None) != (self.archive_segment_hook_root is None):
            raise ValueError(
                "archive_segment_hook_secret and archive_segment_hook_root are set together, or not at all"
            )
        return self
