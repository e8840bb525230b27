"""What is sealed opens with the secret it was sealed with, for whom it was sealed."""

import pytest

from accounts.errors import SealBroken
from accounts.sealing import KeyedHash, seal, unseal

SECRET = b"k" * 32


def test_it_opens_for_its_owner_alone() -> None:
    sealed = seal(b"open sesame", SECRET, "ann")
    assert "sesame" not in sealed
    assert unseal(sealed, SECRET, "ann") == b"open sesame"
    for secret, owner in ((b"x" * 32, "ann"), (SECRET, "bob")):
        with pytest.raises(SealBroken, match=owner):
            unseal(sealed, secret, owner)
    with pytest.raises(SealBroken):
        unseal(sealed[:-4] + "AAAA", SECRET, "ann")


def test_hashes_differ_by_secret_and_by_purpose() -> None:
    hashes = {KeyedHash(secret, purpose)("ann") for secret in (SECRET, b"x" * 32) for purpose in ("names", "addresses")}
    assert len(hashes) == 4
    assert {len(one) for one in hashes} == {32}
