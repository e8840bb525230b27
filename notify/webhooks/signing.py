"""Signs what is posted, by Standard Webhooks: https://www.standardwebhooks.com, specification 1.0."""

import base64
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from uuid import UUID

from standardwebhooks.webhooks import Webhook

SECRET_PREFIX = "whsec_"  # noqa: S105  begins every secret, and is none
SECRET_BYTES = 32
"""Within the 24 to 64 that the specification asks for."""
SIGNERS_MAX = 4_096


def new_secret() -> str:
    """A signing secret as its owner is shown it: `whsec_` and base64."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def signed_headers(message_id: UUID, at: datetime, body: str, signing_secrets: Sequence[str]) -> Mapping[str, str]:
    """The headers of one attempt: the message's id, the attempt's time, and a signature for each secret."""
    name = str(message_id)
    return {
        "webhook-id": name,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(_signer(secret).sign(name, at, body) for secret in signing_secrets),
    }


@lru_cache(maxsize=SIGNERS_MAX)
def _signer(secret: str) -> Webhook:
    return Webhook(secret)
