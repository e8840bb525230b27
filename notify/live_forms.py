"""What the live lane looks like on the wire: server-sent events, plain or in HTTP chunks, and WebSocket frames.

The bytes of a notice are made once for each form, however many clients get them.
"""

import json
from functools import cached_property
from typing import Protocol

from notify.notices import Notice
from runtime.websockets import text_frame


class LiveNotice:
    """A notice with its bytes in every form that somebody asked for."""

    def __init__(self, notice: Notice) -> None:
        self.notice = notice
        self.number = notice.notification_id.int
        """Its id as a number, which is compared and looked up for every client."""

    @cached_property
    def event(self) -> bytes:
        """The server-sent event that also moves the client's Last-Event-ID to this notice."""
        return f"id: {self.notice.notification_id}\n".encode() + self.event_out_of_order

    @cached_property
    def event_out_of_order(self) -> bytes:
        """The event for a client that already had a later notice: without an id, its Last-Event-ID stays there.

        The data is one line: JSON escapes line ends (HTML Standard, section 9.2.6, would split the field at them).
        """
        return b"event: notice\ndata: %s\n\n" % self._json

    @cached_property
    def chunk(self) -> bytes:
        """The event as an HTTP chunk."""
        return http_chunk(self.event)

    @cached_property
    def chunk_out_of_order(self) -> bytes:
        """The event without an id as an HTTP chunk."""
        return http_chunk(self.event_out_of_order)

    @cached_property
    def frame(self) -> bytes:
        """The WebSocket frame that also says where to come back from."""
        position = str(self.notice.notification_id).encode()
        return text_frame(b'{"type":"notice","last_event_id":"%s","notice":%s}' % (position, self._json))

    @cached_property
    def frame_out_of_order(self) -> bytes:
        """The frame for a client that already had a later notice."""
        return text_frame(b'{"type":"notice","last_event_id":null,"notice":%s}' % self._json)

    @cached_property
    def _json(self) -> bytes:
        return self.notice.model_dump_json().encode()


class Form(Protocol):
    """How one kind of connection is told things."""

    def notice(self, live: LiveNotice, *, in_order: bool) -> bytes:
        """A notice; one out of order must not move the client's position back."""
        ...

    def gap(self, replayed_max: int) -> bytes:
        """That more was missed than is replayed: the rest is in the inbox."""
        ...


class EventStream:
    """Server-sent events to a client that knows no chunks (HTTP/1.0)."""

    def notice(self, live: LiveNotice, *, in_order: bool) -> bytes:
        """An event `notice`."""
        return live.event if in_order else live.event_out_of_order

    def gap(self, replayed_max: int) -> bytes:
        """An event `gap`."""
        return f"event: gap\ndata: {json.dumps({'replayed_max': replayed_max})}\n\n".encode()


class ChunkedEventStream:
    """Server-sent events in HTTP chunks (RFC 9112, section 7.1)."""

    def notice(self, live: LiveNotice, *, in_order: bool) -> bytes:
        """An event `notice`."""
        return live.chunk if in_order else live.chunk_out_of_order

    def gap(self, replayed_max: int) -> bytes:
        """An event `gap`."""
        return http_chunk(EventStream().gap(replayed_max))


class Socket:
    """WebSocket text frames, described in docs/live-socket.md."""

    def notice(self, live: LiveNotice, *, in_order: bool) -> bytes:
        """A frame `notice`."""
        return live.frame if in_order else live.frame_out_of_order

    def gap(self, replayed_max: int) -> bytes:
        """A frame `gap`."""
        return text_frame(json.dumps({"type": "gap", "replayed_max": replayed_max}).encode())


def http_chunk(content: bytes) -> bytes:
    """One chunk of a body in chunks."""
    return b"%x\r\n%s\r\n" % (len(content), content)
