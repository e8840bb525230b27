"""Captions of recordings: a WebVTT file and the playlist that HLS wants around it, named by the master playlist.

Objects first, then rows and master under the recording's lock: no master names captions that are not there. Each upload
has names of its own, so nothing immutable is overwritten; what it takes the place of is left to the sweep of objects
that no row names, for players may hold an older master.
"""

from __future__ import annotations

import json
import secrets
import tempfile
from pathlib import Path
from uuid import UUID

import structlog

from archive.errors import MediaRefused, ProcessError
from archive.library.webvtt import Captions
from archive.media.playlist import PlaylistEntry, vod_playlist
from archive.media.probe import probe
from archive.media.process import ProcessRunner
from archive.objects.keys import PLAYLIST, VTT, source_segment_key
from archive.problems import RecordingDoesNotPlay, RecordingIsDeleted, TooManyCaptions
from archive.publishing.masters import write_master
from archive.store import QUERIES, Recording, RecordingFile
from eventbus.outbox import Outbox
from runtime.objects import ObjectMissing, ObjectStore, ObjectStoreError
from runtime.postgres import Pool

log = structlog.get_logger(__name__)

LANGUAGES_MAX = 20
CAPTIONS = "captions"
CAPTIONS_PLAYLIST = "captions-playlist"
VERSION_BYTES = 6


class CaptionStore:
    """Puts and removes captions."""

    def __init__(
        self, pool: Pool, outbox: Outbox, objects: ObjectStore, runner: ProcessRunner, work_directory: Path
    ) -> None:
        self._pool = pool
        self._outbox = outbox
        self._objects = objects
        self._runner = runner
        self._work_directory = work_directory

    async def put(self, recording: Recording, language: str, label: str, captions: Captions) -> RecordingFile:
        """Make these the recording's captions in ``language``.

        Raises RecordingDoesNotPlay, RecordingIsDeleted, TooManyCaptions, StoreUnavailable.
        """
        if recording.published_at is None or recording.duration_ms is None:
            raise RecordingDoesNotPlay("captions can be added once it plays")
        stream_id = recording.stream_id
        text = captions.text(await self._start_ms(stream_id)).encode()
        name = f"{language}-{secrets.token_hex(VERSION_BYTES)}"
        files = {f"{CAPTIONS}/{name}.vtt": text, f"{CAPTIONS}/{name}.m3u8": _playlist(name, recording.duration_ms)}
        vtt, playlist = files
        await self._objects.put_bytes(f"{stream_id}/{vtt}", text, VTT)
        await self._objects.put_bytes(f"{stream_id}/{playlist}", files[playlist], PLAYLIST)
        particulars = {"language": language, "label": label, "playlist": playlist}
        try:
            await self._take_place(stream_id, files, particulars)
        except (RecordingIsDeleted, TooManyCaptions):
            for key in files:
                await self._objects.delete(f"{stream_id}/{key}")
            raise
        log.info("captions_put", stream_id=str(stream_id), language=language, cues=captions.cues, size_bytes=len(text))
        return RecordingFile(vtt, CAPTIONS, len(text), particulars)

    async def remove(self, stream_id: UUID, language: str) -> bool:
        """Remove the captions in ``language`` for good; whether there were any. Raises StoreUnavailable."""
        async with self._outbox.transaction() as transaction:
            if await QUERIES.lock_captions(transaction.connection, stream_id=stream_id) is None:
                raise RecordingIsDeleted("it has been deleted; restore it first")
            gone = await QUERIES.drop_captions(transaction.connection, stream_id=stream_id, language=language)
            if gone:
                await write_master(transaction, self._objects, stream_id)
        for row in gone:
            try:
                await self._objects.delete(f"{stream_id}/{row['name']}")
            except ObjectStoreError as error:
                # No row names it any more: the sweep finds it.
                log.warning("captions_left_to_the_sweep", name=row["name"], reason=str(error))
        if gone:
            log.info("captions_removed", stream_id=str(stream_id), language=language)
        return bool(gone)

    async def _take_place(self, stream_id: UUID, files: dict[str, bytes], particulars: dict[str, str]) -> None:
        async with self._outbox.transaction() as transaction:
            connection = transaction.connection
            if await QUERIES.lock_captions(connection, stream_id=stream_id) is None:
                raise RecordingIsDeleted("it has been deleted; restore it first")
            await QUERIES.drop_captions(connection, stream_id=stream_id, language=particulars["language"])
            if await QUERIES.count_captions(connection, stream_id=stream_id) >= LANGUAGES_MAX:
                raise TooManyCaptions(f"a recording has captions in {LANGUAGES_MAX} languages at most")
            for name, body in files.items():
                await QUERIES.add_captions(
                    connection,
                    stream_id=stream_id,
                    name=name,
                    role=CAPTIONS_PLAYLIST if name == particulars["playlist"] else CAPTIONS,
                    size_bytes=len(body),
                    particulars=json.dumps(particulars),
                )
            await write_master(transaction, self._objects, stream_id)

    async def _start_ms(self, stream_id: UUID) -> int:
        """The first timestamp of the source, which all renditions keep; 0 where its first segment cannot be read."""
        first = await QUERIES.list_segments(self._pool, stream_id=stream_id, rows_max=1)
        if not first:
            return 0
        with tempfile.TemporaryDirectory(dir=self._work_directory, prefix="probe-") as directory:
            path = Path(directory) / "segment.ts"
            try:
                await self._objects.get_file(source_segment_key(stream_id, first[0]["sequence"]), path)
                return (await probe(self._runner, path)).start_ms
            except (MediaRefused, ObjectMissing, ProcessError) as error:
                log.warning("captions_without_start", stream_id=str(stream_id), reason=str(error))
                return 0


def _playlist(name: str, duration_ms: int) -> bytes:
    """The captions as HLS wants them: one segment as long as the recording (RFC 8216 4.3.4.1)."""
    return vod_playlist([PlaylistEntry(f"{name}.vtt", duration_ms, discontinuity=False)]).encode()
