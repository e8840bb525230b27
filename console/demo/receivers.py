"""Those who are told outside of the site: browsers by Web Push, and an endpoint of the streamer's own by webhooks.

Both are played by a small server of the demo's. It believes nothing: a push must be signed by the key that the site
shows and encrypted for this very browser, a webhook must be signed with the secret that its owner was given.
"""

import base64
import hashlib
import hmac
import json
import os
import time
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jwt
from joserfc.jwk import ECKey

from console.demo.steps import check

RECORD_HEAD_BYTES = 16 + 4 + 1  # salt, record size, length of the sender's key (RFC 8188, section 2.1)
CLOCK_SECONDS_MAX = 300


@dataclass
class Browser:
    """A browser that has subscribed. ``heard`` has (payload, wall-clock seconds of its arrival)."""

    number: int
    heard: list[tuple[dict[str, Any], float]] = field(default_factory=list)
    topics: list[str] = field(default_factory=list)
    _key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    _secret: bytes = field(default_factory=lambda: os.urandom(16))

    def subscription(self, url: str) -> dict[str, Any]:
        """What the browser gives to the site, in the form of ``PushSubscription.toJSON()``."""
        keys = {"p256dh": _base64url(self._public), "auth": _base64url(self._secret)}
        return {"endpoint": f"{url}/push/{self.number}", "keys": keys}

    def read(self, body: bytes) -> dict[str, Any]:
        """Decrypt a message (RFC 8291, section 3.4); raises where it was not made for this browser."""
        salt, sender = body[:16], body[RECORD_HEAD_BYTES : RECORD_HEAD_BYTES + body[20]]
        shared = self._key.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), sender))
        secret = _derived(self._secret, shared, b"WebPush: info\0" + self._public + sender, 32)
        key = _derived(salt, secret, b"Content-Encoding: aes128gcm\0", 16)
        nonce = _derived(salt, secret, b"Content-Encoding: nonce\0", 12)
        padded = AESGCM(key).decrypt(nonce, body[RECORD_HEAD_BYTES + body[20] :], None)
        payload: dict[str, Any] = json.loads(padded.rstrip(b"\0").removesuffix(b"\x02"))
        return payload

    @property
    def _public(self) -> bytes:
        return self._key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


class Receivers:
    """The server: a push service with its browsers, and the streamer's endpoint. An async context manager.

    Attributes: ``url``; ``vapid_key`` and ``webhook_secret``, to be set before anything arrives; ``browsers``;
    ``webhooks``, (body, id, wall-clock seconds) of each.
    """

    def __init__(self, browsers: int) -> None:
        self.browsers = [Browser(number) for number in range(browsers)]
        self.webhooks: list[tuple[dict[str, Any], str, float]] = []
        self.vapid_key = ""
        self.webhook_secret = ""
        self.url = ""

    async def __aenter__(self) -> "Receivers":
        app = web.Application()
        app.router.add_post("/push/{number}", self._take_push)
        app.router.add_post("/webhook", self._take_webhook)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _take_push(self, request: web.Request) -> web.Response:
        browser = self.browsers[int(request.match_info["number"])]
        self._check_vapid(request.headers["Authorization"])
        check(int(request.headers["TTL"]) > 0, "a time to live", request.headers["TTL"])
        browser.heard.append((browser.read(await request.read()), time.time()))
        browser.topics.append(request.headers["Topic"])
        return web.Response(status=201)

    async def _take_webhook(self, request: web.Request) -> web.Response:
        body, headers = await request.read(), request.headers
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        key = base64.b64decode(self.webhook_secret.removeprefix("whsec_"))
        wanted = f"v1,{base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()}"
        check(wanted in headers["webhook-signature"].split(), "the webhook's signature", headers["webhook-signature"])
        check(abs(int(headers["webhook-timestamp"]) - time.time()) < CLOCK_SECONDS_MAX, "a fresh webhook", headers)
        self.webhooks.append((json.loads(body), headers["webhook-id"], time.time()))
        return web.Response(status=204)

    def _check_vapid(self, authorization: str) -> None:
        """RFC 8292, section 3: signed by the key that the site shows, for this push service."""
        scheme, _, rest = authorization.partition(" ")
        shown = dict(part.strip().split("=", 1) for part in rest.split(","))
        check(scheme == "vapid" and shown["k"] == self.vapid_key, "the site's own key", shown.get("k"))
        point = base64.urlsafe_b64decode(shown["k"] + "=" * (-len(shown["k"]) % 4))
        key = ECKey.import_key({"kty": "EC", "crv": "P-256", "x": _base64url(point[1:33]), "y": _base64url(point[33:])})
        claims = jwt.decode(shown["t"], key, algorithms=["ES256"]).claims
        check(claims["aud"] == self.url and claims["exp"] > time.time(), f"a token for {self.url}", claims)


def _derived(salt: bytes, secret: bytes, info: bytes, length: int) -> bytes:
    return HKDF(SHA256(), length, salt, info).derive(secret)


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
