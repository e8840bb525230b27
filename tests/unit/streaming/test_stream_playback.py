"""Signed addresses and invitations: for one stream, until one moment, by one secret."""

import base64
import hashlib
import re
from datetime import UTC, datetime, timedelta
from uuid import UUID

from pydantic import SecretStr

from streaming.streams.playback import PlaybackSigner, earlier

STREAM, OTHER = (UUID(f"01930000-0000-7000-8000-00000000000{number}") for number in (1, 2))
UNTIL = datetime(2026, 5, 4, 18, 30, 0, 999_999, tzinfo=UTC)
SIGNER = PlaybackSigner(SecretStr("sixteen-characters"))


def test_an_address_is_what_nginx_makes_of_it() -> None:
    signed = SIGNER.sign(STREAM, UNTIL)
    found = re.fullmatch(r"/live/~([0-9]{10})\.([A-Za-z0-9_-]{22})/([0-9a-f-]{36})/index\.m3u8", signed.url)
    assert found is not None
    said = f"{found[1]} {found[3]} sixteen-characters"
    digest = hashlib.md5(said.encode(), usedforsecurity=False).digest()
    assert found[2] == base64.urlsafe_b64encode(digest).decode().rstrip("=")
    assert signed.expires_at == UNTIL.replace(microsecond=0)
    assert SIGNER.sign(OTHER, UNTIL).url.split("/")[2] != signed.url.split("/")[2]


def test_an_invitation_is_for_its_stream_alone() -> None:
    invitation = SIGNER.invite(STREAM, UNTIL)
    assert SIGNER.invited_until((OTHER, STREAM), invitation) == UNTIL.replace(microsecond=0)
    assert SIGNER.invited_until((OTHER,), invitation) is None
    assert PlaybackSigner(SecretStr("another-characters")).invited_until((STREAM,), invitation) is None
    expires, digest = invitation.split(".")
    for forged in (
        f"{int(expires) + 1}.{digest}",
        f"{expires}.{digest[:-1]}",
        "",
        ".",
        f"{invitation}\n",
        f"é{invitation}",
    ):
        assert SIGNER.invited_until((STREAM,), forged) is None


def test_an_address_is_no_invitation_and_the_other_way_round() -> None:
    signature = SIGNER.sign(STREAM, UNTIL).url.split("/")[2].removeprefix("~")
    assert SIGNER.invited_until((STREAM,), signature) is None


def test_the_earlier_of_two_moments() -> None:
    assert earlier(UNTIL, 60, None) == UNTIL + timedelta(minutes=1)
    assert earlier(UNTIL, 60, UNTIL) == UNTIL
