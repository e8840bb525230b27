"""The story that the demo tells: set the scene, go live, drop and return, end, watch the recording."""

import asyncio
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import asyncpg

from console.demo.cast import BROWSERS, Cast
from console.demo.chatting import Chatting
from console.demo.controlling import Controlling
from console.demo.keeping import Keeping
from console.demo.media import CLIP_SECONDS, FRAMES_PER_SECOND, Publisher, make_clip, play, play_live, publishing
from console.demo.outside import Outside
from console.demo.overheard import Overheard
from console.demo.people import Origin
from console.demo.receivers import Receivers
from console.demo.report import DemoReport
from console.demo.steps import StepFailed, Steps, check, eventually
from eventbus.bus_configured import open_bus
from eventbus.settings import BusSettings

DROP_AT_CLIP_SECONDS = 10.0
DROP_SECONDS = 3.0
DURATION_TOLERANCE_SECONDS = 1.0  # what a cut connection may have had in flight
LADDER = ("source", "480p", "360p", "audio")
FOLLOWERS_A_PAGE = 1_000


@dataclass(frozen=True)
class Place:
    """Where the story plays: addresses of a running system, and where a clip may be kept."""

    public_url: str
    postgres_dsn: str
    bus: BusSettings
    gateway_urls: tuple[str, ...]
    directory: Path


@dataclass
class Told:
    """What the story leaves behind for whoever checks it: the report, the stream, the secrets that nobody may find."""

    report: DemoReport
    stream_id: UUID | None = None
    secrets: list[str] = field(default_factory=list)


