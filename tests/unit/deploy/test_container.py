"""What the image adds: a health check that tells ready from not, and an edge that refuses what nginx would misread."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from deploy.container.edge import EdgeSettings, nginx_configuration
from deploy.container.ready import check
from runtime.settings import SettingsInvalid, load_settings


class _Process(BaseHTTPRequestHandler):
    """Ready on /readyz, unready with a reason on /waiting."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/readyz" else 503)
        self.end_headers()
        self.wfile.write(b'{"postgres": "connection refused"}')

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's name for it
        """Tests keep quiet."""


@pytest.fixture
def port() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), _Process) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_a_ready_process_is_healthy(port: int) -> None:
    assert check(port, "/readyz") is None


def test_an_unready_one_is_not_and_says_why(port: int) -> None:
    assert check(port, "/waiting") == '503 {"postgres": "connection refused"}'


def test_one_that_does_not_listen_is_not() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        assert "refused" in str(check(free.getsockname()[1], "/readyz"))


@pytest.fixture
def hook_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "livestream_edge_hook_secret").write_text("sixteen-or-more/characters")
    monkeypatch.setenv("LIVESTREAM_SECRETS_DIR", str(tmp_path))
    return "sixteen-or-more%2Fcharacters"


def test_the_hooks_address_ends_in_the_secret(hook_secret: str) -> None:
    text = nginx_configuration(load_settings(EdgeSettings))
    assert f"on_publish http://streaming:8080/hooks/ingest/nginx-rtmp/{hook_secret};" in text
    assert "allow 127.0.0.1;" in text


@pytest.mark.usefixtures("hook_secret")
@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("LIVESTREAM_EDGE_ACCOUNTS", "accounts:8080; } http { server { listen 1; }"),
        ("LIVESTREAM_EDGE_CHAT", "chat-1:8080,chat-2"),
        ("LIVESTREAM_EDGE_CONTROL_ALLOW", "all"),
        ("LIVESTREAM_EDGE_HLS_DIRECTORY", "relative/hls"),
        ("LIVESTREAM_EDGE_BUCKET", "a bucket"),
        ("LIVESTREAM_EDGE_PUSH_LISTEN", "0.0.0.0:1936"),
        ("LIVESTREAM_EDGE_PLAYBACK_SECRET", 'sixteen-or-more"; return 200;'),
        ("LIVESTREAM_EDGE_ACCOUNT", "accounts:8080"),
    ],
)
def test_what_nginx_would_misread_is_refused(variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsInvalid, match=variable):
        load_settings(EdgeSettings)
