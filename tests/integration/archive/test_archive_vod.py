"""The whole of a recording in every rendition: each picture and each packet of sound of the source, at its own time."""

from __future__ import annotations

import asyncio
import random
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from archive.ladder.chunks import ChunkState
from archive.ladder.settings import parse_ladder
from tests.integration.archive.clips import Clip, Pictures, pictures_of, sound_of
from tests.integration.archive.house import House, durations_ms, running
from tests.integration.archive.media_server import MediaServerDisk
from tests.integration.archive.sources import make_source

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(180)]

TICKS = 90_000
LADDER = parse_ladder("240p=400k,144p=200k")
SOURCES: dict[str, dict[str, Any]] = {
    # 4:4:4 may have odd sizes.
    "29.97 a second, odd": {"rate": "30000/1001", "size": "487x271", "encoder": "-bf 2 -pix_fmt yuv444p"},
    "60 a second, mono": {"rate": "60", "sound": "-ac 1"},
    # 30 a second of which two in seven are not there; without B-frames.
    "variable rate, portrait": {
        "filters": "select='gt(mod(n*n+n\\,7)\\,1)+eq(n\\,0)'",
        "size": "270x480",
        "encoder": "-bf 0 -refs 1",
        "sound": "-ar 44100",
    },
    "without sound": {"sound": None},
}


@dataclass(frozen=True)
class Piece:
    """One segment of a rendition beside the same part of the source."""

    source: Path
    made: Path


async def stream(house: House, *takes: Clip, lost: tuple[int, ...] = ()) -> UUID:
    """A stream whose publisher comes back for each take; the files of some segments are gone before anybody came."""
    stream_id = await house.started()
    disk = MediaServerDisk(house.hls, stream_id)
    for take in takes:
        disk.reconnect()
        for body, duration_ms in zip(take.segments, take.durations_ms, strict=True):
            disk.close(body, duration_ms)
    for number in lost:
        (disk.directory / f"{number}.ts").unlink()
    await house.ended(stream_id)
    return stream_id


async def pieces(house: House, stream_id: UUID, rendition: str, directory: Path) -> list[Piece]:
    """Every chunk of a rendition, and the source's segments that it was made of."""
    folder = directory / f"{stream_id}-{rendition}"
    await asyncio.to_thread(folder.mkdir)
    keys = await house.pieces(f"{stream_id}/{rendition}/index.m3u8")
    chunks = await house.chunks(stream_id)
    assert len(keys) == len(chunks)
    return [await piece(house, stream_id, chunk, key, folder) for chunk, key in zip(chunks, keys, strict=True)]


async def piece(house: House, stream_id: UUID, chunk: ChunkState, key: str, folder: Path) -> Piece:
    numbers = range(chunk.first_sequence, chunk.last_sequence + 1)
    source = await house.fetched([f"{stream_id}/source/{n}.ts" for n in numbers], folder / f"{chunk.number}-source.ts")
    return Piece(source, await house.fetched([key], folder / f"{chunk.number}.ts"))


def everything(house: House) -> AbstractAsyncContextManager[None]:
    planner = house.planner(ladder=LADDER, with_sound=True)
    return running(house.shipper(), house.finaliser(), planner, house.worker(), house.completion())


def check_pictures(made: list[Pictures], source: list[Pictures]) -> None:
    """Frame by frame; a switching point at every key frame of the source, thus at each segment's start."""
    for before, after in zip(source, made, strict=True):
        assert after.times == before.times
        assert set(before.key_times) <= set(after.key_times)
        assert after.key_times[0] == after.times[0]
    steps = [after - before for one in made for before, after in pairwise(one.times)]
    for one, next_one in pairwise(made):
        # Over the border of two chunks as within them.
        assert min(steps) <= next_one.times[0] - one.times[-1] <= max(steps)


def check_sound(parts: list[Piece], made: list[Pictures], source: list[Pictures]) -> None:
    """Sound is where it was beside the picture, at the first and at every border; and it is the same sound."""
    for part, ours, theirs in zip(parts, made, source, strict=True):
        sound, original = sound_of(part.made), sound_of(part.source)
        moved = (sound[0][0] - ours.times[0]) - (original[0][0] - theirs.times[0])
        assert abs(moved) <= 0.040 * TICKS
        assert sound == original


def check_durations(made: list[Pictures], told: list[int]) -> None:
    for one, duration_ms in zip(made, told, strict=True):
        # The last picture stays for about as long as the one before it.
        lasts = (one.times[-1] - one.times[0] + one.times[-1] - one.times[-2]) / TICKS
        assert abs(lasts - duration_ms / 1000) <= 0.1


