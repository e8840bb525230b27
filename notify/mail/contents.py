"""What a queued mail says about itself, where its message id alone does not tell what to write."""

from collections.abc import Mapping
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict


class _Content(BaseModel):
    model_config = ConfigDict(frozen=True)

    def as_json(self) -> Mapping[str, Any]:
        """What is stored with the delivery."""
        return self.model_dump(mode="json")


class VerificationContent(_Content):
    """To an address that is being verified; the delivery's destination is the verification."""

    template: Literal["verification"] = "verification"


class DigestContent(_Content):
    """A day's unread notices."""

    template: Literal["digest"] = "digest"
    unread: int
    notice_ids: list[UUID]


class AwayContent(_Content):
    """That somebody is told nothing any more because they have been away for long."""

    template: Literal["away"] = "away"
