"""`livestream retention` and `capacity` used wrongly end with 2, before any database is asked."""

from __future__ import annotations

import json
import re
import shlex
import xml.etree.ElementTree as ET
from csv import DictReader
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from console.__main__ import app
from deploy.local import places
from runtime.ids import uuid7

CHANNEL = str(uuid7())


def livestream(*arguments: str, code: int) -> Result:
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == code, done.output
    return done


@pytest.mark.parametrize(
    "arguments",
    [
        ("hold", "--reason", "x"),
        ("hold", "--reason", "x", "--everything", "--channel", CHANNEL),
        ("hold", "--reason", " ", "--everything"),
        ("hold", "--reason", "x", "--channel", "ada"),
        ("override", CHANNEL),
        ("override", CHANNEL, "--delete-after", "0"),
        ("override", "--delete-after", "3"),
        ("apply", "--json"),
    ],
)
def test_retention_used_wrongly(arguments: tuple[str, ...]) -> None:
    livestream("retention", *arguments, code=2)


@pytest.mark.parametrize("arguments", [("--price-hot", "1"), ("--price-cold", "1"), ("--ladder", "huge")])
def test_capacity_used_wrongly(arguments: tuple[str, ...]) -> None:
    livestream("capacity", *arguments, code=2)


def test_capacity_writes_a_table_for_everybody(tmp_path: Path) -> None:
    files = ("--csv", str(tmp_path / "a.csv"), "--plot", str(tmp_path / "a.svg"))
    of_the_plan = ("capacity", "--ladder", "", "--undo-days", "0", "--months", "40")
    told = json.loads(livestream(*of_the_plan, "--json", *files, code=0).stdout)
    assert told["months"][0]["made_bytes"] == 67_500_000_000_000
    with (tmp_path / "a.csv").open() as file:
        rows = list(DictReader(file))
    assert [int(row["size_bytes"]) for row in rows] == [month["size_bytes"] for month in told["months"]]
    assert "cost" not in rows[0]
    drawn = ET.fromstring((tmp_path / "a.svg").read_text())  # noqa: S314  we wrote it ourselves just now
    assert {"total", "hot", "cold"} <= {text.text for text in drawn.iter("{http://www.w3.org/2000/svg}text")}
    assert "| 40 | 15,000 |" in livestream(*of_the_plan, "--markdown", code=0).stdout
    with_cost = livestream("capacity", "--price-hot", "0.02", "--price-cold", "0.004", "--json", code=0)
    assert json.loads(with_cost.stdout)["months"][-1]["cost"] > 0
    livestream("capacity", "--csv", str(tmp_path / "none" / "a.csv"), code=1)


def test_the_page_on_scale_has_the_tables_that_the_command_makes() -> None:
    page = (places.CHECKOUT / "docs/scale.md").read_text()
    commands = re.findall(r"<!-- livestream (capacity .*) -->", page)
    assert len(commands) == 2
    for command in commands:
        assert livestream(*shlex.split(command), code=0).stdout.strip() in page, f"livestream {command}"
