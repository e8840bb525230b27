"""The people of the story, as the HTTP API knows them: they register, log in, follow, stream, read notices."""

import secrets
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import aiohttp

from console.demo.steps import StepFailed

REQUEST_TIMEOUT = aiohttp.ClientTimeout(total=10)


@dataclass(frozen=True)
class Person:
    """A logged-in user. The token is a secret: it goes into headers and first messages, never into a URL."""

    user_id: UUID
    username: str
    access_token: str
    refresh_token: str

    @property
    def headers(self) -> dict[str, str]:
        """The headers of a request made as this person."""
        return {"Authorization": f"Bearer {self.access_token}"}


class Origin:
    """The public origin as an outsider's HTTP client sees it."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.session = session
        self.url = url

    async def call(
        self, method: str, path: str, *, person: Person | None = None, body: Any = None, status: int | None = 200
    ) -> Any:
        """One request; the decoded answer. Raises StepFailed on any other status (with None: than a success)."""
        headers = person.headers if person else {}
        async with self.session.request(
            method, self.url + path, json=body, headers=headers, timeout=REQUEST_TIMEOUT
        ) as answer:
            text = await answer.text()
            if answer.status != status and not (status is None and answer.ok):
                raise StepFailed(f"{method} {path} to answer {status or 'well'}", f"{answer.status} {text[:300]}")
            return await answer.json() if text else None

    async def text(self, path: str) -> tuple[int, str]:
        """Status and text of a GET, whatever the status."""
        async with self.session.get(self.url + path, timeout=REQUEST_TIMEOUT) as answer:
            return answer.status, await answer.text()

    async def register(self, prefix: str) -> Person:
        """A new person: registered and logged in, with a password that nobody knows."""
        username, password = f"{prefix}_{secrets.token_hex(4)}", secrets.token_urlsafe(24)
        registered = await self.call(
            "POST", "/api/auth/register", body={"username": username, "password": password}, status=201
        )
        login = await self.call("POST", "/api/auth/login", body={"username": username, "password": password})
        return Person(UUID(registered["user_id"]), username, login["access_token"], login["refresh_token"])
