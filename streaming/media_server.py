"""What streaming asks of a media server: drop a publisher, and see that its stream has been closed."""

from typing import Protocol
from uuid import UUID

from streaming.ingest import Session


class MediaServer(Protocol):
    """A media server that publishers are connected to. Every call is bounded in time."""

    async def drop(self, session: Session) -> bool:
        """Cut a publisher off; False when it was not there any more. Raises MediaServerUnavailable."""
        ...

    async def wait_closed(self, stream_id: UUID) -> bool:
        """Wait until the stream's last segment is written; False: not in time. Raises MediaServerUnavailable."""
        ...
