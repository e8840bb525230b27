"""Settings of downloads: who may ask for one, how large it may be, and how long it stays."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from runtime.settings import ProcessSettings

DownloadPolicy = Literal["off", "owner", "everybody"]


class DownloadSettings(ProcessSettings):
    """Recordings as one MP4 file, made when somebody asks."""

    archive_downloads: DownloadPolicy = Field(
        default="everybody",
        description="Who may have a recording made into one MP4 file: nobody (off), its owner, or everybody who may "
        "see it.",
    )
    archive_download_bytes_max: int = Field(
        default=32 << 30,
        ge=1 << 20,
        description="The largest download that is made: about 14 hours at 5 Mbit/s. The archive's worker needs as "
        "much room in archive_work_directory, and twice as much where the store is a disk.",
    )
    archive_download_keep_seconds: float = Field(
        default=7 * 86_400.0,
        ge=60,
        description="How long a download stays after it was made or last asked for; then it is removed, and made again "
        "when somebody asks.",
    )
