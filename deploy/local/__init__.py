"""The local stack: every engine and service as a plain process under one directory, without containers."""

from deploy.local.errors import PartFailed, StackError
from deploy.local.parts import ALL, ENGINES, SERVICES
from deploy.local.stack import PartStatus, Stack

__all__ = ["ALL", "ENGINES", "SERVICES", "PartFailed", "PartStatus", "Stack", "StackError"]
