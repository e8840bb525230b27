"""Stream keys cannot be guessed, and are not kept."""

import hashlib

from streaming.channels.keys import PREFIX, digest, make_key


def test_a_key_holds_256_random_bits() -> None:
    made = {make_key() for _ in range(1_000)}
    assert len(made) == 1_000
    assert all(key.startswith(PREFIX) and len(key) == len(PREFIX) + 43 for key in made)


def test_what_is_kept_is_the_sha_256() -> None:
    assert digest("sk_abc") == hashlib.sha256(b"sk_abc").digest()


def test_any_text_has_a_digest() -> None:
    assert len(digest("\ud800")) == 32
