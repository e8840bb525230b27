"""The local stack: every engine and service as a plain process under one directory, without containers."""

from deploy.local.errors import AddressTaken, PartFailed, StackError
from deploy.local.listen import Listen
from deploy.local.parts import ALL, ENGINES, PROFILES, SERVICES, ProfileName
from deploy.local.stack import PartStatus, Stack

__all__ = [
    "ALL",
    "ENGINES",
    "PROFILES",
    "SERVICES",
    "AddressTaken",
    "Listen",
    "PartFailed",
    "PartStatus",
    "ProfileName",
    "Stack",
    "StackError",
]
