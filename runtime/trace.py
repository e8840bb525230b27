"""One trace id from the request through the bus into every log line (W3C Trace Context, level 1)."""

import re
import secrets
from contextvars import ContextVar, Token
from dataclasses import dataclass

# version 00 exactly; later versions may append fields after the flags (https://www.w3.org/TR/trace-context/#versioning)
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_TRACEPARENT_CHARACTERS_MAX = 128


@dataclass(frozen=True, slots=True)
class Trace:
    """Where we are: the journey (`trace_id`, 32 hex digits) and our own step of it (`span_id`, 16)."""

    trace_id: str
    span_id: str
    sampled: bool = True

    @property
    def traceparent(self) -> str:
        """The header's value that hands this trace on."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"


_current: ContextVar[Trace | None] = ContextVar("trace", default=None)


def current_trace() -> Trace | None:
    """The trace of the work being done, or None outside any."""
    return _current.get()


class TraceScope:
    """Makes a trace the current one, for the length of a `with`.

    A class and no generator, because there is one for each open WebSocket: 60 bytes instead of 600.
    """

    __slots__ = ("_token", "_trace")

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._token: Token[Trace | None] | None = None

    def __enter__(self) -> Trace:
        self._token = _current.set(self._trace)
        return self._trace

    def __exit__(self, *_: object) -> None:
        if self._token is not None:
            _current.reset(self._token)


def trace_scope(traceparent: str | None = None) -> TraceScope:
    """Continue the trace of `traceparent` with a span of our own; None or a malformed value starts a new trace."""
    return TraceScope(_continued(traceparent) or Trace(secrets.token_hex(16), secrets.token_hex(8)))


def _continued(traceparent: str | None) -> Trace | None:
    if traceparent is None or len(traceparent) > _TRACEPARENT_CHARACTERS_MAX:
        return None
    match = _TRACEPARENT.fullmatch(traceparent.strip())
    if match is None or (traceparent.startswith("00") and match[4]):
        return None
    return Trace(match[1], secrets.token_hex(8), sampled=bool(int(match[3], 16) & 1))
