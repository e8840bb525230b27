"""Repeated requests that do their work once: what an Idempotency-Key is, and the port to what is kept under it.

After draft-ietf-httpapi-idempotency-key-header-07. The same user, endpoint, key and request get the first answer again
for 24 hours. Whoever sends a key would rather have nothing done than something twice, so a request of which nobody
knows whether it was done (its process died) is not done again: it is answered with OutcomeUnknown until the key
expires.
"""

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Protocol

from runtime.problems import Conflict, InvalidRequest, Problem, Unavailable

HEADER = "Idempotency-Key"
REPLAYED_HEADER = "Idempotency-Replayed"
KEY_CHARACTERS_MAX = 255
KEPT_SECONDS = 86_400
KEPT_KEYS_PER_USER_MAX = 1_000
ANSWER_BYTES_MAX = 16_384
RUNNING_SECONDS_MAX = 60
"""After this a request without an answer is one whose process has died."""

# The draft's String (RFC 9651 §3.3.3), and the bare text that most clients send; without characters that end a String.
_KEY = re.compile(rf'(?P<quote>"?)(?P<key>[\x21\x23-\x2b\x2d-\x5b\x5d-\x7e]{{1,{KEY_CHARACTERS_MAX}}})(?P=quote)')


class InvalidIdempotencyKey(InvalidRequest):
    """The Idempotency-Key is none."""

    type = "invalid-idempotency-key"
    title = "The Idempotency-Key cannot be used"


class IdempotencyKeyReused(Problem):
    """The key was used for another request."""

    status = 422
    type = "idempotency-key-reused"
    title = "The Idempotency-Key was used for another request"


class StillRunning(Conflict):
    """The first request with this key is not done yet; Retry-After says when to ask again."""

    type = "idempotent-request-running"
    title = "The first request with this Idempotency-Key still runs"


class OutcomeUnknown(Conflict):
    """The process that had the first request is gone: it may have been done."""

    type = "idempotent-outcome-unknown"
    title = "It is not known whether the first request with this Idempotency-Key was done"


class IdempotencyNotKept(Unavailable):
    """Keys cannot be kept right now, and whoever sends one wants it kept."""

    type = "idempotency-not-kept"
    title = "Idempotency-Keys cannot be kept right now"


PROBLEMS: Final = (InvalidIdempotencyKey, IdempotencyKeyReused, StillRunning, OutcomeUnknown, IdempotencyNotKept)


@dataclass(frozen=True)
class Attempt:
    """One request with a key: whose, under which name it is kept, and what it asks, both as digests."""

    user: str
    name: str
    request: str
    owner: str
    """Of this attempt alone; who has not begun the work cannot end it."""


@dataclass(frozen=True)
class Kept:
    """What is kept under the name. Without an answer the work runs, or its process is gone (`abandoned`)."""

    request: str
    abandoned: bool
    answer: bytes | None


class RepeatsAway(Exception):
    """Nothing can be kept or looked up right now."""


class Repeats(Protocol):
    """Keeps the answers."""

    async def begin(self, attempt: Attempt) -> Kept | None:
        """What is kept under the attempt's name; None if nothing was, and the work is this attempt's now.

        Raises RepeatsAway.
        """
        ...

    async def keep(self, attempt: Attempt, answer: bytes) -> None:
        """Keep the answer of the work that this attempt began; raises RepeatsAway."""
        ...

    async def forget(self, attempt: Attempt) -> None:
        """The work that this attempt began has failed and may be tried again; raises RepeatsAway."""
        ...


def read_key(values: list[str]) -> str:
    """The key in the header's values; raises InvalidIdempotencyKey."""
    match = _KEY.fullmatch(values[0].strip()) if len(values) == 1 else None
    if match is None:
        raise InvalidIdempotencyKey(
            f"{HEADER} must be there once, with 1 to {KEY_CHARACTERS_MAX} visible ASCII characters other than "
            'comma, quote and backslash (`"…"` around them is fine): a UUID, say'
        )
    return match["key"]


def digest(*parts: str | bytes) -> str:
    """One name for all the parts; no two sequences of parts have the same."""
    whole = sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        whole.update(len(content).to_bytes(8, "big"))
        whole.update(content)
    return whole.hexdigest()
