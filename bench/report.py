"""What a bench is, and how its outcome is shown and kept: a table for people, one line of JSON for programs."""

import json
import os
import platform
import subprocess
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Protocol

import psutil
from rich.console import Console
from rich.table import Table

from deploy.local.places import CHECKOUT

RESULTS = Path(__file__).parent / "results"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Bar:
    """What a figure must reach. The unit is in the figure's name."""

    figure: str
    op: Literal["<=", ">="]
    bar: float

    def holds(self, value: float) -> bool:
        """Whether ``value`` reaches the bar."""
        return value <= self.bar if self.op == "<=" else value >= self.bar


class Measured(Protocol):
    """What every bench answers with."""

    @property
    def figures(self) -> Mapping[str, float]:
        """What was measured; each name ends with its unit."""
        ...

    @property
    def processes(self) -> int:
        """How many processes of ours did it."""
        ...

    @property
    def cpu_seconds(self) -> float:
        """What they used."""
        ...


@dataclass(frozen=True)
class Outcome:
    """What was measured, and the same work by others in the same run."""

    figures: Mapping[str, float]
    processes: int
    cpu_seconds: float
    peers: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Bench:
    """One measurement: ``measure`` starts its engines below the directory it is given, and stops them again."""

    name: str
    description: str
    bars: Sequence[Bar]
    measure: Callable[[Path, Say], Awaitable[Measured]]
    of_backends: "Callable[[Sequence[str]], Bench] | None" = None
    """The same bench for some of its backends alone; None where there is nothing to choose."""


def row_of(bench: Bench, outcome: Measured) -> dict[str, object]:
    """The line that is printed and kept. A figure that a bar names and the bench did not give misses its bar."""
    bars = []
    for bar in bench.bars:
        value = outcome.figures.get(bar.figure)
        ok = value is not None and bar.holds(value)
        bars.append({"figure": bar.figure, "op": bar.op, "bar": bar.bar, "value": value, "ok": ok})
    return {
        "bench": bench.name,
        "commit": commit(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "processes": outcome.processes,
        "cpu_seconds": outcome.cpu_seconds,
        "figures": dict(outcome.figures),
        "peers": dict(outcome.peers) if isinstance(outcome, Outcome) else {},
        "bars": bars,
    }


def bars_hold(row: Mapping[str, object]) -> bool:
    """Whether every bar of a row holds."""
    bars = row["bars"]
    return isinstance(bars, list) and all(bar["ok"] for bar in bars)


def keep(row: Mapping[str, object], directory: Path = RESULTS) -> Path:
    """Append the row to the bench's results; the answer is the file."""
    directory.mkdir(exist_ok=True)
    path = directory / f"{row['bench']}.jsonl"
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")
    return path


def show(bench: Bench, row: Mapping[str, object], console: Console) -> None:
    """Print the table."""
    table = Table("figure", "value", "bar", title=f"{bench.name} at {row['commit']} on {row['machine']}")
    bars = {bar.figure: bar for bar in bench.bars}
    figures = row["figures"]
    if isinstance(figures, dict):
        for name, value in figures.items():
            bar = bars.get(name)
            verdict = "" if bar is None else f"{bar.op} {bar.bar:g} {'holds' if bar.holds(value) else 'MISSED'}"
            table.add_row(name, f"{value:,g}", verdict)
    peers = row["peers"]
    if isinstance(peers, dict):
        for name, value in peers.items():
            table.add_row(f"peer: {name}", f"{value:,g}", "")
    table.add_row("processes of ours", str(row["processes"]), "")
    table.add_row("their cpu_seconds", str(row["cpu_seconds"]), "")
    console.print(table)


def commit() -> str:
    """The checkout's commit, with a mark if files differ from it; rows of other benches are no difference."""
    head = _git("rev-parse", "--short=10", "HEAD")
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", ":(exclude)bench/results")
    return f"{head or 'unknown'}{'-dirty' if changed else ''}"


def _git(*arguments: str) -> str:
    answer = subprocess.run(["git", *arguments], cwd=CHECKOUT, capture_output=True, text=True, timeout=10, check=False)
    return answer.stdout.strip()


def machine() -> str:
    """Processor, cores, memory, kernel and Python in one line."""
    memory_gb = psutil.virtual_memory().total / 1e9
    return (
        f"{_processor()}, {os.cpu_count()} cores, {memory_gb:.0f} GB,"
        f" {platform.system()} {platform.release()}, Python {platform.python_version()}"
    )


def percentile(values: Sequence[float], share: float) -> float:
    """The value that ``share`` (0 to 1) of the values do not exceed: nearest rank, so never better than measured."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * round(share * 1000) // 1000) - 1)]


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.machine()
