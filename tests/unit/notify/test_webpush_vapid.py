"""Who sends: tokens that push services accept, one for each of them, never for longer than a day."""

from __future__ import annotations

import json

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey
from pydantic import SecretStr, ValidationError

from deploy.local.credentials import P256_ORDER, p256_private_key
from notify.webpush import vapid as vapid_module
from notify.webpush.keys import CURVE, decode_base64url, private_key, public_key
from notify.webpush.settings import WebPushSettings
from notify.webpush.vapid import Vapid, origin_of

KEY = private_key("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw")
HOUR = 3600.0


class Clock:
    """A time of day that the test sets."""

    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def claims_of(header: str) -> dict[str, object]:
    scheme, _, parameters = header.partition(" ")
    assert scheme == "vapid"
    token, key = (parameter.partition("=")[2] for parameter in parameters.split(", "))
    verified = ECKey.import_key(public_key(decode_base64url(key)))
    decoded = jwt.decode(token, verified, algorithms=["ES256"])
    assert decoded.header == {"typ": "JWT", "alg": "ES256"}
    return dict(decoded.claims)


def test_the_token_is_for_the_origin_of_the_push_service() -> None:
    clock = Clock()
    signer = Vapid(KEY, "mailto:someone@example.org", clock=clock)
    claims = claims_of(signer.authorization("https://push.example.net/wpush/v2/secret"))
    assert claims == {
        "aud": "https://push.example.net",
        "exp": clock.now + 12 * HOUR,
        "sub": "mailto:someone@example.org",
    }
    assert "secret" not in json.dumps(claims)


def test_without_a_contact_there_is_none_in_the_token() -> None:
    assert "sub" not in claims_of(Vapid(KEY).authorization("https://push.example.net/1"))


def test_one_signature_serves_a_push_service_until_an_hour_before_its_end() -> None:
    clock = Clock()
    signer = Vapid(KEY, clock=clock)
    first = signer.authorization("https://push.example.net/1")
    clock.now += 10.9 * HOUR
    assert signer.authorization("https://push.example.net/2") == first
    assert signer.authorization("https://other.example.net/2") != first
    clock.now += 0.2 * HOUR
    renewed = signer.authorization("https://push.example.net/1")
    assert claims_of(renewed)["exp"] == int(clock.now) + 12 * HOUR


def test_the_signatures_that_are_kept_are_bounded() -> None:
    signer = Vapid(KEY)
    first = signer.authorization("https://first.example.net/")
    for number in range(vapid_module.ORIGINS_MAX - 1):
        signer.authorization(f"https://{number}.example.net/")
    assert signer.authorization("https://first.example.net/") == first, "used last, so kept"
    signer.authorization("https://one-more.example.net/")
    assert signer.authorization("https://first.example.net/") == first
    assert len(signer._signed) == vapid_module.ORIGINS_MAX


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://Push.Example.net/a?b#c", "https://push.example.net"),
        ("https://push.example.net:443/a", "https://push.example.net"),
        ("https://push.example.net:8443/a", "https://push.example.net:8443"),
        ("http://127.0.0.1:80/a", "http://127.0.0.1"),
        ("https://[2001:db8::1]:8443/a", "https://[2001:db8::1]:8443"),
        ("https://name@push.example.net/a", "https://push.example.net"),
    ],
)
def test_origins(url: str, origin: str) -> None:
    assert origin_of(url) == origin


def test_a_new_key_is_one_of_the_curve() -> None:
    keys = {p256_private_key() for _ in range(20)}
    assert len(keys) == 20
    for text in keys:
        assert private_key(text).curve.name == CURVE.name
    assert private_key_of_number(P256_ORDER - 1)
    with pytest.raises(ValueError, match="is no private key"):
        private_key_of_number(P256_ORDER)


def private_key_of_number(number: int) -> bool:
    from notify.webpush.keys import encode_base64url

    return private_key(encode_base64url(number.to_bytes(32))) is not None


def test_without_a_key_web_push_is_off() -> None:
    assert WebPushSettings().vapid_key() is None
    assert WebPushSettings(notify_vapid_private_key=SecretStr("")).vapid_key() is None, "a line without a value"


@pytest.mark.parametrize("text", ["hunter2", "A" * 43, "-----BEGIN PRIVATE KEY-----"])
def test_a_key_that_is_none_is_told_without_being_repeated(text: str) -> None:
    with pytest.raises(ValidationError) as raised:
        WebPushSettings(notify_vapid_private_key=SecretStr(text))
    assert text not in str(raised.value)


@pytest.mark.parametrize("subject", ["someone@example.org", "http://example.org", "mailto:nobody", "https://"])
def test_a_contact_is_an_address_that_people_can_use(subject: str) -> None:
    with pytest.raises(ValidationError, match="must be mailto:"):
        WebPushSettings(notify_vapid_subject=subject)
