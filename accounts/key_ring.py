"""The signing keys of a running process: looked up again and again, and rotated when they are old."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from joserfc.jwk import OKPKey

from accounts import metrics
from accounts.keys import RETIRED_SECONDS_MAX, SigningKey, SigningKeys, load_signing_keys, rotate_keys
from runtime.postgres import Pool, load_queries
from runtime.unavailable import PERHAPS_AWAY, is_unavailable

log = structlog.get_logger(__name__)
QUERIES = load_queries("accounts")

POLL_SECONDS = 20.0
"""Less than any lead, so that every process has a key before it signs."""
ASKED_FOR_SECONDS_MIN = 2.0
"""However many unknown key ids arrive, the database is asked this often at most."""
DAY_SECONDS = 86_400.0


class KeyRing:
    """A Service; any number of processes have one each, and of those that rotate at once one does.

    Keys that are `rotation_days` old are rotated (0: never); a new one is published `lead_seconds` before it signs.
    """

    name = "key-ring"

    def __init__(
        self,
        pool: Pool,
        secret: bytes,
        *,
        lead_seconds: float,
        rotation_days: float,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self._pool = pool
        self._secret = secret
        self._lead_seconds = lead_seconds
        self._rotation_days = rotation_days
        self._poll_seconds = poll_seconds
        self._keys: SigningKeys | None = None
        self._looking = asyncio.Lock()
        self._looked_at = float("-inf")

    async def look(self) -> None:
        """Read the keys from the database. Raises SigningKeyUnreadable."""
        found = await load_signing_keys(self._pool, self._secret)
        before, self._keys = self._keys, found
        self._looked_at = asyncio.get_running_loop().time()
        if before is not None and [key.key_id for key in before.keys] != [key.key_id for key in found.keys]:
            log.info("signing_keys_changed", key_ids=[key.key_id for key in found.keys])
        metrics.signing_key_age_seconds.set(found.current.age_seconds)

    async def run(self) -> None:
        """Look, and rotate what is old, until cancelled."""
        while True:
            try:
                await self.look()
                await self.rotate_if_due()
                await QUERIES.delete_retired_keys(self._pool, retired_seconds_max=RETIRED_SECONDS_MAX)
            except PERHAPS_AWAY as error:
                if not is_unavailable(error):
                    raise
                log.warning("signing_keys_not_looked_up", reason=str(error) or type(error).__name__)
            await asyncio.sleep(self._poll_seconds)

    async def rotate_if_due(self) -> bool:
        """Rotate keys that are too old; whether this process did."""
        newest = self._known.keys[0]
        if not self._rotation_days or newest.age_seconds < self._rotation_days * DAY_SECONDS:
            return False
        rotated = await rotate_keys(self._pool, self._secret, lead_seconds=self._lead_seconds)
        await self.look()
        return rotated is not None

    @property
    def current(self) -> SigningKey:
        """The key that signs now."""
        return self._known.current

    @property
    def public(self) -> Sequence[Mapping[str, Any]]:
        """The public halves of all whose signatures count or will, the current one's first."""
        return self._known.public

    async def find(self, key_id: str) -> OKPKey | None:
        """The public key with this id, looked up when it is not known here yet."""
        known = self._known.find(key_id)
        if known is None:
            await self._look_for(key_id)
            known = self._known.find(key_id)
        return known

    async def _look_for(self, key_id: str) -> None:
        async with self._looking:
            now = asyncio.get_running_loop().time()
            if self._known.find(key_id) is None and now - self._looked_at >= ASKED_FOR_SECONDS_MIN:
                await self.look()

    @property
    def _known(self) -> SigningKeys:
        if self._keys is None:
            raise RuntimeError("the keys were not looked up yet: call look() first")
        return self._keys
