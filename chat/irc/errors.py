"""What can be refused about IRC passwords, as the caller sees it.

::

    Problem
    ├── NotFound
    │   └── IrcPasswordNotFound   404  none of yours
    └── Conflict
        └── TooManyIrcPasswords   409
"""

from typing import ClassVar

from runtime.problems import Conflict, NotFound


class IrcPasswordNotFound(NotFound):
    """You have no such password."""

    type: ClassVar[str] = "irc-password-not-found"
    title: ClassVar[str] = "You have no such IRC password"


class TooManyIrcPasswords(Conflict):
    """This person has as many IRC passwords as one may."""

    type: ClassVar[str] = "too-many-irc-passwords"
    title: ClassVar[str] = "You have as many IRC passwords as one may"
