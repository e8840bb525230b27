"""Web Push on a new server and on one of before: its key, where it may send to, and what `doctor` says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from console.doctor.place import check_web_push
from console.init import app as init
from console.init_secrets import write_secrets
from console.push_key import VARIABLE, app
from console.server import ServerSettings
from deploy.local.env_file import parse_env, read_env_file
from notify.webpush.keys import private_key


def settings_of(values: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> ServerSettings:
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return ServerSettings()


@pytest.fixture
def values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The settings of a new server."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    place = str(tmp_path / "server")
    result = CliRunner().invoke(init, ["--directory", place, "--public-url", "https://live.example.org"])
    assert result.exit_code == 0, result.output
    return read_env_file(Path(place) / "livestream.env")


def test_it_writes_a_line_of_a_settings_file_with_a_new_key_each_time() -> None:
    written = [CliRunner().invoke(app, []).stdout for _ in range(2)]
    keys = {parse_env(text, name="stdout")[VARIABLE] for text in written}
    assert len(keys) == 2
    assert {private_key(key).key_size for key in keys} == {256}


def test_programs_get_json() -> None:
    answer = json.loads(CliRunner().invoke(app, ["--json"]).stdout)
    assert list(answer) == [VARIABLE]
    assert private_key(answer[VARIABLE]).key_size == 256


def test_a_new_server_has_a_key(values: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(values, monkeypatch)
    assert settings.vapid_key() is not None
    assert (check_web_push(tmp_path, settings).level, check_web_push(tmp_path, settings).seen) == ("ok", "on")


def test_a_new_server_sends_to_public_addresses_only(values: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings_of(values, monkeypatch).notify_outbound_allow == []


def test_servers_in_containers_have_one(tmp_path: Path) -> None:
    assert VARIABLE.lower() in write_secrets(tmp_path, postgres="postgres:5432/livestream", redis="redis:6379/0")
    assert private_key((tmp_path / VARIABLE.lower()).read_text()).key_size == 256


def test_a_server_of_before_is_told_how_to_get_one(
    values: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del values[VARIABLE]
    finding = check_web_push(tmp_path, settings_of(values, monkeypatch))
    assert (finding.level, finding.fix) == ("warn", f"livestream push-key >> {tmp_path / 'livestream.env'}")


def test_without_https_it_is_said_that_browsers_do_not_take_it(
    values: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finding = check_web_push(
        tmp_path, settings_of(values | {"LIVESTREAM_PUBLIC_URL": "http://192.168.1.20:8080"}, monkeypatch)
    )
    assert finding.level == "ok"
    assert "https addresses only" in finding.seen
