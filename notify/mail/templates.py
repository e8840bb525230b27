"""Writes mails from the files in `templates`; what people typed is made harmless before, and escaped within."""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

SUBJECT_CHARACTERS_MAX = 150
TYPED_CHARACTERS_MAX = 140
_JOINERS = frozenset("\u200c\u200d")
"""They make letters of some scripts, and many emoji; all other format characters can make a text look like another."""


class Template(StrEnum):
    """What can be written; each is a .txt, whose first line is the subject, and an .html."""

    STREAM_STARTED = "stream_started"
    RECORDING_PUBLISHED = "recording_published"
    DIGEST = "digest"
    VERIFICATION = "verification"
    AWAY = "away"


@dataclass(frozen=True)
class Written:
    """A mail's words."""

    subject: str
    text: str
    html: str


def typed(text: str, characters_max: int = TYPED_CHARACTERS_MAX) -> str:
    """What somebody typed as one line without anything invisible: no line ends, controls or changes of direction."""
    shown = "".join(
        one if one in _JOINERS or unicodedata.category(one) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") else " "
        for one in text
    )
    line = " ".join(shown.split())
    return line if len(line) <= characters_max else line[: characters_max - 1] + "…"


class Templates:
    """All templates, read once each."""

    def __init__(self) -> None:
        self._environment = Environment(
            loader=PackageLoader("notify.mail", "templates"),
            autoescape=select_autoescape(["html"], default=False),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )

    def write(self, template: Template, values: Mapping[str, object]) -> Written:
        """A mail's words; raises jinja2.UndefinedError when a value is missing."""
        head, _, text = self._environment.get_template(f"{template}.txt").render(values).partition("\n")
        html = self._environment.get_template(f"{template}.html").render(values)
        return Written(typed(head, SUBJECT_CHARACTERS_MAX), text.strip() + "\n", html)
