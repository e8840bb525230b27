"""Settings of the ladder: which renditions a source may get, and what encodes them."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Self

from pydantic import Field, field_validator, model_validator

from archive.ladder.ladder import LadderStep
from archive.media.encoders import PRESETS, QUALITY_WORST, Encoder, EncoderName
from runtime.settings import ProcessSettings

STEPS_MAX = 8
LINES_MIN, LINES_MAX = 96, 4320
KBITS_MIN, KBITS_MAX = 50, 100_000

_STEP = re.compile(r"(\d{1,5})p=(\d{1,7})k", re.ASCII)


class LadderSettings(ProcessSettings):
    """What renditions there are, and how they are encoded."""

    archive_ladder: str = Field(
        default="1080p=6000k,720p=3500k,480p=1400k,360p=800k",
        description="The pictures below the source, largest first: lines of the shorter side and the most kilobits per "
        "second of each. Nothing is scaled up: a source gets the steps that are smaller than itself.",
    )
    archive_ladder_audio: bool = Field(
        default=True, description="Whether a recording can also be heard without its picture; the sound is copied."
    )
    archive_encoder: EncoderName = Field(
        default="x264",
        description="What encodes the renditions (H.264): x264 on the processor, or a device: nvenc (NVIDIA; needs an "
        "archive_worker_job_memory_bytes_max of 64 GiB or more, since CUDA reserves addresses), qsv (Intel), vaapi "
        "(Intel, AMD), v4l2m2m (boards). ffmpeg must have been built with it.",
    )
    archive_encoder_preset: str | None = Field(
        default=None,
        description="How much work the encoder does for fewer bits: ultrafast to veryslow with x264 (veryfast if "
        "empty), p1 to p7 with nvenc (p4), veryfast to veryslow with qsv (medium); the others have none.",
    )
    archive_encoder_quality: int = Field(
        default=23,
        ge=0,
        le=QUALITY_WORST,
        description="The picture's quality (crf of x264, cq of nvenc), lower is better; qsv, vaapi and v4l2m2m aim at "
        "three quarters of a step's bits per second instead.",
    )
    archive_encoder_device: str = Field(
        default="/dev/dri/renderD128",
        pattern=r"^/dev/[A-Za-z0-9/_-]+$",
        description="The render node that vaapi and qsv open.",
    )

    @field_validator("archive_ladder")
    @classmethod
    def _ladder_can_be_read(cls, text: str) -> str:
        parse_ladder(text)
        return text

    @model_validator(mode="after")
    def _preset_is_the_encoders(self) -> Self:
        presets = PRESETS[self.archive_encoder]
        if self.archive_encoder_preset is not None and self.archive_encoder_preset not in presets:
            allowed = f"one of {', '.join(presets)}" if presets else "empty"
            raise ValueError(f"archive_encoder_preset must be {allowed} with {self.archive_encoder}")
        return self

    @property
    def ladder(self) -> tuple[LadderStep, ...]:
        """The steps, largest first."""
        return parse_ladder(self.archive_ladder)

    @property
    def encoder(self) -> Encoder:
        """What encodes them."""
        return Encoder(
            self.archive_encoder,
            preset=self.archive_encoder_preset,
            quality=self.archive_encoder_quality,
            device=self.archive_encoder_device,
        )


def parse_ladder(text: str) -> tuple[LadderStep, ...]:
    """The steps in ``1080p=6000k,720p=3500k``; none in an empty text. Raises ValueError: the step and its limit."""
    steps = [_step(part.strip()) for part in text.split(",") if part.strip()]
    if len(steps) > STEPS_MAX:
        raise ValueError(f"{len(steps)} steps; at most {STEPS_MAX}")
    for larger, smaller in pairwise(steps):
        if smaller.lines >= larger.lines:
            raise ValueError(f"{smaller.name} after {larger.name}: the largest goes first, each once")
        if smaller.video_bits_per_second_max > larger.video_bits_per_second_max:
            raise ValueError(f"{smaller.name} has more bits per second than {larger.name}")
    return tuple(steps)


def _step(text: str) -> LadderStep:
    found = _STEP.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no step; write lines and kilobits per second: 720p=3500k")
    lines, kbits = int(found[1]), int(found[2])
    if not LINES_MIN <= lines <= LINES_MAX or lines % 2:
        raise ValueError(f"{text!r}: lines must be an even number from {LINES_MIN} to {LINES_MAX}")
    if not KBITS_MIN <= kbits <= KBITS_MAX:
        raise ValueError(f"{text!r}: kilobits per second must be from {KBITS_MIN} to {KBITS_MAX}")
    return LadderStep(f"{lines}p", lines=lines, video_bits_per_second_max=kbits * 1000)
