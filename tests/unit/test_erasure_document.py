"""docs/erasure.md decides for every table what becomes of it when its person leaves; a new table needs a decision."""

import re
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
SERVICES = ("streaming", "chat", "notify", "archive")
OF_THE_BUS = {"outbox", "outbox_cursor", "inbox", "erasures"}
PARTITION = re.compile(r"_(default|other_months|\d{4}(_\d{2})?)$")


def tables(service: str) -> set[str]:
    """The tables of a service's own, partitions left out."""
    schema = (CHECKOUT / service / "sql/schema.sql").read_text()
    return {name for name in re.findall(r"^CREATE TABLE (\w+) \(", schema, re.MULTILINE) if not PARTITION.search(name)}


@pytest.mark.parametrize("service", SERVICES)
def test_every_table_has_a_decision(service: str) -> None:
    rows = (CHECKOUT / "docs/erasure.md").read_text()
    undecided = {table for table in tables(service) - OF_THE_BUS if f"`{table}`" not in rows}
    assert not undecided, f"say in docs/erasure.md what becomes of these, and erase them: {undecided}"
