"""What one service brings into a process, put together and not yet running: alone or beside others."""

from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from runtime.read_pool_http import ReadsAfterWrites
from runtime.service import Service
from runtime.tokens import Verifier


@dataclass(frozen=True)
class Assembly:
    """The APIs for the process's HTTP server and the services to supervise.

    `verifier` is what knows access tokens, `reads` what the server asks how far who has written must see.
    """

    apis: Sequence[object] = ()
    services: Sequence[Service] = ()
    verifier: Verifier | None = None
    reads: ReadsAfterWrites | None = None

    def services_of(self, part: str) -> list[Service]:
        """The services under names that begin with ``part``, which their log lines carry too."""
        return [_PartOfProcess(part, service) for service in self.services]


class _PartOfProcess:
    """A service of one part; several parts have a relay, and one that fails must be told from the others."""

    def __init__(self, part: str, service: Service) -> None:
        self.name = f"{part}-{service.name}"
        self._part = part
        self._service = service

    async def run(self) -> None:
        """Run the service; its task, and whatever it starts, logs with the part."""
        with structlog.contextvars.bound_contextvars(part=self._part):
            await self._service.run()
