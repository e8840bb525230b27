"""The demo's own machinery: a step is verified or the demo fails, saying what was expected and what was seen."""

import io
import json
from pathlib import Path

import pytest
from pydantic import ValidationError
from rich.console import Console
from typer.testing import CliRunner

from console.demo.report import DemoReport
from console.demo.steps import StepFailed, Steps, check, eventually
from console.demo.verb import app

REPORT_FIELDS = [
    "ok",
    "profile",
    "publish_to_playlist_ms",
    "publish_to_event_ms",
    "publish_to_first_online_follower_ms",
    "publish_to_last_online_follower_ms",
    "publish_to_last_inbox_row_ms",
    "publish_to_last_push_ms",
    "followers",
    "pages",
    "notices_per_follower_max",
    "notices_to_muted",
    "pushes",
    "webhooks",
    "chat_sent",
    "chat_delivered",
    "chat_lost",
    "chat_moderation_ms",
    "chat_votes",
    "chat_replayed",
    "streams_created",
    "rename_to_live_list_ms",
    "viewers",
    "hidden_to_closed_ms",
    "end_to_recording_playable_ms",
    "recording_seconds",
    "renditions",
    "end_to_ladder_ms",
    "rewind_seconds",
    "clip_ms",
    "clip_frames",
    "download_bytes",
    "download_frames",
    "forgotten_ms",
    "setup_seconds",
]


def test_the_report_has_the_documented_fields_and_starts_as_not_ok(tmp_path: Path) -> None:
    path = tmp_path / "demo.json"
    DemoReport().write(path)
    written = json.loads(path.read_text())
    assert list(written) == REPORT_FIELDS
    assert written["ok"] is False
    assert list(tmp_path.iterdir()) == [path]


def test_the_report_takes_no_figure_of_the_wrong_kind() -> None:
    with pytest.raises(ValidationError, match="followers"):
        setattr(DemoReport(), "followers", "many")  # noqa: B010  the type checker refuses it as well


async def test_a_failed_step_is_shown_with_what_was_expected_and_seen() -> None:
    output = io.StringIO()
    with pytest.raises(StepFailed) as caught:
        async with Steps(Console(file=output, width=120)).step("count the followers"):
            check(False, "5000 followers", 4999)
    assert caught.value.step == "count the followers"
    assert "✗ count the followers: expected 5000 followers, saw 4999" in output.getvalue()


async def test_waiting_gives_up_with_the_last_sight() -> None:
    sights = iter(range(1_000_000))

    async def look() -> int:
        return next(sights)

    assert await eventually("three", look, lambda seen: seen == 3, within_seconds=5) == 3
    with pytest.raises(StepFailed, match=r"expected less than nothing within 0\.05 s, saw \d+"):
        await eventually("less than nothing", look, lambda seen: seen < 0, within_seconds=0.05)


def test_an_unknown_profile_is_refused_by_name() -> None:
    result = CliRunner().invoke(app, ["--profile", "nothing"])
    assert result.exit_code == 2
    assert "nothing" in result.output