class Story:
    """One stream's life. Every step raises StepFailed unless what it promises was seen from outside."""

    def __init__(self, place: Place, steps: Steps, report: DemoReport) -> None:
        self.told = Told(report)
        self._place = place
        self._steps = steps
        self._report = report
        self._clip = place.directory / "demo-clip.flv"

    async def tell(self) -> Told:
        """Live through all of it; the report is complete when this returns."""
        async with AsyncExitStack() as exits:
            session = await exits.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
            self._origin = Origin(session, self._place.public_url)
            self._database = await asyncpg.connect(self._place.postgres_dsn, command_timeout=10)
            exits.push_async_callback(self._database.close)
            self._overheard = Overheard(await exits.enter_async_context(open_bus(self._place.bus)))
            self._cast = Cast(self._origin, self._place.postgres_dsn)
            exits.push_async_callback(self._cast.leave)
            self._receivers = await exits.enter_async_context(Receivers(BROWSERS))
            self._outside = Outside(self._origin, self._receivers)
            await self._set_the_scene()
            self._keeping = Keeping(self._origin, self._cast.streamer, self._place.directory)
            await self._go_live(exits)
            await self._end()
            await self._tell_of_the_recording()
            await self._keep()
        self._report.ok = True
        return self.told

    async def _set_the_scene(self) -> None:
        cast = self._cast
        async with self._steps.step("make the clip: 20 s of H.264/AAC, 720p"):
            await make_clip(self._clip)
        async with self._steps.step("a streamer registers, logs in and gets a stream key"):
            await cast.hire_streamer()
        async with self._steps.step("50 people register; 26 of them follow, beside 4,974 followers of old") as remarks:
            await cast.hire_audience()
            self._report.followers = await self._count_followers()
            check(self._report.followers == cast.followers_wanted, f"{cast.followers_wanted}", self._report.followers)
            remarks.append(f"{self._report.followers} followers")
        async with self._steps.step("5 followers want Web Push, one mutes the channel; the streamer sets up a webhook"):
            await self._outside.subscribe(cast.in_browsers)
            await self._outside.mute(cast.muted, cast.streamer.user_id)
            await self._outside.want_recordings(cast.online[0], cast.streamer.user_id)
            await self._outside.hook(cast.streamer)
        async with self._steps.step("20 followers connect for notices, 50 viewers sit down in the chat") as remarks:
            await cast.take_seats()
            split = [await self._connections(url) for url in self._place.gateway_urls]
            check(all(split), "viewers on every gateway", split)
            gateways = "1 gateway" if len(split) == 1 else f"{len(split)} gateways"
            remarks.append(f"{' + '.join(map(str, split))} on {gateways}")
        self._controlling = Controlling(self._origin, cast.streamer)
        async with self._steps.step("the streamer announces the stream: title, category, tags"):
            self._announced_id = await self._controlling.announce()
        self.told.secrets = [*cast.secrets(), self._receivers.webhook_secret]

    async def _go_live(self, exits: AsyncExitStack) -> None:
        first = await exits.enter_async_context(publishing(self._clip, self._cast.publish_url))
        stream = await self._see_it_live()
        await asyncio.gather(self._see_it_play(), self._notice(stream), self._push(stream))
        await self._rename()
        await self._chat()
        await self._moderate()
        async with self._steps.step(f"the publisher's connection is cut for {DROP_SECONDS:g} s"):
            await first.until(DROP_AT_CLIP_SECONDS)
            first.cut()
            await self._status_becomes("interrupted")
            await asyncio.sleep(DROP_SECONDS)
        second = await exits.enter_async_context(
            publishing(self._clip, self._cast.publish_url, from_seconds=DROP_AT_CLIP_SECONDS)
        )
        await self._see_it_resume(second)

    async def _see_it_live(self) -> dict[str, Any]:
        async with self._steps.step("ffmpeg publishes over RTMP; the stream is in the live list") as remarks:
            live = await eventually("the stream in the live list", self._live, bool, within_seconds=30)
            stream: dict[str, Any] = live[0]
            self.told.stream_id = UUID(stream["stream_id"])
            self._started_at_seconds = datetime.fromisoformat(stream["started_at"]).timestamp()
            seen = await self._overheard.first(self.told.stream_id, "stream.started", within_seconds=30)
            self._report.publish_to_event_ms = self._since_publish(seen)
            await self._controlling.is_the_one(self._announced_id, stream)
            remarks.append(f"event after {self._report.publish_to_event_ms} ms; it is the announced one")
        return stream

    async def _see_it_play(self) -> None:
        path = f"/live/{self.told.stream_id}/index.m3u8"
        async with self._steps.step("the live playlist plays") as remarks:
            await eventually(
                "a segment in the live playlist", lambda: self._origin.text(path), _has_segment, within_seconds=15
            )
            self._report.publish_to_playlist_ms = self._since_publish(time.time())
            await play_live(self._origin.url + path, frames=FRAMES_PER_SECOND)
            remarks.append(f"after {self._report.publish_to_playlist_ms} ms")

    async def _rename(self) -> None:
        await self._controlling.sit_down(self._stream_id)
        async with self._steps.step("the streamer gives it another title; the live list has it") as remarks:
            self._report.rename_to_live_list_ms = await self._controlling.rename(self._stream_id)
            remarks.append(f"after {self._report.rename_to_live_list_ms} ms")

    async def _control(self) -> None:
        async with self._steps.step("3 players play, a script pretends to: 3 viewers") as remarks:
            self._report.viewers = await self._controlling.count(self._stream_id)
            remarks.append(f"{self._report.viewers} viewers")
        async with self._steps.step("the streamer hides it for a moment: a stranger's address closes") as remarks:
            stranger = self._cast.audience[-1]
            self._report.hidden_to_closed_ms = await self._controlling.hide(self._stream_id, stranger)
            remarks.append(f"after {self._report.hidden_to_closed_ms} ms; the streamer's signed one plays")

    async def _notice(self, stream: Mapping[str, Any]) -> None:
        async with self._steps.step("every follower but the muted one has the notice, those online at once") as remarks:
            wanted = self._cast.notices_wanted
            await eventually(
                "a notice for each follower", self._count_notices, lambda n: n >= wanted, within_seconds=30
            )
            self._report.publish_to_last_inbox_row_ms = self._since_publish(time.time())
            everybody = len(self._cast.listeners)
            times = await eventually(
                "all connected followers told", self._heard, lambda heard: len(heard) == everybody, within_seconds=10
            )
            self._report.publish_to_first_online_follower_ms = self._since_publish(min(times))
            self._report.publish_to_last_online_follower_ms = self._since_publish(max(times))
            await self._check_inboxes(stream)
            fanout = await self._fanout_done()
            self._report.pages = fanout["pages_done"]
            pages_wanted = self._cast.followers_wanted // FOLLOWERS_A_PAGE
            check(fanout["pages_done"] == pages_wanted, f"{pages_wanted} pages", fanout)
            told_muted = await self._outside.kinds_of(self._cast.muted)
            self._report.notices_to_muted = len(told_muted)
            check(not told_muted, "nothing for whoever has muted the channel", told_muted)
            remarks.append(f"online ≤ {self._report.publish_to_last_online_follower_ms} ms")
            remarks.append(f"all inboxes ≤ {self._report.publish_to_last_inbox_row_ms} ms")

    async def _push(self, stream: dict[str, Any]) -> None:
        async with self._steps.step("the browsers of followers who are away are told, encrypted for each") as remarks:
            times = await self._outside.pushed(stream)
            self._report.pushes = len(times)
            self._report.publish_to_last_push_ms = self._since_publish(max(times))
            remarks.append(f"after {self._report.publish_to_last_push_ms} ms")

    async def _check_inboxes(self, stream: Mapping[str, Any]) -> None:
        for listener in self._cast.listeners:
            inbox = await self._origin.call("GET", "/api/notifications", person=listener.person)
            mine = [item for item in inbox["items"] if item["stream_id"] == stream["stream_id"]]
            check(len(mine) == 1, f"one notice in the inbox of {listener.person.username}", mine)

    async def _chat(self) -> None:
        async with self._steps.step("everybody says something; everybody reads all of it") as remarks:
            viewers = self._cast.viewers
            sent = await self._cast.everybody_speaks()
            complete = len(viewers) * len(sent)

            async def delivered() -> int:
                return sum(len(viewer.texts) for viewer in viewers)

            await eventually(f"{complete} deliveries", delivered, lambda n: n >= complete, within_seconds=30)
            self._report.chat_sent = len(sent)
            self._report.chat_delivered = await delivered()
            self._report.chat_lost = sum(len(set(sent) - set(viewer.texts)) for viewer in viewers)
            for viewer in viewers:
                check(sorted(viewer.texts) == sorted(sent), "every message once", viewer.texts)
                check(viewer.texts == viewers[0].texts, "one order for all", viewer.texts)
            accepted = sum(viewer.accepted for viewer in viewers)
            check(accepted == len(sent), f"{len(sent)} acceptances", accepted)
            remarks.append(f"{self._report.chat_delivered} deliveries")

    async def _moderate(self) -> None:
        chatting = self._chatting = Chatting(self._origin, self._cast)
        async with self._steps.step("a moderator deletes a message and silences a spammer; all see it") as remarks:
            self._report.chat_moderation_ms = await chatting.moderate()
            remarks.append(f"within {self._report.chat_moderation_ms} ms")
        async with self._steps.step("slow mode holds back the eager; viewers vote in a poll") as remarks:
            await chatting.slow_down()
            self._report.chat_votes = await chatting.poll()
            remarks.append(f"{self._report.chat_votes} votes")
        async with self._steps.step("a bot comes in by IRC, hears and is heard"):
            await chatting.irc()
        self.told.secrets += chatting.secrets

    async def _see_it_resume(self, publisher: Publisher) -> None:
        async with self._steps.step("the publisher comes back: the same stream, no second notice") as remarks:
            await self._status_becomes("live")
            await self._control()
            await publisher.until(CLIP_SECONDS - 0.1)
            streams = await self._database.fetchval(
                "SELECT count(*) FROM streaming.streams WHERE channel_id = $1", self._cast.streamer.user_id
            )
            started = await self._overheard.count(self._cast.streamer.user_id, "stream.started")
            check(streams == 1 and started == 1, "one stream and one stream.started", (streams, started))
            self._report.streams_created = streams
            self._report.notices_per_follower_max = await self._most_notices()
            check(self._report.notices_per_follower_max == 1, "one notice each", self._report.notices_per_follower_max)
            heard = [len(listener.heard) for listener in self._cast.listeners]
            check(set(heard) == {1}, "one live notice each", heard)
            remarks.append(f"{streams} stream, {self._report.notices_per_follower_max} notice each")
        async with self._steps.step("a latecomer rewinds to the first second of the running stream") as remarks:
            gone_back = await self._keeping.rewind(self._stream_id, behind_seconds=DROP_AT_CLIP_SECONDS)
            self._report.rewind_seconds = round(gone_back, 3)
            remarks.append(f"{gone_back:.1f} s")

    async def _end(self) -> None:
        stream_id, url = self.told.stream_id, f"{self._origin.url}/recordings/{self.told.stream_id}/master.m3u8"
        async with self._steps.step("the streamer ends the stream; its recording plays") as remarks:
            ended_at_seconds = time.time()
            await self._origin.call("POST", f"/api/streams/{stream_id}/end", person=self._cast.streamer)
            await eventually("a playable recording", self._recording, _is_playable, within_seconds=30)
            self._report.end_to_recording_playable_ms = round((time.time() - ended_at_seconds) * 1000)
            played = await play(url)
            self._report.recording_seconds = round(played.seconds, 3)
            missing = abs(played.seconds - CLIP_SECONDS)
            check(missing <= DURATION_TOLERANCE_SECONDS, f"{CLIP_SECONDS} s of recording", played)
            frames_wanted = round((CLIP_SECONDS - DURATION_TOLERANCE_SECONDS) * FRAMES_PER_SECOND)
            check(played.frames >= frames_wanted, f"{frames_wanted} frames or more", played)
            check(played.audio_codec == "aac", "sound", played)
            self._frames = played.frames
            remarks.append(f"{played.seconds:.1f} s, playable after {self._report.end_to_recording_playable_ms} ms")
        async with self._steps.step("the lower renditions are transcoded and play") as remarks:
            recording = await eventually("the ladder", self._recording, _is_complete, within_seconds=120)
            self._report.end_to_ladder_ms = round((time.time() - ended_at_seconds) * 1000)
            self._report.renditions = tuple(recording["renditions"])
            check(self._report.renditions == LADDER, f"{LADDER}", self._report.renditions)
            lower = await play(url.replace("master.m3u8", "480p/index.m3u8"))
            check(lower.height == 480, "480 lines", lower)
            check(lower.frames == played.frames, f"{played.frames} frames", lower)
            remarks.append(f"after {self._report.end_to_ladder_ms} ms")

        async with self._steps.step("the chat plays beside the recording, without what was deleted") as remarks:
            self._report.chat_replayed = await self._chatting.log(stream_id)
            remarks.append(f"{self._report.chat_replayed} messages")

    async def _tell_of_the_recording(self) -> None:
        async with self._steps.step(
            "who wants to hear of recordings has; the webhooks came, signed; all is read"
        ) as remarks:
            wishful, *others = self._cast.online

            async def kinds() -> list[str]:
                return await self._outside.kinds_of(wishful)

            wanted = ["recording.published", "stream.started"]
            await eventually("a notice of the recording", kinds, lambda seen: seen == wanted, within_seconds=30)
            check(await self._outside.kinds_of(others[0]) == ["stream.started"], "one notice", others[0].username)
            await self._outside.read_everything(wishful, unread=2)
            self._report.webhooks = await self._outside.hooked(self._stream_id)
            remarks.append(f"{self._report.webhooks} webhooks")

    async def _keep(self) -> None:
        keeping, stream_id = self._keeping, self._stream_id
        async with self._steps.step("the recording has a poster and a storyboard; captions are added") as remarks:
            remarks.append(f"poster of {await keeping.pictures(stream_id)} bytes")
            await keeping.captions(stream_id)
        async with self._steps.step("a private clip is cut at the very pictures; a stranger cannot see it") as remarks:
            clip, self._report.clip_ms = await keeping.clip(stream_id)
            self._report.clip_frames = clip.frames
            remarks.append(f"{clip.frames} frames, playable after {self._report.clip_ms} ms")
        async with self._steps.step("a viewer takes an MP4 copy home, in two halves") as remarks:
            copy, self._report.download_bytes = await keeping.download(stream_id)
            self._report.download_frames = copy.frames
            check(copy.frames == self._frames, f"the recording's {self._frames} frames", copy)
            remarks.append(f"{self._report.download_bytes} bytes, {copy.frames} frames")
        async with self._steps.step("the recording is deleted, and restored"):
            await keeping.delete_and_restore(stream_id)
        async with self._steps.step("a follower deletes the account: the follow is gone as well") as remarks:
            self._report.forgotten_ms = await self._controlling.forget()
            remarks.append(f"after {self._report.forgotten_ms} ms")
        self.told.secrets += keeping.secrets + self._controlling.secrets

    @property
    def _stream_id(self) -> UUID:
        """The stream of the story; there is none before it goes live."""
        if self.told.stream_id is None:
            raise StepFailed("a stream", "none yet")
        return self.told.stream_id

    # --- what is looked at --------------------------------------------------------------------------------------------

    def _since_publish(self, at_seconds: float) -> int:
        return round((at_seconds - self._started_at_seconds) * 1000)

    async def _live(self) -> list[dict[str, Any]]:
        # As somebody: what everybody gets, the edge keeps for a second or two, which are not the stream's.
        answer = await self._origin.call("GET", "/api/streams", person=self._cast.streamer)
        channel_id = str(self._cast.streamer.user_id)
        return [stream for stream in answer["items"] if stream["channel_id"] == channel_id]

    async def _status_becomes(self, status: str) -> None:
        async def look() -> str:
            stream = await self._origin.call("GET", f"/api/streams/{self.told.stream_id}")
            return str(stream["status"])

        await eventually(f"status {status}", look, lambda seen: seen == status, within_seconds=30)

    async def _fanout_done(self) -> dict[str, Any]:
        async def look() -> dict[str, Any]:
            fanout: dict[str, Any] = await self._origin.call(
                "GET", f"/api/fanouts/{self.told.stream_id}", person=self._cast.streamer
            )
            return fanout

        return await eventually(
            "all pages done", look, lambda f: f["pages_done"] == f["pages_planned"], within_seconds=10
        )

    async def _recording(self) -> dict[str, Any]:
        status, text = await self._origin.text(f"/api/archives/{self.told.stream_id}")
        if status != 200:
            return {"status": f"HTTP {status}", "playback_url": None}
        recording: dict[str, Any] = aiohttp.typedefs.DEFAULT_JSON_DECODER(text)
        check(recording["status"] != "failed", "a recording", recording)
        return recording

    async def _heard(self) -> list[float]:
        return [listener.heard[0][1] for listener in self._cast.listeners if listener.heard]

    async def _count_followers(self) -> int:
        return int(
            await self._database.fetchval(
                "SELECT count(*) FROM notify.follows WHERE channel_id = $1", self._cast.streamer.user_id
            )
        )

    async def _count_notices(self) -> int:
        return int(
            await self._database.fetchval(
                "SELECT count(*) FROM notify.notices WHERE notice_id = $1", self.told.stream_id
            )
        )

    async def _most_notices(self) -> int:
        return int(
            await self._database.fetchval(
                "SELECT count(*) FROM notify.notices n JOIN notify.fanouts f ON f.fanout_id = n.notice_id"
                " WHERE f.channel_id = $1 AND f.kind = 'stream.started' GROUP BY n.user_id ORDER BY 1 DESC LIMIT 1",
                self._cast.streamer.user_id,
            )
        )

    async def _connections(self, gateway_url: str) -> int:
        async with self._origin.session.get(f"{gateway_url}/metrics") as answer:
            for line in (await answer.text()).splitlines():
                if line.startswith("livestream_chat_connections "):
                    return int(float(line.split()[1]))
        return 0


def _has_segment(answer: tuple[int, str]) -> bool:
    status, playlist = answer
    return status == 200 and "#EXTINF" in playlist


def _is_playable(recording: Mapping[str, Any]) -> bool:
    return recording["playback_url"] is not None


def _is_complete(recording: Mapping[str, Any]) -> bool:
    return bool(recording["status"] == "completed")
