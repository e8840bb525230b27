"""A look at a source: what stood still is looked at again, and what says nothing again and again is refused."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from archive.errors import MediaRefused, ProcessTimedOut
from archive.ladder.ladder import SourceSegment
from archive.media.process import Finished, Limits, ProcessRunner
from archive.objects.keys import SEGMENT, source_segment_key
from archive.publishing.source_probe import LOOKS_AGAIN_MAX, SourceProbe
from runtime.ids import uuid7
from runtime.objects_disk import DiskObjects

SOUND = {"codec_type": "audio", "codec_name": "aac", "start_time": "1.4", "duration": "2.0"}
TOLD = json.dumps({"streams": [SOUND], "format": {"start_time": "1.4", "duration": "2.0"}}).encode()
STREAM = uuid7()


class SlowRunner(ProcessRunner):
    """Its first children stand still for too long."""

    def __init__(self, stand_still: int) -> None:
        super().__init__(without_network=False)
        self.runs, self._stand_still = 0, stand_still

    async def run(
        self, argv: Sequence[str], limits: Limits, *, on_output: Callable[[bytes], None] | None = None
    ) -> Finished:
        self.runs += 1
        if self.runs <= self._stand_still:
            raise ProcessTimedOut(argv[0], f"took longer than {limits.time_seconds} s", "")
        return Finished(TOLD, "", 0.1)


async def source(directory: Path, runner: SlowRunner) -> SourceProbe:
    """Of a recording of one segment."""
    (directory / "objects").mkdir()
    objects = DiskObjects(directory / "objects")
    await objects.put_bytes(source_segment_key(STREAM, 0), b"G", SEGMENT)
    return SourceProbe(objects, runner, directory)


ONE = [SourceSegment(0, 2_000, 1, discontinuity=False)]


async def test_a_machine_that_stood_still_says_nothing_of_the_media(tmp_path: Path) -> None:
    runner = SlowRunner(LOOKS_AGAIN_MAX)
    assert (await (await source(tmp_path, runner)).look(STREAM, ONE)).has_audio
    assert runner.runs == LOOKS_AGAIN_MAX + 1


async def test_media_on_which_every_look_hangs_are_refused(tmp_path: Path) -> None:
    runner = SlowRunner(1_000)
    with pytest.raises(MediaRefused, match="took longer"):
        await (await source(tmp_path, runner)).look(STREAM, ONE)
    assert runner.runs == LOOKS_AGAIN_MAX + 1
