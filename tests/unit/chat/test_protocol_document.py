"""docs/chat-protocol.md says what the gateway does: every frame, field, code and limit."""

import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest

from chat.brokers.broker import Retention
from chat.rooms.room import RoomLimits
from chat.sockets import frames
from chat.sockets.closecodes import PROTOCOL_CLOSE_CODES, CloseCode
from chat.sockets.gateway import FRAME_BYTES_MAX
from chat.sockets.socket_document import socket_document
from runtime.websockets import RECONNECT_RANGE

PAGE = (Path(__file__).parents[3] / "docs/chat-protocol.md").read_text()
EXAMPLES = re.findall(r"^(client|gateway) +(\{.*\})$", PAGE, re.MULTILINE)


def type_name(model: type[frames.Frame]) -> str:
    literal: object = model.model_fields["type"].annotation
    (name,) = get_args(literal)
    return str(name)


def section(title: str) -> str:
    found = re.search(rf"^### `{title}`\n(.*?)(?=^##)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, f"no section of its own for {title}"
    return found.group(1)


@pytest.mark.parametrize(("who", "text"), EXAMPLES)
def test_every_example_fits_its_model(who: str, text: str) -> None:
    if who == "client":
        frames.read_client_frame(text)
    else:
        frames.SERVER_FRAME.validate_json(text)


def test_every_frame_has_an_example_or_is_shown_in_short() -> None:
    shown = {json.loads(text)["type"] for _, text in EXAMPLES}
    assert shown == {type_name(model) for model in (*frames.CLIENT_FRAMES, *frames.SERVER_FRAMES)}


@pytest.mark.parametrize("model", (*frames.CLIENT_FRAMES, *frames.SERVER_FRAMES))
def test_every_frame_and_field_is_told(model: type[frames.Frame]) -> None:
    name = type_name(model)
    told = section(name)
    for field in set(model.model_fields) - {"type"}:
        assert f"`{field}`" in told or f'"{field}"' in told, f"{name}.{field}"


def test_every_error_code_is_told() -> None:
    told = set(re.findall(r"^\| `([a-z-]+)` \|", section("error"), re.MULTILINE))
    assert told == set(get_args(frames.ErrorCode))


def test_every_close_code_is_told_with_whether_to_come_back() -> None:
    told = {
        int(code): answer == "yes" for code, answer in re.findall(r"^\| (\d{4}) \| (yes|no) \|", PAGE, re.MULTILINE)
    }
    assert told == {code.value: code.reconnect for code in CloseCode} | dict.fromkeys(PROTOCOL_CLOSE_CODES, False)
    for code in CloseCode:
        assert code.reason in PAGE
        assert 4000 <= code < 5000 or code in (1002, 1009), "RFC 6455 section 7.4"
        assert len(code.reason.encode()) <= 123, "RFC 6455 section 5.5"
    assert (RECONNECT_RANGE.start, RECONNECT_RANGE.stop) == (4000, 4500)


def test_the_limits_are_told() -> None:
    limits, kept = RoomLimits(), Retention()
    assert f"at most {kept.entries_max} a room" in PAGE
    assert f"at most {limits.recovery_messages_max} messages, a history at most {limits.history_messages_max}" in PAGE
    assert f"kept for {kept.entry_seconds / 60:.0f} minutes" in PAGE
    assert f"at most {FRAME_BYTES_MAX // 1024} KiB" in PAGE
    assert f"1 to {frames.TEXT_CHARACTERS_MAX} characters" in PAGE
    assert f"1 to {frames.CLIENT_ID_CHARACTERS_MAX} of" in PAGE


def test_the_asyncapi_document_names_every_frame_and_nothing_that_is_not_there() -> None:
    document = socket_document()
    text = json.dumps(document)
    references = set(re.findall(r'"#(/[^"]+)"', text))
    assert references
    for reference in references:
        place: Any = document
        for step in reference.strip("/").split("/"):
            place = place[step]
    operations: Any = document["operations"]
    assert len(operations["takeFrames"]["messages"]) == len(frames.CLIENT_FRAMES)
    assert len(operations["tellClients"]["messages"]) == len(frames.SERVER_FRAMES)
