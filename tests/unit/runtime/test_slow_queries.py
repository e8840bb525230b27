"""Slow statements: each is counted by its name, the log is not flooded, and the timing itself is cheap."""

from time import process_time

from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from runtime.ids import uuid7
from runtime.slow_queries import UNNAMED, name_statement, statement_took

SLOW_SECONDS = 0.1
COST_SECONDS_MAX = 50e-6
"""About 1 µs where nothing else runs; this is for a machine that many tests share."""


def counted(metric: str, query: str) -> float:
    """What a metric says of a query."""
    return REGISTRY.get_sample_value(metric, {"query": query}) or 0.0


def test_every_slow_statement_is_counted_and_one_a_second_is_written_down() -> None:
    sql, name = f"SELECT '{uuid7()}'", f"tests.{uuid7().hex}"
    name_statement(sql, name)
    with capture_logs() as lines:
        for seconds in (0.05, 0.2, 0.3, 0.1):
            statement_took(sql, seconds, slow_seconds=SLOW_SECONDS)
    assert counted("livestream_query_seconds_count", name) == 4
    assert counted("livestream_slow_queries_total", name) == 3
    assert [(line["event"], line["query"], line["milliseconds"]) for line in lines] == [("query_slow", name, 200.0)]


def test_a_statement_that_has_no_name_is_counted_with_the_others_that_have_none() -> None:
    before = counted("livestream_slow_queries_total", UNNAMED)
    with capture_logs() as lines:
        for number in range(3):
            statement_took(f"SELECT {number}, 'a secret'", 1.0, slow_seconds=SLOW_SECONDS)
    assert counted("livestream_slow_queries_total", UNNAMED) == before + 3
    assert "secret" not in str(lines)


def test_timing_a_statement_costs_microseconds() -> None:
    sql, times = f"SELECT '{uuid7()}'", 2_000
    name_statement(sql, "tests.timed")
    began = process_time()
    for _ in range(times):
        statement_took(sql, 0.001, slow_seconds=SLOW_SECONDS)
    assert (process_time() - began) / times < COST_SECONDS_MAX
