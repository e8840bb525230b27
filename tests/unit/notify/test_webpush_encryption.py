"""What a browser can decrypt: the example of RFC 8291, and messages of every size."""

from __future__ import annotations

import struct

import http_ece
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notify.webpush.encryption import PAYLOAD_BYTES_MAX, RECORD_BYTES, encrypt, encrypt_with
from notify.webpush.keys import (
    decode_base64url,
    encode_base64url,
    private_key,
    public_key,
)
from tests.unit.notify.browser import Browser

# RFC 8291, section 5 and appendix A.
PLAINTEXT = b"When I grow up, I want to be a watermelon"
AS_PRIVATE = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"
UA_PUBLIC = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
UA_PRIVATE = "q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94"
AUTH = "BTBZMqHH6r4Tts7J_aSIgg"
SALT = "DGv6ra1nlYgDCS1FRnbzlw"
BODY = (
    "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6"
    "cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
)


def test_the_example_of_rfc_8291() -> None:
    body = encrypt_with(
        PLAINTEXT,
        p256dh=decode_base64url(UA_PUBLIC),
        auth=decode_base64url(AUTH),
        salt=decode_base64url(SALT),
        key=private_key(AS_PRIVATE),
    )
    assert encode_base64url(body) == BODY
    assert Browser(private_key(UA_PRIVATE), decode_base64url(AUTH)).decrypt(body) == PLAINTEXT


@settings(max_examples=50, deadline=None)
@given(payload=st.binary(max_size=PAYLOAD_BYTES_MAX))
def test_the_browser_and_nobody_else_reads_what_was_written(payload: bytes) -> None:
    one, other = Browser(), Browser()
    body = encrypt(payload, p256dh=one.p256dh, auth=one.auth)
    assert one.decrypt(body) == payload
    with pytest.raises(http_ece.ECEException):
        other.decrypt(body)


def test_the_largest_payload_makes_one_record_that_every_push_service_takes() -> None:
    one = Browser()
    body = encrypt(b"x" * 3_993, p256dh=one.p256dh, auth=one.auth)
    assert (PAYLOAD_BYTES_MAX, len(body)) == (3_993, 4_096)
    assert struct.unpack_from("!L", body, 16) == (RECORD_BYTES,)
    with pytest.raises(ValueError, match="at most 3993 bytes, not 3994"):
        encrypt(b"x" * 3_994, p256dh=one.p256dh, auth=one.auth)


def test_neither_salt_nor_key_is_used_twice() -> None:
    one = Browser()
    bodies = [encrypt(b"the same", p256dh=one.p256dh, auth=one.auth) for _ in range(50)]
    assert len({body[:16] for body in bodies}) == len({body[21:86] for body in bodies}) == 50


@pytest.mark.parametrize(
    ("point", "said"),
    [
        (b"", "65 bytes"),
        (b"\x04" + b"\x00" * 63, "65 bytes"),
        (b"\x03" + b"\x01" * 64, "uncompressed point"),
        (b"\x04" + b"\x01" * 64, "not a point of P-256"),
        (b"\x04" + b"\x00" * 64, "not a point of P-256"),
        (b"\x00", "65 bytes"),
    ],
)
def test_a_key_that_is_no_point_of_the_curve_is_refused(point: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        public_key(point)


@pytest.mark.parametrize("text", ["", "short", "A" * 43, "_" * 43, "A" * 44, "not base64url!", "ä" * 43])
def test_what_is_no_private_key_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(ValueError, match=r"^(must be|is no)") as raised:
        private_key(text)
    assert not text or text not in str(raised.value)
