"""The documents name nothing that is not there: tests, files, headings, make targets, variables, metrics, logs."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
SKIPPED = {".git", ".venv", ".local", "node_modules", "vendor", "build", ".pytest_cache"}
DECISIONS = CHECKOUT / "docs/decisions"

CODE = (
    *("accounts", "archive", "bench", "chat", "console", "deploy"),
    *("eventbus", "events", "notify", "runtime", "streaming"),
)


@cache
def documents() -> tuple[Path, ...]:
    """Every Markdown file of ours."""
    return tuple(path for path in sorted(CHECKOUT.rglob("*.md")) if not SKIPPED & set(path.relative_to(CHECKOUT).parts))


def name_of(path: Path) -> str:
    return path.relative_to(CHECKOUT).as_posix()


@cache
def source() -> str:
    """The text of all code, for finding names in it."""
    return "\n".join(
        path.read_text() for package in CODE for path in sorted((CHECKOUT / package).rglob("*.py")) if path.is_file()
    )


@cache
def named_in(path: str) -> frozenset[str]:
    """The names of the test functions of a file; none if there is no such file."""
    file = CHECKOUT / path
    if not file.is_file():
        return frozenset()
    return frozenset(
        node.name
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )


def anchors(path: Path) -> set[str]:
    """The anchors of a document's headings, as Git hosting makes them."""
    headings = re.findall(r"^#+ +(.*)$", path.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", documents(), ids=name_of)
def test_every_link_leads_somewhere(document: Path) -> None:
    text = re.sub(r"```.*?```", "", document.read_text(), flags=re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        assert file.exists(), f"{name_of(document)} links to {target}"
        if anchor:
            assert anchor in anchors(file), f"{name_of(document)} links to {target}"


@pytest.mark.parametrize("document", documents(), ids=name_of)
def test_every_test_that_is_named_exists(document: Path) -> None:
    for path, name in re.findall(r"(tests/[\w/]+\.py)::(\w+)", document.read_text()):
        assert name in named_in(path), f"{name_of(document)} names {path}::{name}"


def test_every_invariant_names_the_tests_that_hold_it() -> None:
    text = (CHECKOUT / "ARCHITECTURE.md").read_text()
    found = re.split(r"^\*\*(\d+)\. ", text.split("## Invariants")[1], flags=re.M)[1:]
    numbers, bodies = found[::2], found[1::2]
    assert numbers == [str(number) for number in range(1, 11)]
    for number, body in zip(numbers, bodies, strict=True):
        assert re.search(r"^- `tests/", body, re.M), f"nothing holds invariant {number}"


# Decisions may speak of names that are gone, or were never right.
@pytest.mark.parametrize("document", [path for path in documents() if path.parent != DECISIONS], ids=name_of)
def test_every_make_target_and_variable_exists(document: Path) -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (CHECKOUT / "Makefile").read_text(), re.M))
    text = document.read_text()
    for target in re.findall(r"(?:`|^)(?:[A-Z]+=\S+ )?make ([a-z-]+)", text, re.M):
        assert target in targets, f"{name_of(document)}: make {target}"
    settings = source() + (CHECKOUT / "deploy/compose.yaml").read_text() + (CHECKOUT / "tests/engines.py").read_text()
    for variable in re.findall(r"LIVESTREAM_([A-Z0-9_]+[A-Z0-9])\b", text):
        known = f"{variable.lower()}:" in settings or f"LIVESTREAM_{variable}" in settings
        assert known, f"{name_of(document)}: LIVESTREAM_{variable}"


def test_the_runbook_names_metrics_log_events_and_commands_that_exist() -> None:
    text = (CHECKOUT / "docs/runbook.md").read_text()
    metrics = set(re.findall(r"`(livestream_[a-z_]+)", text))
    assert len(metrics) > 15
    for metric in metrics:
        declared = re.sub(r"_(total|bucket|count|sum)$", "", metric)
        assert f'"{declared}"' in source(), f"no metric {metric}"
    events = set(re.findall(r"`([a-z]+(?:_[a-z0-9]+)+)`", text)) - metrics
    assert len(events) > 20
    for event in events:
        assert f'"{event}"' in source() or event in known_otherwise(), f"no log event {event}"


def known_otherwise() -> set[str]:
    """Log events that are put together (`waiting_for_…`), and settings of Postgres."""
    dependencies = re.findall(r"wait_for\(\s*\"(\w+)\"", source())
    return {f"{verb}_{name}" for verb in ("waiting_for", "found") for name in dependencies} | {
        "idle_in_transaction_session_timeout",
        "pg_stat_activity",
    }


def test_the_index_of_decisions_is_complete_and_numbers_are_used_once() -> None:
    files = sorted(path.name for path in DECISIONS.glob("[0-9]*.md"))
    numbers = [name.split("-")[0] for name in files]
    assert len(set(numbers)) == len(numbers) > 5
    index = (DECISIONS / "README.md").read_text()
    for name in files:
        title = (DECISIONS / name).read_text().split("\n", 1)[0]
        assert re.fullmatch(rf"# {name.split('-')[0]} .+", title), f"{name}: {title}"
        row = f"| [{name.split('-')[0]}]({name}) | {title[7:]} |"
        assert row in index, f"docs/decisions/README.md lacks {row}"
    assert re.findall(r"^\| \[\d{4}\]\(([^)]+)\) \|", index, re.M) == files
