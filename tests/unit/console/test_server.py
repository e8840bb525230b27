"""The stack of a server follows its settings: where recordings are read from, and what cannot be elsewhere."""

from pathlib import Path

import pytest

from console.server import ServerSettings, new_settings, own_engines, stack_of
from deploy.local.edge import nginx_configuration
from deploy.local.errors import StackError
from deploy.local.listen import Listen
from runtime.settings import load_settings

S3 = {
    "LIVESTREAM_ARCHIVE_OBJECT_STORE": "s3",
    "LIVESTREAM_ARCHIVE_S3_ACCESS_KEY_ID": "id",
    "LIVESTREAM_ARCHIVE_S3_SECRET_ACCESS_KEY": "key",
}


@pytest.fixture(autouse=True)
def private_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def settings_of(directory: Path, monkeypatch: pytest.MonkeyPatch, **changed: str) -> ServerSettings:
    directory.mkdir(exist_ok=True)
    made = new_settings(directory, Listen("127.0.0.1:28080", "127.0.0.1:28035"), "http://127.0.0.1:28080")
    for name, value in {**made, **changed}.items():
        monkeypatch.setenv(name, value)
    return load_settings(ServerSettings)


def edge_of(directory: Path, settings: ServerSettings) -> str:
    return nginx_configuration(stack_of(directory, settings)._place)


def test_recordings_are_served_from_the_directory_that_the_archive_writes_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = tmp_path / "server"
    elsewhere = settings_of(server, monkeypatch, LIVESTREAM_ARCHIVE_DISK_DIRECTORY=str(tmp_path / "large-disk"))
    assert f"alias {tmp_path}/large-disk/$object_key;" in edge_of(server, elsewhere)


def test_recordings_of_a_grown_server_are_served_from_s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = tmp_path / "server"
    grown = settings_of(
        server,
        monkeypatch,
        **S3,
        LIVESTREAM_ARCHIVE_S3_ENDPOINT_URL="http://10.0.0.9:9000",
        LIVESTREAM_ARCHIVE_S3_BUCKET="takes",
    )
    edge = edge_of(server, grown)
    assert "server 10.0.0.9:9000;" in edge
    assert "proxy_pass http://objects/takes/$object_key;" in edge
    assert "alias " + str(server / "recordings") not in edge


def test_the_certificate_of_a_store_on_https_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = tmp_path / "server"
    grown = settings_of(server, monkeypatch, **S3, LIVESTREAM_ARCHIVE_S3_ENDPOINT_URL="https://s3.example.org")
    edge = edge_of(server, grown)
    assert "server s3.example.org:443;" in edge
    assert "proxy_pass https://objects/" in edge
    for line in ("proxy_ssl_verify on;", "proxy_ssl_name s3.example.org;", "proxy_ssl_server_name on;"):
        assert line in edge


def test_nginx_cannot_be_sent_elsewhere_than_it_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = tmp_path / "server"
    settings = settings_of(server, monkeypatch, LIVESTREAM_ARCHIVE_HLS_DIRECTORY=str(tmp_path / "hls"))
    with pytest.raises(StackError, match=f"LIVESTREAM_ARCHIVE_HLS_DIRECTORY is .*: set it to {server}/hls"):
        stack_of(server, settings)


@pytest.mark.parametrize("name", ["two words", "a;b", "quote'", "${HOOK_URL}"])
def test_a_directory_that_nginx_would_misread_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    server = tmp_path / "server"
    settings = settings_of(server, monkeypatch, LIVESTREAM_ARCHIVE_DISK_DIRECTORY=str(tmp_path / name))
    with pytest.raises(StackError, match="cannot be told to nginx"):
        edge_of(server, settings)


def test_engines_that_the_settings_look_for_elsewhere_are_not_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = tmp_path / "server"
    settings = settings_of(server, monkeypatch, LIVESTREAM_REDIS_URL="redis://10.0.0.9:6379/0")
    assert own_engines(stack_of(server, settings), settings) == ("postgres", "nginx")
