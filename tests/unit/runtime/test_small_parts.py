"""Ids, cursors, backoff, traces, logs and health: the small parts that everything leans on."""

import asyncio
import io
import json
import logging
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from runtime.backoff import Backoff, jittered
from runtime.health import Health
from runtime.ids import uuid7, uuid7_time
from runtime.logs import configure_logging
from runtime.pages import InvalidCursor, PageQuery, decode_cursor, encode_cursor
from runtime.trace import current_trace, trace_scope

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_ids_ascend_and_hold_their_time() -> None:
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    ids = [uuid7() for _ in range(2000)]
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)
    assert before <= uuid7_time(ids[0]) <= datetime.now(UTC)
    with pytest.raises(ValueError, match="version 4"):
        uuid7_time(uuid4())


@given(st.text().filter(lambda text: "\x00" not in text), st.integers(-(2**63), 2**63 - 1), st.uuids())
def test_cursors_come_back_as_they_went(text: str, number: int, identifier: UUID) -> None:
    try:
        cursor = encode_cursor(text, number, identifier)
        assert decode_cursor(cursor, str, int, UUID) == (text, number, identifier)
    except InvalidCursor:
        assert len(cursor) > 512


def test_a_cursor_keeps_a_moment() -> None:
    moment = datetime(2030, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    assert decode_cursor(encode_cursor(moment, uuid7()), datetime, UUID)[0] == moment


@given(st.one_of(st.text(), st.binary().map(lambda raw: encode_cursor(raw.hex()))))
def test_no_text_makes_the_decoder_raise_anything_else(text: str) -> None:
    try:
        decode_cursor(text, datetime, UUID)
    except InvalidCursor as refused:
        assert refused.status == 400


@pytest.mark.parametrize("parts", [("a", "b"), ("2030-01-02T03:04:05",), ("\x00",), (str(2**70),)])
def test_cursors_of_another_list_are_refused(parts: tuple[str, ...]) -> None:
    kinds = {1: (int,), 2: (datetime, UUID)}[len(parts)]
    with pytest.raises(InvalidCursor):
        decode_cursor(encode_cursor(*parts), *kinds)


def test_pages_are_limited() -> None:
    assert PageQuery().limit == 50
    with pytest.raises(ValueError, match="less than or equal to 100"):
        PageQuery(limit=101)


def test_backoff_doubles_to_its_ceiling_and_starts_again() -> None:
    backoff = Backoff(0.1, 1.0, jitter=0)
    assert [backoff.next_seconds() for _ in range(6)] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    assert backoff.attempts == 6
    backoff.reset()
    assert (backoff.next_seconds(), backoff.attempts) == (0.1, 1)


@given(st.floats(0.001, 1), st.floats(1, 100), st.floats(0, 1))
def test_jitter_only_shortens(first: float, ceiling: float, jitter: float) -> None:
    backoff = Backoff(first, ceiling, jitter)
    assert all(0 <= backoff.next_seconds() <= ceiling for _ in range(20))


def test_a_crowd_that_pauses_does_not_come_back_at_once() -> None:
    several = [jittered(10) for _ in range(50)]
    assert len(set(several)) > 1
    assert all(9 <= seconds <= 11 for seconds in several)
    assert {jittered(10, 1, 1), jittered(2, 5, 5)} == {10}


def test_a_trace_goes_on_with_a_span_of_its_own() -> None:
    with trace_scope(TRACEPARENT) as trace:
        assert current_trace() is trace
        assert trace.trace_id == "0af7651916cd43dd8448eb211c80319c"
        assert trace.span_id != "b7ad6b7169203331"
        with trace_scope(trace.traceparent) as inner:
            assert inner.trace_id == trace.trace_id
        assert current_trace() is trace
    assert current_trace() is None


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "nonsense",
        TRACEPARENT.upper(),
        TRACEPARENT.replace("0af7651916cd43dd8448eb211c80319c", "0" * 32),
        TRACEPARENT.replace("b7ad6b7169203331", "0" * 16),
        "ff" + TRACEPARENT[2:],
        TRACEPARENT + "-more",
        TRACEPARENT * 50,
    ],
)
def test_what_is_no_traceparent_starts_a_new_trace(header: str | None) -> None:
    with trace_scope(header) as trace:
        assert trace.trace_id != "0af7651916cd43dd8448eb211c80319c"
        assert len(trace.traceparent) == 55


def test_a_later_version_may_say_more() -> None:
    with trace_scope("01" + TRACEPARENT[2:-2] + "00-more") as trace:
        assert trace.trace_id == "0af7651916cd43dd8448eb211c80319c"
        assert trace.traceparent.endswith("-00")


@pytest.fixture
def log_lines() -> io.StringIO:
    """Where the lines go while this test has configured the logging."""
    stream = io.StringIO()
    configure_logging(service="tested", stream=stream)
    return stream


def test_every_line_is_json_with_trace_and_service_and_no_secret(log_lines: io.StringIO) -> None:
    password = "correct horse"
    with trace_scope(TRACEPARENT):
        try:
            raise ValueError("wrong")
        except ValueError:
            structlog.get_logger("ours").exception("it_failed", password=password, stream_id=7)
    logging.getLogger("theirs").warning("something %s", "odd")
    ours, theirs = (json.loads(line) for line in log_lines.getvalue().splitlines())
    assert ours["event"] == "it_failed"
    assert ours["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
    assert (ours["service"], ours["stream_id"], ours["password"]) == ("tested", 7, "[redacted]")
    assert ours["exception"][0]["exc_type"] == "ValueError"
    assert (theirs["event"], theirs["level"], theirs["logger"]) == ("something odd", "warning", "theirs")
    assert password not in log_lines.getvalue(), "not as a local variable in the traceback either"


async def test_health_names_what_is_unready_and_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.health.CHECK_TIMEOUT_SECONDS", 0.05)
    health = Health()

    def broken() -> None:
        raise ConnectionError("refused")

    async def hanging() -> None:
        await asyncio.Event().wait()

    health.watch("fine", lambda: None)
    health.watch("broken", broken)
    health.watch("hanging", hanging)
    assert await health.reasons() == {"fine": None, "broken": "refused", "hanging": "no answer within 0.05 s"}
    with pytest.raises(ValueError, match="already watched"):
        health.watch("fine", lambda: None)
