"""Codes by the test vectors of the RFCs, and the steps that are taken."""

import base64
from urllib.parse import parse_qs, urlsplit

import pytest

from accounts.totp_codes import (
    STEP_SECONDS,
    base32,
    code_at,
    is_totp_code,
    new_recovery_codes,
    new_secret,
    otpauth_uri,
    pair_of,
    recovery_hash,
    step_of,
    step_of_pair,
)

SECRET = b"12345678901234567890"  # of RFC 4226 Appendix D and RFC 6238 Appendix B


@pytest.mark.parametrize(
    ("seconds", "code"),
    [
        (59, "94287082"),
        (1111111109, "07081804"),
        (1111111111, "14050471"),
        (1234567890, "89005924"),
        (2000000000, "69279037"),
        (20000000000, "65353130"),
    ],
)
def test_the_vectors_of_rfc_6238(seconds: int, code: str) -> None:
    assert code_at(SECRET, seconds // STEP_SECONDS, digits=8) == code


def test_the_vectors_of_rfc_4226() -> None:
    codes = ["755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"]
    assert [code_at(SECRET, counter) for counter in range(10)] == codes


@pytest.mark.parametrize(("aside", "taken"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_a_clock_may_be_off_by_one_step(aside: int, taken: bool) -> None:
    now = 1_700_000_000
    step = now // STEP_SECONDS + aside
    assert step_of(SECRET, code_at(SECRET, step), now) == (step if taken else None)


def test_no_code_is_taken_that_is_none() -> None:
    assert [step_of(SECRET, code, 300) for code in ("", "755 224", "é" * 6, "1" * 32)] == [None] * 4


def test_an_app_understands_the_link() -> None:
    secret = new_secret()
    link = urlsplit(otpauth_uri(secret, issuer="Ann's & Co", username="ann"))
    assert (link.scheme, link.netloc, link.path) == ("otpauth", "totp", "/Ann%27s%20%26%20Co:ann")
    assert parse_qs(link.query)["issuer"] == ["Ann's & Co"]
    assert base64.b32decode(parse_qs(link.query)["secret"][0]) == secret
    assert base32(secret) in link.query


def test_recovery_codes_are_many_different_and_read_as_people_type_them() -> None:
    codes = new_recovery_codes()
    assert len(set(codes)) == 10
    assert not any(is_totp_code(code) for code in codes)
    assert recovery_hash(codes[0]) == recovery_hash(f" {codes[0].upper().replace('-', ' ')} ")


@pytest.mark.parametrize(
    ("first", "second", "step"),
    [(9, 10, 10), (10, 11, 11), (8, 9, 9), (10, 9, None), (10, 10, None), (7, 8, None), (11, 12, None), (8, 10, None)],
)
def test_two_codes_are_of_steps_that_follow_one_another_around_now(first: int, second: int, step: int | None) -> None:
    pair = f"{code_at(SECRET, first)} {code_at(SECRET, second)}"
    assert step_of_pair(SECRET, pair, 10 * STEP_SECONDS) == step


@pytest.mark.parametrize("text", ["", "123456", "12345678901", "1234567890123", "12345678901a", "12345678901\u0664"])
def test_what_is_no_pair(text: str) -> None:
    assert pair_of(text) is None
    assert step_of_pair(SECRET, text, 300) is None
    assert pair_of(" 123 456  789012") == ("123456", "789012")
