"""Commands in the documents are commands that there are: every verb and option that a page shows is known."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import pytest
import typer

from console.__main__ import app
from deploy.local import places

PAGES = ("README.md", "docs/self-hosting.md", "docs/backup.md", "docs/runbook.md", "deploy/systemd/livestream.service")
SHOWN = re.compile(r"(?:^|`|livestream -- |/bin/)livestream ((?:--?[a-z]|[a-z])[^`#|;\n]*)", re.MULTILINE)


def shown_commands() -> Iterator[tuple[str, list[str]]]:
    """Page and words of everything that reads as a call of the command line."""
    for page in PAGES:
        text = (places.CHECKOUT / page).read_text().replace("\\\n", " ")
        for found in SHOWN.finditer(text):
            yield page, shlex.split(found[1].split(" && ")[0].replace("…", "X"))


def unknown_in(words: list[str]) -> str | None:
    """The first word that the command line does not know; None when all is well."""
    command: object = typer.main.get_command(app)
    words = list(words)
    while words:
        word = words.pop(0)
        parameters = getattr(command, "params", ())
        options = {name for known in parameters for name in (*known.opts, *known.secondary_opts, "--help")}
        commands = getattr(command, "commands", {})
        if word.startswith("--"):
            if word.partition("=")[0] not in options:
                return word
            if word == "--env-file":
                words.pop(0)
        elif word in commands:
            command = commands[word]
        elif commands and not getattr(command, "invoke_without_command", False):
            return word
    return None


def test_pages_show_commands() -> None:
    verbs = {words[0] for _, words in shown_commands()}
    assert {"init", "doctor", "solo", "migrate"} <= verbs


@pytest.mark.parametrize(("page", "words"), list(shown_commands()))
def test_a_shown_command_is_known(page: str, words: list[str]) -> None:
    assert unknown_in(words) is None, f"{page}: livestream {shlex.join(words)}"


def test_the_check_can_fail() -> None:
    assert unknown_in(["no-such-verb"]) == "no-such-verb"
    assert unknown_in(["init", "--no-such-option"]) == "--no-such-option"
    assert unknown_in(["topics", "paint"]) == "paint"
