"""What docs/webhooks.md tells receivers is true: its example is what is posted, its code verifies what we sign."""

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from events import Envelope, StreamStarted
from notify.webhooks import payloads
from notify.webhooks.channel import SCHEDULE
from notify.webhooks.presets import Preset
from notify.webhooks.signing import new_secret, signed_headers

PAGE = (Path(__file__).parents[3] / "docs/webhooks.md").read_text()
AT = datetime(2026, 5, 4, 18, 30, tzinfo=UTC)


def block(language: str) -> str:
    [found] = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return str(found)


def body() -> str:
    event = StreamStarted(
        stream_id=UUID("0192aaaa-0000-7000-8000-000000000002"),
        channel_id=UUID("0192aaaa-0000-7000-8000-000000000001"),
        channel_name="ada",
        title="Chess with everybody",
        category="chess",
        started_at=AT,
    )
    return payloads.event_body(Envelope(id=UUID(int=7), source="streaming", time=AT, event=event))


def test_the_example_is_what_is_posted() -> None:
    assert json.loads(block("json")) == json.loads(body())


def test_the_code_takes_what_is_genuine_and_nothing_else() -> None:
    code: dict[str, Any] = {}
    exec(block("python"), code)  # noqa: S102  the page's own code is what is tested
    is_genuine: Callable[[str, Mapping[str, str], bytes], bool] = code["is_genuine"]
    now, secret, former = datetime.now(UTC), new_secret(), new_secret()
    headers = signed_headers(UUID(int=7), now, body(), [secret, former])
    assert is_genuine(secret, headers, body().encode())
    assert is_genuine(former, headers, body().encode())
    assert not is_genuine(new_secret(), headers, body().encode())
    assert not is_genuine(secret, headers, body().encode() + b" ")
    late = signed_headers(UUID(int=7), now - timedelta(minutes=6), body(), [secret])
    assert not is_genuine(secret, late, body().encode())


def test_all_types_presets_and_waits_are_named() -> None:
    for pattern in payloads.EVENT_PATTERNS:
        assert f"`{pattern}`" in PAGE
    for preset in Preset:
        assert f"| `{preset.value}` |" in PAGE
    assert [wait.total_seconds() for wait in SCHEDULE.waits] == [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400]
    assert "5 s, 5 min, 30 min, 2 h, 5 h, 10 h and 14 h" in PAGE