async def check_whole(house: House, stream_id: UUID, tmp_path: Path, *, with_sound: bool) -> None:
    """Everything that a recording of one take promises."""
    told_of_source = durations_ms(await house.text(f"{stream_id}/source/index.m3u8"))
    parts = {name: await pieces(house, stream_id, name, tmp_path) for name in ("240p", "144p")}
    made = {name: [pictures_of(part.made) for part in parts[name]] for name in parts}
    source = [pictures_of(part.source) for part in parts["240p"]]
    for name in parts:
        check_pictures(made[name], source)
        told = durations_ms(await house.text(f"{stream_id}/{name}/index.m3u8"))
        assert abs(sum(told) - sum(told_of_source)) <= 100
        check_durations(made[name], told)
    assert [one.key_times for one in made["240p"]] == [one.key_times for one in made["144p"]]
    if with_sound:
        check_sound(parts["240p"], made["240p"], source)
        heard = await pieces(house, stream_id, "audio", tmp_path)
        assert [sound_of(part.made) for part in heard] == [sound_of(part.source) for part in heard]


async def test_every_kind_of_source_is_whole_in_every_rendition(house: House, tmp_path: Path) -> None:
    takes = {name: make_source(tmp_path / name, **options) for name, options in SOURCES.items()}
    streams = {name: await stream(house, take) for name, take in takes.items()}
    async with everything(house):
        for name, stream_id in streams.items():
            done = await house.until_status(stream_id, "completed", "failed", seconds=90)
            expected = ["source", "240p", "144p", *(["audio"] if name != "without sound" else [])]
            assert list(done.renditions) == expected, (name, done.failure)
    for name, stream_id in streams.items():
        await check_whole(house, stream_id, tmp_path, with_sound=name != "without sound")
    sizes = [await size_of(house, stream_id) for stream_id in streams.values()]
    assert sizes == [(432, 240), (426, 240), (240, 426), (426, 240)]


async def size_of(house: House, stream_id: UUID) -> tuple[int, int]:
    query = "select width_px, height_px from renditions where stream_id = $1 and name = '240p'"
    row = await house.pool.fetchrow(query, stream_id)
    assert row is not None
    return row["width_px"], row["height_px"]


async def test_reconnects_and_gaps_are_discontinuities_and_nothing_else_is_lost(house: House, tmp_path: Path) -> None:
    first, second = make_source(tmp_path / "first"), make_source(tmp_path / "second")
    stream_id = await stream(house, first, second, lost=(5,))
    async with everything(house):
        done = await house.until_status(stream_id, "completed", "failed", seconds=90)
    assert list(done.renditions) == ["source", "240p", "144p", "audio"], done.failure
    for name in ("240p", "audio"):
        index = (await house.text(f"{stream_id}/{name}/index.m3u8")).splitlines()
        begins = [index[at + 2] for at, line in enumerate(index) if line == "#EXT-X-DISCONTINUITY"]
        # After the reconnect, and after the gap.
        assert [name.partition("-")[0] for name in begins] == ["2", "3"]
        assert durations_ms("\n".join(index)) == [4000, 4000, 2000, 4000]
    parts = await pieces(house, stream_id, "240p", tmp_path)
    made, source = [pictures_of(part.made) for part in parts], [pictures_of(part.source) for part in parts]
    assert [one.times for one in made] == [one.times for one in source]
    assert [len(one.times) for one in made] == [120, 120, 60, 120]
    check_sound(parts, made, source)


async def test_a_corrupt_segment_costs_its_own_chunk_at_worst(house: House, tmp_path: Path) -> None:
    take, chance = make_source(tmp_path / "take"), random.Random(5)
    damaged = {"overwritten": overwritten(take.segments[1], chance), "noise": chance.randbytes(len(take.segments[1]))}
    streams = {
        name: await stream(house, Clip([take.segments[0], body, *take.segments[2:]], take.durations_ms))
        for name, body in damaged.items()
    }
    async with everything(house):
        for name, stream_id in streams.items():
            done = await house.until_status(stream_id, "completed", "failed", seconds=90)
            assert list(done.renditions) == ["source", "240p", "144p", "audio"], (name, done.failure)
    whole = [pictures_of(await written(tmp_path / "whole.ts", *take.segments[2:]))]
    for stream_id in streams.values():
        assert len(await house.pieces(f"{stream_id}/source/index.m3u8")) == 4
        for rendition in ("240p", "144p"):
            *_, last = await house.pieces(f"{stream_id}/{rendition}/index.m3u8")
            assert [pictures_of(await house.fetched([last], tmp_path / "last.ts")).times] == [whole[0].times]
            index = await house.text(f"{stream_id}/{rendition}/index.m3u8")
            assert sum(durations_ms(index)) == sum(take.durations_ms)


def overwritten(body: bytes, chance: random.Random) -> bytes:
    """The segment with its middle third overwritten."""
    third = len(body) // 3
    return body[:third] + chance.randbytes(third) + body[2 * third :]


async def written(path: Path, *bodies: bytes) -> Path:
    await asyncio.to_thread(path.write_bytes, b"".join(bodies))
    return path
