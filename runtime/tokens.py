"""Access tokens: EdDSA JWTs, verified locally with the public keys that the accounts service publishes."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

import aiohttp
import structlog
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey
from joserfc.jws import extract_compact

from runtime import metrics
from runtime.backoff import Backoff

log = structlog.get_logger(__name__)

ALGORITHM = (
    "Ed25519"  # EdDSA by its fully specified name: RFC 9864 §2.2 deprecates `EdDSA`, which leaves the curve open
)
TOKEN_CHARACTERS_MAX = 2048
CLOCK_SKEW_SECONDS = 5
KEYS_REFRESH_SECONDS = 300.0
# However many unknown key ids arrive, the accounts service is asked this often at most.
KEYS_FORCED_REFRESH_SECONDS_MIN = 2.0
KEYS_FETCH_TIMEOUT_SECONDS = 3.0
KEY_SET_BYTES_MAX = 65_536


class InvalidToken(Exception):
    """The token is not one that lets anybody in; the text says why and never repeats the token."""


class KeysUnavailable(Exception):
    """No keys have been fetched yet, so nothing can be said about any token."""


@dataclass(frozen=True)
class Caller:
    """Who makes a request, as their access token says."""

    user_id: UUID
    name: str
    operator: bool = False
    """Whether this person runs the installation, and may end or kick streams of others."""
    session_id: UUID | None = None
    """The login that the token comes from, as accounts knows it."""


class Verifier(Protocol):
    """Something that tells the caller from an access token."""

    async def verify(self, token: str) -> Caller:
        """The caller; raises InvalidToken or KeysUnavailable."""
        ...


class TokenVerifier:
    """Verifies access tokens with the keys at `jwks_url`; a Service that keeps those keys fresh in the background."""

    name = "token-verifier"

    def __init__(self, jwks_url: str, issuer: str) -> None:
        self._jwks_url = jwks_url
        self._issuer = issuer
        self._keys: dict[str, OKPKey] = {}
        self._fetched = False
        self._fetching = asyncio.Lock()
        self._forced_at = float("-inf")

    async def run(self) -> None:
        """Fetch the keys until they are there, then again every five minutes, until cancelled."""
        backoff = Backoff(first_seconds=0.1, ceiling_seconds=2.0)
        started = asyncio.get_running_loop().time()
        while True:
            if await self._fetch():
                backoff.reset()
                await asyncio.sleep(KEYS_REFRESH_SECONDS)
            else:
                if not self._fetched:
                    waited = round(asyncio.get_running_loop().time() - started, 1)
                    log.warning("waiting_for_signing_keys", jwks_url=self._jwks_url, waited_seconds=waited)
                await backoff.wait()

    def check(self) -> None:
        """For Health.watch: raises KeysUnavailable until the keys were fetched once."""
        if not self._fetched:
            raise KeysUnavailable(f"no signing keys from {self._jwks_url} yet")

    async def verify(self, token: str) -> Caller:
        """The caller whose token this is; raises InvalidToken, or KeysUnavailable before the first fetch."""
        key_id = token_key_id(token)
        if key_id not in self._keys:
            await self._refresh_for(key_id)
        if not self._fetched:
            metrics.token_checks.labels("keys_unavailable").inc()
            raise KeysUnavailable(f"no signing keys from {self._jwks_url} yet")
        key = self._keys.get(key_id)
        if key is None:
            metrics.token_checks.labels("unknown_key").inc()
            raise InvalidToken("it is signed with a key that is not ours")
        return verify_with(key, token, self._issuer)

    async def _refresh_for(self, key_id: str) -> None:
        async with self._fetching:
            now = asyncio.get_running_loop().time()
            if key_id in self._keys or now - self._forced_at < KEYS_FORCED_REFRESH_SECONDS_MIN:
                return
            self._forced_at = now
            await self._fetch()

    async def _fetch(self) -> bool:
        try:
            keys = await _fetch_keys(self._jwks_url)
        except (aiohttp.ClientError, TimeoutError, OSError, JoseError, ValueError, KeyError, TypeError) as error:
            metrics.key_set_fetches.labels("failed").inc()
            log.warning("signing_keys_not_fetched", jwks_url=self._jwks_url, reason=str(error) or type(error).__name__)
            return False
        metrics.key_set_fetches.labels("fetched").inc()
        if keys.keys() != self._keys.keys():
            log.info("signing_keys_changed", key_ids=sorted(keys))
        self._keys = keys
        self._fetched = True
        return True


def token_key_id(token: str) -> str:
    """The `kid` of a token's header, nothing verified; raises InvalidToken."""
    if len(token) > TOKEN_CHARACTERS_MAX:
        raise InvalidToken("it is too long")
    try:
        header: Mapping[str, Any] = extract_compact(token.encode()).headers()
    except (JoseError, ValueError) as error:
        raise InvalidToken("it is not a JWT") from error
    key_id = header.get("kid")
    if header.get("alg") != ALGORITHM or not isinstance(key_id, str):
        raise InvalidToken(f"its header must have alg {ALGORITHM} and a kid")
    return key_id


def verify_with(key: OKPKey, token: str, issuer: str) -> Caller:
    """The caller of a token that `key` signed, with signature, issuer and expiry checked; raises InvalidToken."""
    claims_rules = jwt.JWTClaimsRegistry(
        leeway=CLOCK_SKEW_SECONDS,
        iss={"essential": True, "value": issuer},
        sub={"essential": True},
        exp={"essential": True},
        name={"essential": True},
    )
    try:
        claims = jwt.decode(token, key, algorithms=[ALGORITHM]).claims
        claims_rules.validate(claims)
        session_id = claims.get("sid")
        caller = Caller(
            user_id=UUID(claims["sub"]),
            name=_text(claims["name"]),
            operator=claims.get("operator") is True,
            session_id=None if session_id is None else UUID(session_id),
        )
    except (JoseError, ValueError, AttributeError, TypeError) as error:
        reason = error.description or error.error if isinstance(error, JoseError) else "malformed claims"
        metrics.token_checks.labels("refused").inc()
        raise InvalidToken(reason) from error
    metrics.token_checks.labels("accepted").inc()
    return caller


def _text(claim: object) -> str:
    if not isinstance(claim, str):
        raise TypeError("a claim that must be text is not")
    return claim


async def _fetch_keys(url: str) -> dict[str, OKPKey]:
    timeout = aiohttp.ClientTimeout(total=KEYS_FETCH_TIMEOUT_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url, allow_redirects=False) as answer:
        if answer.status != 200:
            raise ValueError(f"the key set was answered with status {answer.status}")
        content = await answer.content.read(KEY_SET_BYTES_MAX + 1)
        while len(content) <= KEY_SET_BYTES_MAX and (more := await answer.content.read(KEY_SET_BYTES_MAX)):
            content += more
    if len(content) > KEY_SET_BYTES_MAX:
        raise ValueError(f"the key set has more than {KEY_SET_BYTES_MAX} bytes")
    return parse_key_set(content)


def parse_key_set(content: bytes) -> dict[str, OKPKey]:
    """The Ed25519 keys of a JWK Set (RFC 7517 §5) by their `kid`; others are passed over, as §5 says to."""
    keys = {}
    for one in json.loads(content)["keys"]:
        if one.get("kty") == "OKP" and one.get("crv") == "Ed25519" and isinstance(one.get("kid"), str):
            keys[one["kid"]] = OKPKey.import_key({name: one[name] for name in ("kty", "crv", "x", "kid")})
    return keys
