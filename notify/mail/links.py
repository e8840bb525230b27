"""The addresses that stand in mails. Secrets are behind a #, which browsers keep to themselves."""

from dataclasses import dataclass
from uuid import UUID

from notify.mail.message import Unsubscribing

UNSUBSCRIBE_PATH = "/api/notifications/email/unsubscribe"


@dataclass(frozen=True)
class Links:
    """Where people reach the system."""

    home_url: str

    def watch(self, stream_id: UUID) -> str:
        """A stream, live or recorded."""
        return f"{self.home_url}/#/watch/{stream_id}"

    def confirm(self, token: str) -> str:
        """The page that verifies an address."""
        return f"{self.home_url}/mail.html#confirm={token}"

    def unsubscribing(self, token: str) -> Unsubscribing:
        """For programs, with the token in the query as RFC 8058 (section 3.2) wants; and for people."""
        return Unsubscribing(
            post_url=f"{self.home_url}{UNSUBSCRIBE_PATH}?token={token}",
            page_url=f"{self.home_url}/mail.html#unsubscribe={token}",
        )
