"""One shape for every verb: explained with examples, exit codes named, JSON for programs, errors in one line."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from console.__main__ import GROUPS, SINGLE, app, wanted_verbs
from deploy.local import places

# Verbs without --json, with the reason.
NO_JSON = {
    "solo": "it runs until it is stopped, and its log lines are JSON already",
    "generate": "it writes files; which of them are stale is for people, whether any is says the exit code",
    "demo": "its report is a JSON file, .local/demo.json",
}


def verbs() -> Iterator[tuple[str, typer.core.TyperCommand]]:
    """Every verb by what one types, groups that do something by themselves included."""

    def below(command: object, name: str) -> Iterator[tuple[str, typer.core.TyperCommand]]:
        commands = getattr(command, "commands", None)
        for word, one in (commands or {}).items():
            yield from below(one, f"{name} {word}".strip())
        if commands is None or (name and getattr(command, "invoke_without_command", False)):
            assert isinstance(command, typer.core.TyperCommand | typer.core.TyperGroup)
            yield name, command  # type: ignore[misc]  # a group that does something is shown and judged as a verb

    yield from below(typer.main.get_command(app), "")


VERBS = dict(verbs())
EVERY_VERB = {*SINGLE, *GROUPS}


def test_the_tree_is_walked() -> None:
    assert {"init", "solo", "doctor", "migrate", "topics create", "dead-letters replay"} <= set(VERBS)


@pytest.mark.parametrize("name", VERBS)
def test_a_verb_explains_itself_with_an_example_that_is_its_own(name: str) -> None:
    text = VERBS[name].help or ""
    first, _, rest = text.partition("\n")
    assert first.strip().endswith((".", ":")), "begins with a sentence"
    assert re.search(r"^Examples?:$", rest, re.MULTILINE), "has examples"
    examples = [line for line in rest.splitlines() if line.startswith(("livestream ", "    livestream "))]
    assert examples
    assert all(re.search(rf"\b{name}\b", line) for line in examples), examples


@pytest.mark.parametrize("name", VERBS)
def test_a_verb_names_its_exit_codes(name: str) -> None:
    assert re.search(r"\bexit (code )?0\b", VERBS[name].help or "", re.IGNORECASE)


@pytest.mark.parametrize("name", VERBS)
def test_a_verb_has_json_for_programs_or_a_reason(name: str) -> None:
    has = any("--json" in parameter.opts for parameter in VERBS[name].params)
    assert has != (name in NO_JSON), NO_JSON.get(name, "needs --json")


@pytest.mark.parametrize("name", VERBS)
def test_every_option_is_explained(name: str) -> None:
    for parameter in VERBS[name].params:
        assert getattr(parameter, "help", None) or parameter.name == "help", parameter.name


def test_the_exit_codes_are_in_one_place() -> None:
    shown = " ".join(CliRunner().invoke(app, ["--help"]).output.split())
    for code in ("0 done", "1 not done", "2 used wrongly", "3 done, and what was found differs"):
        assert code in shown


def test_no_verb_is_forgotten_here() -> None:
    assert set(NO_JSON) <= set(VERBS)


# --- errors, in a process of its own ---


def livestream(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The command line as a shell runs it, without settings of the tests."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("LIVESTREAM_")}
    return subprocess.run(
        [sys.executable, "-m", "console", *arguments],
        cwd=places.CHECKOUT,
        env={**own, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


UNFORESEEN = {"LIVESTREAM_POSTGRES_DSN": "postgresql://nobody@127.0.0.1:1/x?sslmode=nonsense"}
SEED = ("seed-followers", "01975a7e-0000-7000-8000-000000000001", "1")


def test_what_nobody_foresaw_is_one_line_with_the_next_step() -> None:
    done = livestream(*SEED, **UNFORESEEN)
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert "run it again as `livestream --debug …`" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("how", ["option", "variable"])
def test_whoever_asks_gets_the_traceback(how: str) -> None:
    if how == "option":
        done = livestream("--debug", *SEED, **UNFORESEEN)
    else:
        done = livestream(*SEED, **UNFORESEEN, LIVESTREAM_LOG_LEVEL="debug")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_a_missing_setting_is_one_line_and_wrong_usage_is_2() -> None:
    done = livestream("migrate")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("LIVESTREAM_POSTGRES_DSN: missing")
    assert livestream("no-such-verb").returncode == 2
    assert livestream("migrate", "--no-such-option").returncode == 2


def test_settings_are_read_from_a_file_and_the_environment_wins(tmp_path: Path) -> None:
    path = tmp_path / "settings.env"
    path.write_text("LIVESTREAM_POSTGRES_DSN=postgresql://nobody@127.0.0.1:1/x?sslmode=nonsense\n")
    path.chmod(0o600)
    assert "`sslmode`" in livestream("--env-file", str(path), *SEED).stderr
    other = "postgresql://nobody@127.0.0.1:1/x?target_session_attrs=nonsense"
    won = livestream("--env-file", str(path), *SEED, LIVESTREAM_POSTGRES_DSN=other)
    assert "target_session_attrs is expected" in won.stderr
    missing = livestream("--env-file", str(tmp_path / "none.env"), *SEED)
    assert (missing.returncode, len(missing.stderr.splitlines())) == (1, 1)


def test_json_is_all_that_is_on_standard_output(tmp_path: Path) -> None:
    done = livestream("init-secrets", str(tmp_path / "secrets"), "--json")
    assert json.loads(done.stdout)["made"]
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["migrate", "--help"], {"migrate"}),
        (["--debug", "solo"], {"solo"}),
        (["--env-file", "migrate", "topics", "list"], {"topics"}),
        (["nothing-of-ours"], EVERY_VERB),
        (["--help"], EVERY_VERB),
        ([], EVERY_VERB),
    ],
)
def test_only_the_verb_that_is_named_is_imported(arguments: list[str], wanted: set[str]) -> None:
    assert set(wanted_verbs(arguments)) == wanted
