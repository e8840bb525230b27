"""Settings of emotes: where their images are kept, and how many a channel may have."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator

from runtime.settings import ProcessSettings


class EmoteSettings(ProcessSettings):
    """Where images of emotes are kept: beside the recordings if need be, but never among them."""

    chat_emote_store: Literal["none", "disk", "s3"] = Field(
        default="none",
        description="Where images of emotes are kept: a directory that all gateways see, an S3 endpoint, or nowhere; "
        "then there are no emotes.",
    )
    chat_emote_directory: Path = Field(
        default=Path("/var/lib/livestream/emotes"), description="The directory of the store on disk."
    )
    chat_emote_disk_reserve_bytes: int = Field(
        default=512 << 20, ge=0, description="Free bytes that the store on disk leaves to others."
    )
    chat_emote_s3_endpoint_url: str | None = Field(
        default=None, pattern=r"^https?://\S+$", description="The S3 endpoint; needed for the store s3."
    )
    chat_emote_s3_region: str = Field(default="us-east-1", min_length=1, description="The region that requests name.")
    chat_emote_s3_bucket: str = Field(
        default="emotes",
        pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$",
        description="The bucket of the images, which is nothing else's; made if it is missing.",
    )
    chat_emote_s3_access_key_id: SecretStr | None = Field(default=None, description="The S3 access key's id.")
    chat_emote_s3_secret_access_key: SecretStr | None = Field(default=None, description="The S3 access key's secret.")
    chat_emotes_max: int = Field(default=200, ge=0, le=1_000, description="Emotes of one channel.")

    @model_validator(mode="after")
    def _emote_s3_is_complete(self) -> Self:
        needed = (
            self.chat_emote_s3_endpoint_url,
            self.chat_emote_s3_access_key_id,
            self.chat_emote_s3_secret_access_key,
        )
        if self.chat_emote_store == "s3" and None in needed:
            raise ValueError(
                "the emote store s3 needs chat_emote_s3_endpoint_url, chat_emote_s3_access_key_id and "
                "chat_emote_s3_secret_access_key"
            )
        return self
