"""The whole path on real engines: the demo's story comes true, and none of its secrets is left anywhere to be found."""

import asyncio
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from rich.console import Console

from console.demo.report import DemoReport
from console.demo.steps import Steps
from console.demo.story import Place, Story, Told
from console.demo.verb import place_of
from deploy.local import PROFILES, Stack
from eventbus.bus_configured import open_bus
from events.topics import TOPICS
from tests.conftest import StackMaker

pytestmark = pytest.mark.timeout(300)

FIGURES_WITHOUT_VALUE = {"setup_seconds"}  # the verb's own, not the story's


@dataclass(frozen=True)
class Lived:
    """A story that was told, and the stack on which it was."""

    told: Told
    stack: Stack
    place: Place
    output: str


@pytest.fixture(scope="module", params=PROFILES)
def lived(request: pytest.FixtureRequest, module_stack: StackMaker) -> Iterator[Lived]:
    profile = request.param
    stack = module_stack(*PROFILES[profile].parts, profile=profile)
    output = Console(file=io.StringIO(), width=160)
    place = place_of(stack)
    told = asyncio.run(Story(place, Steps(output), DemoReport(profile=profile)).tell())
    assert isinstance(output.file, io.StringIO)
    yield Lived(told, stack, place, output.file.getvalue())
    stack.down()  # both at once would be much for a small machine


def test_every_step_is_verified(lived: Lived) -> None:
    report = lived.told.report
    assert report.ok
    assert report.profile == lived.stack.profile.name
    missing = {name for name, value in report.model_dump().items() if value is None}
    assert missing == FIGURES_WITHOUT_VALUE
    assert report.followers == 5_000
    assert report.pages == 5
    assert report.notices_per_follower_max == 1
    assert report.notices_to_muted == 0
    assert report.pushes == 5
    assert report.webhooks is not None
    assert report.webhooks >= 3
    assert report.streams_created == 1
    assert report.viewers == 3
    assert report.rename_to_live_list_ms is not None
    assert report.hidden_to_closed_ms is not None
    assert report.forgotten_ms is not None
    assert report.chat_sent == 50
    assert report.chat_delivered == 2_500
    assert report.chat_lost == 0
    assert report.chat_votes == 10
    assert report.chat_replayed == 52
    assert report.chat_moderation_ms is not None
    assert report.chat_moderation_ms < 5_000, "a second, and what a busy machine takes; benches measure it"
    assert report.renditions == ("source", "480p", "360p", "audio")
    assert report.clip_frames in (149, 150, 151)
    assert report.download_frames is not None
    assert report.download_frames >= 570


def test_no_secret_is_in_any_log(lived: Lived) -> None:
    secrets = _secrets(lived)
    logs = sorted((lived.stack.directory / "log").iterdir())
    assert len(logs) >= len(lived.stack.parts)
    for log in logs:
        text = log.read_text(errors="replace")
        silent = log.stem not in lived.stack.parts or log.stem in {"redis", "minio"}
        assert text or silent, f"{log.name} is empty: nothing was checked"
        assert not [secret for secret in secrets if secret in text], f"{log.name} holds a secret"
    assert not [secret for secret in secrets if secret in lived.output]


def test_no_secret_is_in_any_public_name(lived: Lived) -> None:
    secrets = _secrets(lived)
    names = [str(path) for path in (lived.stack.directory / "hls").rglob("*")]
    objects = _object_names(lived.stack)
    assert any(name.endswith("/480p/index.m3u8") for name in objects)
    names += objects
    assert any(name.endswith(".ts") for name in names)
    assert not [name for name in names if any(secret in name for secret in secrets)]


def test_no_secret_is_in_any_playlist(lived: Lived) -> None:
    playlists = list((lived.stack.directory / "hls").rglob("*.m3u8"))
    assert playlists
    for playlist in playlists:
        text = playlist.read_text()
        assert not [secret for secret in _secrets(lived) if secret in text]


async def test_no_secret_is_in_any_event(lived: Lived) -> None:
    secrets = [secret.encode() for secret in _secrets(lived)]
    messages = await _everything_said(lived.place)
    assert len(messages) > 50
    for message in messages:
        assert not [secret for secret in secrets if secret in message]


def test_no_secret_is_in_any_command_line_of_ours(lived: Lived) -> None:
    secrets = _secrets(lived)
    for status in lived.stack.status():
        assert status.pid is not None, status.name
        argv = Path(f"/proc/{status.pid}/cmdline").read_text()
        assert not [secret for secret in secrets if secret in argv], status.name


@pytest.mark.parametrize(
    ("first", "followed_into"),
    [
        ("stream_started", {"streaming.lifecycle.publishing", "notify.fanout", "archive.intake"}),
        (
            "stream_ended",
            {"streaming.lifecycle.publishing", "archive.intake", "archive.shipping.follower", "archive.jobs.worker"},
        ),
    ],
)
def test_one_trace_runs_from_the_request_through_every_service(
    lived: Lived, first: str, followed_into: set[str]
) -> None:
    lines = _log_lines(lived.stack)
    traces = {line["trace_id"] for line in lines if line["event"] == first}
    assert len(traces) == 1
    assert followed_into <= {line["logger"] for line in lines if line.get("trace_id") in traces}


def test_every_line_about_a_stream_carries_a_trace(lived: Lived) -> None:
    about = [line for line in _log_lines(lived.stack) if "stream_id" in line]
    assert len(about) > 10
    assert [line for line in about if "trace_id" not in line] == []


def _log_lines(stack: Stack) -> list[dict[str, Any]]:
    """What all of our processes have logged."""
    texts = [stack.log(part).read_text() for part in stack.services]
    whole = [text.rpartition("\n")[0] for text in texts]  # the last line may be there in part
    return [json.loads(line) for text in whole for line in text.splitlines() if line.startswith("{")]


def _secrets(lived: Lived) -> list[str]:
    """What was handed out in the story, and what the stack itself keeps."""
    environment = lived.stack.environment()
    kept = [environment[name] for name in environment if name.endswith(("_SECRET", "_SECRET_ACCESS_KEY", "_DSN"))]
    assert len(kept) >= 3
    assert all(lived.told.secrets)
    return [*lived.told.secrets, *kept]


def _object_names(stack: Stack) -> list[str]:
    environment = stack.environment()
    if stack.profile.recordings == "disk":
        return [str(path) for path in Path(environment["LIVESTREAM_ARCHIVE_DISK_DIRECTORY"]).rglob("*")]
    client = boto3.client(
        "s3",
        endpoint_url=environment["LIVESTREAM_ARCHIVE_S3_ENDPOINT_URL"],
        aws_access_key_id=environment["LIVESTREAM_ARCHIVE_S3_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["LIVESTREAM_ARCHIVE_S3_SECRET_ACCESS_KEY"],
        region_name="us-east-1",
    )
    listing = client.list_objects_v2(Bucket=environment["LIVESTREAM_ARCHIVE_S3_BUCKET"])
    return [item["Key"] for item in listing["Contents"]]


async def _everything_said(place: Place) -> list[bytes]:
    async with open_bus(place.bus) as bus:
        return [
            b" ".join([one.key or b"", one.value or b"", *(value for _, value in one.headers)])
            for topic in TOPICS
            async for one in bus.read(topic.name)
        ]
