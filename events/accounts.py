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


class AccountRenamed(Event):
    """A person has another name from now on."""

    type: ClassVar[str] = "account.renamed"

    user_id: UUID
    username: str
    renamed_at: AwareDatetime

    @property
    def key(self) -> str:
        return str(self.user_id)


class AccountDeleted(Event):
    """An account is gone, and with it everything that is the person's: whoever kept something of it erases it.

    It says no name: what is said stays in the log for days.
    """

    type: ClassVar[str] = "account.deleted"

    user_id: UUID
    deleted_at: AwareDatetime

    @property
    def key(self) -> str:
        return str(self.user_id)
