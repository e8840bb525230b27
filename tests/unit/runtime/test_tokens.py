"""Verifying access tokens with fetched keys: which are refused, and how few fetches it takes."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any
from uuid import UUID

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from joserfc import jwt
from joserfc.jwk import OctKey, OKPKey

from runtime import tokens
from runtime.tokens import Caller, InvalidToken, KeysUnavailable, TokenVerifier, parse_key_set

USER = UUID(int=42)


def new_key() -> OKPKey:
    return OKPKey.generate_key("Ed25519", auto_kid=True)


def signed(key: OKPKey, *, algorithm: str = "Ed25519", kid: str | None = None, **claims: str | int | None) -> str:
    now = int(time.time())
    filled = {"iss": "livestream", "sub": str(USER), "name": "ann", "iat": now, "exp": now + 600, **claims}
    present = {name: value for name, value in filled.items() if value is not None}
    return jwt.encode({"alg": algorithm, "kid": kid or key.kid}, present, key, algorithms=[algorithm])


class KeyServer:
    """Stands for the accounts service; counts how often it is asked."""

    def __init__(self) -> None:
        self.keys: list[OKPKey] = []
        self.status = 200
        self.asked = 0
        self.url = ""

    async def answer(self, _request: web.Request) -> web.Response:
        """The key set."""
        self.asked += 1
        key_set = {"keys": [key.as_dict(private=False) for key in self.keys]}
        return web.Response(status=self.status, text=json.dumps(key_set), content_type="application/json")


@pytest.fixture
async def key_server() -> AsyncIterator[KeyServer]:
    server = KeyServer()
    server.keys.append(new_key())
    application = web.Application()
    application.router.add_get("/jwks", server.answer)
    async with TestServer(application) as listening:
        server.url = str(listening.make_url("/jwks"))
        yield server


@pytest.fixture
async def verifier(key_server: KeyServer) -> TokenVerifier:
    """One that fetches at the first token, as no background refresh runs."""
    return TokenVerifier(key_server.url, "livestream")


async def test_a_good_token_names_its_caller(verifier: TokenVerifier, key_server: KeyServer) -> None:
    token = signed(key_server.keys[0])
    assert await verifier.verify(token) == Caller(USER, "ann")
    assert await verifier.verify(token) == Caller(USER, "ann")
    assert key_server.asked == 1


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": int(time.time()) - 60}, "expired"),
        ({"exp": None}, "exp"),
        ({"iss": "somebody"}, "iss"),
        ({"iss": None}, "iss"),
        ({"sub": "seven"}, "malformed"),
        ({"sub": None}, "sub"),
        ({"name": 7}, "malformed"),
        ({"name": None}, "name"),
        ({"exp": "soon"}, "exp"),
    ],
)
async def test_claims_that_let_nobody_in(
    verifier: TokenVerifier, key_server: KeyServer, claims: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InvalidToken, match=reason):
        await verifier.verify(signed(key_server.keys[0], **claims))


async def test_signatures_that_let_nobody_in(verifier: TokenVerifier, key_server: KeyServer) -> None:
    good = signed(key_server.keys[0])
    head, body, signature = good.split(".")
    forged = {
        "another key under our id": signed(new_key(), kid=key_server.keys[0].kid),
        "another body": ".".join([head, signed(key_server.keys[0], name="eve").split(".")[1], signature]),
        "no signature": f"{head}.{body}.",
        "another algorithm": jwt.encode(
            {"alg": "HS256", "kid": key_server.keys[0].kid},
            {"sub": str(USER)},
            OctKey.import_key(json.dumps(key_server.keys[0].as_dict(private=False))),
        ),
        "no algorithm": "eyJhbGciOiJub25lIiwia2lkIjoieCJ9.e30.",
        "not a token": "nonsense",
        "nothing": "",
        "too long": good + "x" * 3000,
    }
    for name, token in forged.items():
        with pytest.raises(InvalidToken):
            await verifier.verify(token)
            pytest.fail(f"let in: {name}")


async def test_a_new_key_is_fetched_once_and_unknown_ones_do_not_flood(
    verifier: TokenVerifier, key_server: KeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await verifier.verify(signed(key_server.keys[0]))
    monkeypatch.setattr(tokens, "KEYS_FORCED_REFRESH_SECONDS_MIN", 0.0)
    key_server.keys.append(new_key())
    rotated = signed(key_server.keys[1])
    callers = await asyncio.gather(*(verifier.verify(rotated) for _ in range(10)))
    assert callers == [Caller(USER, "ann")] * 10
    assert key_server.asked == 2
    monkeypatch.setattr(tokens, "KEYS_FORCED_REFRESH_SECONDS_MIN", 60.0)
    stranger = signed(new_key())
    for _ in range(10):
        with pytest.raises(InvalidToken, match="not ours"):
            await verifier.verify(stranger)
    assert key_server.asked == 2


async def test_without_keys_nothing_is_said_and_recovery_needs_no_restart(
    key_server: KeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    key_server.status = 500
    verifier = TokenVerifier(key_server.url, "livestream")
    running = asyncio.create_task(verifier.run())
    token = signed(key_server.keys[0])
    with pytest.raises(KeysUnavailable):
        await verifier.verify(token)
    with pytest.raises(KeysUnavailable):
        verifier.check()
    key_server.status = 200
    async with asyncio.timeout(10):
        while True:
            with suppress(KeysUnavailable):
                verifier.check()
                break
            await asyncio.sleep(0.01)
    assert await verifier.verify(token) == Caller(USER, "ann")
    key_server.status = 500
    assert await verifier.verify(token) == Caller(USER, "ann"), "known keys serve on while accounts is away"
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_keys_of_other_kinds_are_passed_over() -> None:
    ours = new_key()
    content = {
        "keys": [
            ours.as_dict(private=False),
            {"kty": "RSA", "kid": "r", "n": "AQAB", "e": "AQAB"},
            {"kty": "OKP", "crv": "X25519", "kid": "x", "x": "AAAA"},
            {"kty": "OKP", "crv": "Ed25519", "x": "AAAA"},
        ]
    }
    assert list(parse_key_set(json.dumps(content).encode())) == [ours.kid]
