"""docs/live-socket.md says what the live socket does: every frame, field and code."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notify.live_forms import LiveNotice
from notify.live_frames import BadFrame, CloseCode, Frame, Gap, Hello, NoticeTold, Ready, read_hello
from tests.unit.notify.people import notice

PAGE = (Path(__file__).parents[3] / "docs/live-socket.md").read_text()
FRAMES: dict[str, type[Frame]] = {"hello": Hello, "ready": Ready, "notice": NoticeTold, "gap": Gap}


def test_the_examples_of_the_page_are_frames() -> None:
    examples = [json.loads(text) for text in re.findall(r"^(?:client|gateway) +(\{.*\})$", PAGE, re.MULTILINE)]
    assert {example["type"] for example in examples} == {"hello", "ready", "notice"}
    for example in examples:
        frame = FRAMES[example["type"]].model_validate(example)
        assert json.loads(frame.model_dump_json()) == example


@pytest.mark.parametrize("name", FRAMES)
def test_the_page_names_every_field(name: str) -> None:
    for field in FRAMES[name].model_fields:
        assert field == "type" or f"`{field}`" in PAGE, (name, field)


def test_the_page_names_every_code_with_its_reason() -> None:
    told = dict(re.findall(r"^\| (4\d\d\d) \| (.*) \|$", PAGE, re.MULTILINE))
    assert {int(code) for code in told} == set(CloseCode)
    assert all(told[str(code.value)].startswith(code.reason) for code in CloseCode)


def test_a_notice_on_the_wire_is_the_frame_that_the_page_describes() -> None:
    told = LiveNotice(notice(1))
    for frame in (told.frame, told.frame_out_of_order):
        NoticeTold.model_validate_json(frame[4:])


@given(
    st.text() | st.dictionaries(st.sampled_from(["type", "v", "token", "more"]), st.text() | st.none()).map(json.dumps)
)
def test_what_is_no_hello_is_refused(text: str) -> None:
    with pytest.raises(BadFrame):
        read_hello(text)
