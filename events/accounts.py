"""What happens to accounts."""

from typing import ClassVar
from uuid import UUID

from pydantic import AwareDatetime

from events.envelope import Event


class AccountRegistered(Event):
    """A person has an account. Their user id is also the id of their channel and of its chat room."""

    type: ClassVar[str] = "account.registered"

    user_id: UUID
    username: str
    registered_at: AwareDatetime

    @property
    def key(self) -> str:
        return str(self.user_id)
