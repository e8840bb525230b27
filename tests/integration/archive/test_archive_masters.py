"""Master playlists: they name what the rows say, and of two who change something at once nobody is forgotten."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from uuid import UUID

import pytest

from archive.publishing import masters
from archive.publishing.masters import write_master
from archive.store import QUERIES
from eventbus.outbox import Transaction
from runtime.objects import ObjectKind, StoredObject, StoreUnavailable
from runtime.objects_disk import DiskObjects
from tests.integration.archive.house import House


async def add_rendition(transaction: Transaction, stream_id: UUID, name: str, rank: int, *, height_px: int) -> None:
    await QUERIES.add_rendition(
        transaction.connection,
        stream_id=stream_id,
        name=name,
        rank=rank,
        state="ready",
        width_px=height_px * 16 // 9,
        height_px=height_px,
        frame_rate=30.0,
        codecs="avc1.64001f,mp4a.40.2" if height_px else "mp4a.40.2",
        peak=2_000_000,
        average=1_000_000,
    )


async def add_captions(transaction: Transaction, stream_id: UUID, language: str, label: str) -> None:
    await transaction.connection.execute(
        "insert into recording_files (stream_id, name, role, size_bytes, particulars) "
        "values ($1, $2, 'captions', 1, $3)",
        stream_id,
        f"captions/{language}-1.vtt",
        json.dumps({"language": language, "label": label, "playlist": f"captions/{language}-1.m3u8"}),
    )


async def test_a_master_names_what_plays_and_its_captions(house: House) -> None:
    stream_id = await house.started()
    async with house.outbox.transaction() as transaction:
        await add_rendition(transaction, stream_id, "audio", 2, height_px=0)
        await add_rendition(transaction, stream_id, "source", 0, height_px=720)
        await add_captions(transaction, stream_id, "nl", 'Nederlands "plat"\n#EXT-X-ENDLIST')
        await add_captions(transaction, stream_id, "en", "English")
        assert await write_master(transaction, house.objects, stream_id) == ("source", "audio")
    assert (await house.text(f"{stream_id}/master.m3u8")).splitlines() == [
        "#EXTM3U",
        "#EXT-X-VERSION:3",
        '#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID="captions",NAME="English",LANGUAGE="en",'
        'DEFAULT=NO,AUTOSELECT=YES,FORCED=NO,URI="captions/en-1.m3u8"',
        '#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID="captions",NAME="Nederlands \'plat\'\'#EXT-X-ENDLIST",LANGUAGE="nl",'
        'DEFAULT=NO,AUTOSELECT=YES,FORCED=NO,URI="captions/nl-1.m3u8"',
        "#EXT-X-STREAM-INF:BANDWIDTH=2000000,AVERAGE-BANDWIDTH=1000000,RESOLUTION=1280x720,"
        'CODECS="avc1.64001f,mp4a.40.2",FRAME-RATE=30.000,SUBTITLES="captions"',
        "source/index.m3u8",
        '#EXT-X-STREAM-INF:BANDWIDTH=2000000,AVERAGE-BANDWIDTH=1000000,CODECS="mp4a.40.2",SUBTITLES="captions"',
        "audio/index.m3u8",
    ]


class SlowObjects(DiskObjects):
    """A store whose first put takes as long as somebody lets it."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.putting, self.go_on = asyncio.Event(), asyncio.Event()

    async def put_bytes(self, key: str, body: bytes, kind: ObjectKind) -> StoredObject:
        if not self.putting.is_set():
            self.putting.set()
            await self.go_on.wait()
        return await super().put_bytes(key, body, kind)


async def test_of_two_who_change_something_at_once_nobody_is_forgotten(house: House, tmp_path: Path) -> None:
    stream_id = await house.started()
    async with SlowObjects(tmp_path / "objects") as objects:

        async def complete() -> None:
            async with house.outbox.transaction() as transaction:
                await add_rendition(transaction, stream_id, "source", 0, height_px=720)
                await write_master(transaction, objects, stream_id)

        async def caption() -> None:
            await objects.putting.wait()
            async with house.outbox.transaction() as transaction:
                await add_rendition(transaction, stream_id, "480p", 1, height_px=480)
                await add_captions(transaction, stream_id, "en", "English")
                await write_master(transaction, objects, stream_id)

        changes = asyncio.gather(complete(), caption())
        await objects.putting.wait()
        # The second has nothing to see until the first is done: it must wait, however long that is.
        await asyncio.wait([changes], timeout=0.5)
        objects.go_on.set()
        await changes
    master = await house.text(f"{stream_id}/master.m3u8")
    assert [line for line in master.splitlines() if not line.startswith("#")] == [
        "source/index.m3u8",
        "480p/index.m3u8",
    ]
    assert 'URI="captions/en-1.m3u8"' in master


async def test_a_store_that_takes_too_long_takes_the_change_back(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(masters, "PUT_SECONDS_MAX", 0.1)
    stream_id = await house.started()
    async with SlowObjects(tmp_path / "objects") as objects:
        with pytest.raises(StoreUnavailable, match="it took more than"):
            async with house.outbox.transaction() as transaction:
                await add_rendition(transaction, stream_id, "source", 0, height_px=720)
                await write_master(transaction, objects, stream_id)
    assert not await QUERIES.list_ready_renditions(house.pool, stream_id=stream_id)


async def test_nothing_is_put_where_nothing_is_to_be_named(house: House) -> None:
    stream_id = await house.started()
    async with house.outbox.transaction() as transaction:
        assert await write_master(transaction, house.objects, stream_id) == ()
        await add_rendition(transaction, stream_id, "source", 0, height_px=720)
        await transaction.connection.execute(
            "update recordings set deleted_at = now(), purge_due_at = now(), purged_at = now(), "
            "delete_reason = 'owner' where stream_id = $1",
            stream_id,
        )
        assert await write_master(transaction, house.objects, stream_id) == ()
    assert await house.objects.head(f"{stream_id}/master.m3u8") is None
