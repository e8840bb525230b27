"""The page's reader of event streams: the same events however the bytes are cut."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

MODULE = Path(__file__).parents[2] / "web/js/event_stream.js"
STREAM = (
    'retry: 2000\n\n: ping\n\nid: 1\nevent: notice\ndata: {"title": "a: b"}\n\n'
    "event: gap\r\ndata: one\r\ndata: two\r\n\r\ndata\n\nid: 2\nevent: notice\ndata: \U0001f600\n\nevent: unfinished\n"
)
EVENTS = [
    {"retry": "2000"},
    {"id": "1", "event": "notice", "data": '{"title": "a: b"}'},
    {"event": "gap", "data": "one\ntwo"},
    {"data": ""},
    {"id": "2", "event": "notice", "data": "\U0001f600"},
]
SCRIPT = """
const { EventParser } = await import(process.argv[1]);
const text = process.argv[2];
for (let size = 1; size <= text.length; size += 1) {
  const parser = new EventParser();
  const events = [];
  for (let at = 0; at < text.length; at += size) events.push(...parser.take(text.slice(at, at + size)));
  console.log(JSON.stringify(events));
}
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node.js on this machine")
def test_events_are_the_same_however_the_stream_is_cut(tmp_path: Path) -> None:
    module = tmp_path / "event_stream.mjs"
    module.write_text(MODULE.read_text())
    command = ["node", "--input-type=module", "-e", SCRIPT, str(module), STREAM]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    parsed = [json.loads(line) for line in ran.stdout.splitlines()]
    assert len(parsed) > len(EVENTS)
    assert all(events == EVENTS for events in parsed)
