"""Hostile media ends as failed with a reason, quickly; nothing outside is read, and good media beside it plays."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest

from archive.errors import MediaRefused, ProcessError
from archive.ladder.ladder import Rendition
from archive.ladder.settings import parse_ladder
from archive.media.ffmpeg import rendition_arguments
from archive.media.probe import PROBE_LIMITS, probe
from archive.media.process import ProcessRunner, ProgressReader
from tests.integration.archive.clips import Clip, make_clip, pictures_of
from tests.integration.archive.hostile import Outside, hostile_files
from tests.integration.archive.house import House, running
from tests.integration.archive.media_server import MediaServerDisk

pytestmark = pytest.mark.heavy  # seconds are counted, and encoders are at work

NAMES = ("playlist", "concat script", "data URI", "endless playlist", "truncated", "giant", "beyond giant")
SMALL = Rendition("360p", width_px=640, height_px=360, video_bits_per_second_max=800_000)
# What one look at a file may take, on a machine that does other things too.
SECONDS_MAX = 8.0


@dataclass(frozen=True)
class World:
    """The hostile files, what they reach for, and good segments that deserve one rendition."""

    files: dict[str, bytes]
    good: Clip
    server: socket.socket

    def nobody_asked(self) -> bool:
        """Whether nobody has tried to connect to the server that the files name."""
        try:
            self.server.accept()
        except BlockingIOError:
            return True
        return False


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("hostile")
    good = make_clip(directory / "good", size="644x364", rate=15)
    secret = directory / "secret.ts"
    secret.write_bytes(good.segments[0])
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        files = hostile_files(Outside(secret, server.getsockname()[1]), good.segments[0], directory)
        assert tuple(files) == NAMES
        yield World(files, good, server)


async def test_looking_at_one_ends_with_a_reason(world: World, tmp_path: Path) -> None:
    """Whatever its name promises, and even with the network that a child usually does not have."""
    file = tmp_path / "0.flv"
    for name, body in world.files.items():
        await asyncio.to_thread(file.write_bytes, body)
        started = time.monotonic()
        with pytest.raises((MediaRefused, ProcessError)) as refused:
            await probe(ProcessRunner(without_network=False), file)
        assert time.monotonic() - started < SECONDS_MAX, name
        assert len(str(refused.value)) > 10, name
    assert world.nobody_asked()


async def test_an_encoder_makes_nothing_of_one(world: World, tmp_path: Path) -> None:
    """Even if nobody looked at it first."""
    file = tmp_path / "0.ts"
    argv = rendition_arguments(file, [(SMALL, tmp_path / "made.ts")], threads=1)
    for name, body in world.files.items():
        await asyncio.to_thread(file.write_bytes, body)
        progress, started = ProgressReader(), time.monotonic()
        with pytest.raises(ProcessError) as failed:
            await ProcessRunner(without_network=False).run(argv, PROBE_LIMITS, on_output=progress)
        assert time.monotonic() - started < SECONDS_MAX, name
        assert failed.value.stderr_tail, name
        assert not progress.latest.frames, name
    assert world.nobody_asked()


async def stream_of(house: House, *segments: bytes) -> UUID:
    stream_id = await house.started()
    disk = MediaServerDisk(house.hls, stream_id)
    for segment in segments:
        disk.close(segment, 2000)
    await house.ended(stream_id)
    return stream_id


async def test_a_stream_of_nothing_else_fails_and_says_why(house: House, world: World) -> None:
    async with running(house.shipper(), house.finaliser(), house.worker(), house.planner(), house.completion()):
        streams = {name: await stream_of(house, body, body) for name, body in world.files.items()}
        started = time.monotonic()
        failed = {name: await house.until_status(stream_id, "failed") for name, stream_id in streams.items()}
        # Seven of them, of which three are looked at at once.
        assert time.monotonic() - started < 3 * SECONDS_MAX
    for name, recording in failed.items():
        assert recording.failure is not None, name
        assert recording.failure.startswith("its media cannot be used: "), name
        assert recording.published_at is None
    assert "the picture is 15360x15360" in str(failed["giant"].failure)
    assert "the picture is 16384x16384" in str(failed["beyond giant"].failure)
    assert "ends before its first picture" in str(failed["truncated"].failure)
    assert world.nobody_asked()


async def test_one_in_the_middle_of_a_stream_costs_its_own_chunk_at_worst(
    house: House, world: World, tmp_path: Path
) -> None:
    segments = world.good.segments
    streams = {
        name: await stream_of(house, segments[0], segments[1], body, segments[3]) for name, body in world.files.items()
    }
    planner = house.planner(ladder=parse_ladder("360p=800k"))
    async with running(house.shipper(), house.finaliser(), planner, house.worker(attempts_max=1), house.completion()):
        for name, stream_id in streams.items():
            done = await house.until_status(stream_id, "completed", "failed", seconds=90)
            assert list(done.renditions) == ["source", "360p"], (name, done.failure)
    expected = await decoded(tmp_path, *segments[:2])
    for stream_id in streams.values():
        assert len(await house.pieces(f"{stream_id}/source/index.m3u8")) == 4
        first, *_ = await house.pieces(f"{stream_id}/360p/index.m3u8")
        assert (await decoded(tmp_path, await house.objects.get_bytes(first, bytes_max=1 << 24))) == expected
    assert world.nobody_asked()


async def test_sound_that_is_declared_and_never_comes_costs_no_worker_its_life(house: House, tmp_path: Path) -> None:
    """As nginx-rtmp writes a stream without sound; of so small a picture nothing but the sound is planned."""
    clip = make_clip(tmp_path / "small", size="160x90", rate=15, seconds=4)
    soundless = [without_sound(segment) for segment in clip.segments]
    planner = house.planner(with_sound=True)
    async with running(house.shipper(), house.finaliser(), planner, house.worker(), house.completion()):
        stream_id = await stream_of(house, *soundless)
        recording = await house.until_status(stream_id, "completed", "failed")
    assert (recording.status, recording.failure, list(recording.renditions)) == ("completed", None, ["source"])


def without_sound(segment: bytes) -> bytes:
    """The tables stay; ffmpeg gives the second stream the packet id 0x101."""
    packets = [segment[at : at + 188] for at in range(0, len(segment), 188)]
    return b"".join(packet for packet in packets if int.from_bytes(packet[1:3], "big") & 0x1FFF != 0x101)


async def decoded(directory: Path, *bodies: bytes) -> list[int]:
    file = directory / "decoded.ts"
    await asyncio.to_thread(file.write_bytes, b"".join(bodies))
    return (await asyncio.to_thread(pictures_of, file)).times
