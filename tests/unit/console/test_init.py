"""`livestream init`: a whole settings file with secrets of its own, private, never replaced; nothing for bad input."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from console.init import app
from console.installation import directory_of
from console.server import ServerSettings, misfits, own_engines, stack_of
from deploy.local.credentials import Credentials, of_settings
from deploy.local.env_file import EnvFileInvalid, assignment, parse_env, read_env_file, write_new
from runtime.settings import unknown_variables


@pytest.fixture(autouse=True)
def _claims_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def init(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def settings_in(directory: Path, monkeypatch: pytest.MonkeyPatch) -> ServerSettings:
    for name, value in read_env_file(directory / "livestream.env").items():
        monkeypatch.setenv(name, value)
    return ServerSettings()


def test_what_is_written_is_all_that_a_server_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "server"
    result = init("--directory", place, "--public-url", "https://live.example.org", "--http-listen", "127.0.0.1:28080")
    assert result.exit_code == 0, result.output
    settings = settings_in(place, monkeypatch)
    assert settings.public_url == "https://live.example.org"
    assert settings.streaming_public_ingest_url == "rtmp://live.example.org/live"
    assert settings.archive_disk_directory == place / "recordings"
    assert (settings.bus_backend, settings.archive_object_store) == ("postgres", "disk")
    stack = stack_of(place, settings)
    assert own_engines(stack, settings) == ("postgres", "redis", "nginx")
    assert not unknown_variables(ServerSettings, read_env_file(place / "livestream.env"))


def test_only_the_owner_may_read_it_and_the_secrets_are_nowhere_else(tmp_path: Path) -> None:
    place = tmp_path / "server"
    result = init("--directory", place)
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert stat.S_IMODE((place / "livestream.env").stat().st_mode) == 0o600
    secrets = of_settings(read_env_file(place / "livestream.env"))
    for secret in (
        secrets.postgres_password,
        secrets.redis_password,
        secrets.accounts_key_secret,
        secrets.ingest_secret,
        secrets.vapid_private_key,
        secrets.sealing_secret,
        secrets.playback_secret,
        secrets.viewer_secret,
    ):
        assert len(secret) > 30
        assert secret not in result.output
    files = [path for path in place.rglob("*") if path.is_file()]
    assert sorted(path.name for path in files) == ["livestream.env", "ports.json"]


def test_the_engines_are_given_what_the_file_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "server"
    init("--directory", place)
    settings = settings_in(place, monkeypatch)
    assert (
        stack_of(place, settings).environment()["LIVESTREAM_POSTGRES_DSN"] == settings.postgres_dsn.get_secret_value()
    )
    assert not (place / "secrets.json").exists(), "a second source of secrets"


def test_an_engine_elsewhere_is_not_our_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "server"
    init("--directory", place)
    settings_in(place, monkeypatch)
    monkeypatch.setenv("LIVESTREAM_POSTGRES_DSN", "postgresql://livestream:x@db.example.org/livestream")
    settings = ServerSettings()
    assert own_engines(stack_of(place, settings), settings) == ("redis", "nginx")


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("LIVESTREAM_HTTP_PORT", "18123", 1),
        ("LIVESTREAM_STREAMING_INGEST_PUSH_URL", "rtmp://127.0.0.1:1/hls", 1),
        ("LIVESTREAM_EDGE_RTMP_LISTEN", "127.0.0.1:11935", 0),
        ("LIVESTREAM_ARCHIVE_DISK_DIRECTORY", "/srv/recordings", 0),
    ],
)
def test_what_nginx_is_told_otherwise_is_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, told: int
) -> None:
    place = tmp_path / "server"
    init("--directory", place)
    settings = settings_in(place, monkeypatch)
    assert misfits(stack_of(place, settings), settings) == []
    monkeypatch.setenv(variable, value)
    settings = ServerSettings()
    assert len(misfits(stack_of(place, settings), settings)) == told


def test_two_servers_share_neither_secrets_nor_ports(tmp_path: Path) -> None:
    init("--directory", tmp_path / "a")
    init("--directory", tmp_path / "b")
    one, other = (read_env_file(tmp_path / name / "livestream.env") for name in "ab")
    for variable in (
        "POSTGRES_DSN",
        "REDIS_URL",
        "ACCOUNTS_KEY_SECRET",
        "NOTIFY_SEALING_SECRET",
        "STREAMING_INGEST_SECRET",
        "STREAMING_PLAYBACK_SECRET",
        "STREAMING_VIEWER_SECRET",
        "HTTP_PORT",
    ):
        assert one[f"LIVESTREAM_{variable}"] != other[f"LIVESTREAM_{variable}"]


def test_every_setting_is_there_with_what_it_is_for(tmp_path: Path) -> None:
    init("--directory", tmp_path / "server")
    lines = (tmp_path / "server/livestream.env").read_text().splitlines()
    for name, field in ServerSettings.model_fields.items():
        if field.default is None or name == "jwks_url":
            continue
        places = [i for i, line in enumerate(lines) if line.lstrip("#").startswith(f"LIVESTREAM_{name.upper()}=")]
        assert len(places) == 1, name
        assert lines[places[0] - 1].startswith("# "), f"{name} is not explained"


def test_a_file_that_is_there_is_never_replaced(tmp_path: Path) -> None:
    init("--directory", tmp_path / "server")
    before = (tmp_path / "server/livestream.env").read_text()
    again = init("--directory", tmp_path / "server")
    assert again.exit_code == 1
    assert "is never replaced: edit it, or choose another --directory" in again.output
    assert (tmp_path / "server/livestream.env").read_text() == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--public-url", "live.example.org"], "--public-url 'live.example.org': wanted http:// or https://"),
        (["--public-url", "https://live.example.org/path"], "--public-url"),
        (["--http-listen", "0.0.0.0:99999"], "--http-listen: cannot listen on '0.0.0.0:99999': wanted IP:PORT"),
        (["--http-listen", "8080"], "--http-listen"),
        (["--rtmp-listen", "everywhere:1935"], "--rtmp-listen"),
        (["--http-listen", "0.0.0.0:1935"], "--rtmp-listen: cannot listen on '0.0.0.0:1935': HTTP listens there"),
    ],
)
def test_bad_input_is_one_line_and_makes_nothing(tmp_path: Path, arguments: list[str], said: str) -> None:
    result = init("--directory", tmp_path / "server", *arguments)
    assert result.exit_code == 2
    assert len(result.output.strip().splitlines()) == 1
    assert said in result.output
    assert not (tmp_path / "server").exists()


def test_a_directory_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = init("--directory", tmp_path / "file/server")
    assert (result.exit_code, len(result.output.strip().splitlines())) == (1, 1)
    assert "--directory" in result.output


def test_somebody_elses_directory_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir(mode=0o755)
    (tmp_path / "photos/cat.jpg").write_text("")
    result = init("--directory", tmp_path / "photos")
    assert result.exit_code == 1
    assert "is not empty (cat.jpg is in it)" in result.output
    assert stat.S_IMODE((tmp_path / "photos").stat().st_mode) == 0o755


def test_programs_get_json(tmp_path: Path) -> None:
    result = init("--directory", tmp_path / "server", "--http-listen", "127.0.0.1:28080", "--json")
    assert json.loads(result.stdout) == {
        "directory": str(tmp_path / "server"),
        "settings": str(tmp_path / "server/livestream.env"),
        "public_url": "http://127.0.0.1:28080",
        "http": "127.0.0.1:28080",
        "rtmp": "0.0.0.0:1935",
    }


def test_a_shell_reads_the_file_as_we_do(tmp_path: Path) -> None:
    init("--directory", tmp_path / "server")
    path = tmp_path / "server/livestream.env"
    shell = shutil.which("sh") or "/bin/sh"
    shown = subprocess.run(
        [shell, "-c", 'set -a; . "$0"; env', str(path)], env={}, capture_output=True, text=True, check=True
    )
    seen = dict(line.split("=", 1) for line in shown.stdout.splitlines() if line.startswith("LIVESTREAM_"))
    assert seen == read_env_file(path)


# --- the file ---


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("LIVESTREAM_A\n", "f line 1: not NAME=value"),
        ("# good\n\nLIVESTREAM_A=1\n%%%\n", "f line 4: not NAME=value"),
        ("PATH=/tmp\n", "f line 1: PATH is no setting; their names begin with LIVESTREAM_"),
        ("LIVESTREAM_A=1\nLIVESTREAM_A=2\n", "f line 2: LIVESTREAM_A is set a second time; keep one"),
    ],
)
def test_a_line_that_is_no_setting_is_told_with_its_number(text: str, said: str) -> None:
    with pytest.raises(EnvFileInvalid) as caught:
        parse_env(text, name="f")
    assert caught.value.lines == [said]


def test_values_come_back_as_they_were_written() -> None:
    for value in ("", "a b", "postgresql://u:p%40@h:1/d", "$HOME", "x#y", "a;b"):
        assert parse_env(assignment("LIVESTREAM_A", value), name="f") == {"LIVESTREAM_A": value}
    for value in ("it's", "a\nb", "back\\slash"):
        with pytest.raises(ValueError, match="LIVESTREAM_A"):
            assignment("LIVESTREAM_A", value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_file_that_others_may_read_is_refused_with_the_fix(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "livestream.env"
    path.write_text("LIVESTREAM_A=1\n")
    path.chmod(mode)
    with pytest.raises(EnvFileInvalid, match=f"its mode is {mode:04o} and it holds secrets; do: chmod 600 {path}"):
        read_env_file(path)


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "livestream.env"
    write_new(path, "one")
    with pytest.raises(FileExistsError):
        write_new(path, "two")
    assert path.read_text() == "one"
    assert list(tmp_path.iterdir()) == [path], "a draft was left"


def test_credentials_are_read_out_of_addresses() -> None:
    found = of_settings(
        {"LIVESTREAM_POSTGRES_DSN": "postgresql://u:a%2Fb@h/d", "LIVESTREAM_REDIS_URL": "redis://:r@h/0"}
    )
    assert found == Credentials("a/b", "r", *[""] * 8)


def test_the_directory_is_the_named_one_or_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert directory_of(Path("here")) == tmp_path / "here"
    assert directory_of(None).name == "livestream"
