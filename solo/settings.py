"""What the one process is told: everything that its services are told, with defaults for a small machine."""

from typing import Literal

from pydantic import Field

from accounts.settings import AccountsSettings
from archive.settings import ArchiveSettings
from chat.settings import ChatSettings
from notify.settings import NotifySettings
from streaming.settings import StreamingSettings


class SoloSettings(  # type: ignore[misc]  # pydantic's mypy plugin keeps a constructor for each pass over a class
    AccountsSettings, StreamingSettings, NotifySettings, ChatSettings, ArchiveSettings
):
    """Settings of `python -m solo`."""

    bus_backend: Literal["kafka", "postgres"] = Field(
        default="postgres", description="What carries the events: the Postgres that is there anyway, or Kafka."
    )
    archive_object_store: Literal["s3", "disk"] = Field(
        default="disk", description="Where recordings are kept: a directory, or an S3 endpoint."
    )
    chat_emote_store: Literal["none", "disk", "s3"] = Field(
        default="disk", description="Where images of emotes are kept: a directory, an S3 endpoint, or nowhere."
    )
    jwks_url: str = Field(
        default="", description="Not asked: the process that signs access tokens has the keys at hand."
    )
    postgres_connections_max: int = Field(
        default=4, ge=1, le=20, description="Pooled connections to Postgres of each service in the process, at most."
    )
    accounts_password_workers: int = Field(
        default=1, ge=1, le=16, description="Passwords hashed at once; one leaves a core to everybody else."
    )
    archive_worker_jobs_at_once: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Jobs done at the same time; each is an encoder, and the machine has others.",
    )
    archive_transcode_while_live: bool = Field(
        default=False, description="Make renditions while the stream runs; the machine streams, too, so: afterwards."
    )
    archive_shipper_uploads_at_once: int = Field(
        default=4, ge=1, le=64, description="Segments stored at the same time, at most; there is one disk."
    )
