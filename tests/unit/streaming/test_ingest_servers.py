"""Media servers in the settings: read whole, or refused by name and field; secrets that are replaced while in use."""

import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from streaming.errors import WrongSecret
from streaming.ingest.commands import Dialect
from streaming.ingest.hooked_servers import HookedServer, HookedServers, SecretsFile, SettledSecrets
from streaming.servers.entries import ServersInvalid, SrsEntry, read_servers
from streaming.servers.registry import hooked_servers
from streaming.settings_servers import MediaServerSettings

FIRST, SECOND, THIRD = "first-secret-of-tests", "second-secret-of-tests", "third-secret-of-tests"
NGINX = {"control_url": "http://x/control", "stat_url": "http://x/stat", "push_url": "rtmp://127.0.0.1/hls"}


def settings(**further: object) -> MediaServerSettings:
    given: dict[str, Any] = {f"streaming_ingest_{name}": value for name, value in NGINX.items()}
    return MediaServerSettings(**given | {"streaming_ingest_secret": FIRST} | further)


class Directory:
    """A file of media servers, and files of secrets beside it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.secrets("srs", SECOND)
        self.secrets("mtx", THIRD)

    def secrets(self, name: str, *secrets: str) -> Path:
        path = self.root / f"{name}.secrets"
        changed_at = path.stat().st_mtime_ns + 1_000_000 if path.exists() else 0
        path.write_text("# of the hooks\n\n" + "\n".join(secrets) + "\n")
        if changed_at:
            os.utime(path, ns=(changed_at, changed_at))
        return path

    def servers(self, text: str) -> Path:
        path = self.root / "servers.toml"
        path.write_text(text.replace("DIRECTORY", str(self.root)))
        return path


GOOD = """
[srs-1]
dialect = "srs"
secrets_file = "DIRECTORY/srs.secrets"
api_url = "http://127.0.0.1:1985"
application = "live"
playback_url = "https://media.example/live/{channel_id}.m3u8"

[mtx]
dialect = "mediamtx"
secrets_file = "DIRECTORY/mtx.secrets"
api_url = "http://user:password@127.0.0.1:9997/"
"""


@pytest.fixture
def directory(tmp_path: Path) -> Directory:
    return Directory(tmp_path)


def test_a_file_of_servers_is_read(directory: Directory) -> None:
    found = read_servers(directory.servers(GOOD))
    assert list(found) == ["srs-1", "mtx"]
    assert isinstance(found["srs-1"], SrsEntry)
    assert found["srs-1"].api_url == "http://127.0.0.1:1985"
    assert FIRST not in repr(found)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[a]\n", "a: dialect: must be one of nginx-rtmp, srs, mediamtx, ant-media"),
        ('[a]\ndialect = "rtmpd"\n', "a: dialect: must be one of"),
        ('[a]\ndialect = "srs"\napi_url = "http://x"\n', "a: secrets_file: Field required"),
        ('[a]\ndialect = "srs"\nsecrets_file = "DIRECTORY/srs.secrets"\n', "a: api_url: Field required"),
        (
            '[a]\ndialect = "srs"\nsecrets_file = "DIRECTORY/none"\napi_url = "http://x"\n',
            "a: secrets_file: DIRECTORY/none",
        ),
        (GOOD.replace("http://127", "ftp://127"), "srs-1: api_url: "),
        (GOOD.replace("application", "aplication"), "srs-1: aplication: Extra inputs"),
        (GOOD.replace("{channel_id}", "{channel}"), "srs-1: playback_url: must be"),
        (GOOD.replace("{channel_id}", "x"), "srs-1: playback_url: must be"),
        (GOOD.replace('"live"', '"li ve"'), "srs-1: application: "),
        (GOOD.replace("DIRECTORY/mtx", "DIRECTORY/srs"), "mtx: secrets_file: has a secret of srs-1"),
        (GOOD.replace("[mtx]", '[mtx]\napi_authorization_file = "DIRECTORY/none"'), "mtx: api_authorization_file: "),
        (GOOD.replace("[mtx]", "[nginx-rtmp]"), "nginx-rtmp: a name"),
        (GOOD.replace("[mtx]", '["Mtx 1"]'), "Mtx 1: a name"),
        ('[a]\ndialect = "nginx-rtmp"\nsecrets_file = "DIRECTORY/srs.secrets"\n', "a: push_url: Field required"),
        ("a = [", "is not TOML"),
        ("a = 1", "a: "),
        ("\n".join(f"[a{number}]" for number in range(65)), "at most 64"),
    ],
)
def test_a_mistake_names_its_server_and_field(directory: Directory, text: str, says: str) -> None:
    with pytest.raises(ServersInvalid) as refused:
        read_servers(directory.servers(text))
    assert says.replace("DIRECTORY", str(directory.root)) in str(refused.value)
    assert SECOND not in str(refused.value)


def test_every_mistake_is_told_at_once_by_the_settings(directory: Directory) -> None:
    path = directory.servers(GOOD.replace("http://127", "ftp://127").replace("http://user", "user"))
    with pytest.raises(ValueError, match=r"srs-1: api_url.*; mtx: api_url"):
        settings(streaming_media_servers=path)
    with pytest.raises(ValueError, match="cannot be read"):
        settings(streaming_media_servers=directory.root / "nothing.toml")


@pytest.mark.parametrize(
    "secrets", [[], ["short"], ["a secret with spaces in it"], ["with/slash-sixteen-x"], [FIRST] * 9]
)
def test_a_secrets_file_that_would_not_do_is_refused(directory: Directory, secrets: list[str]) -> None:
    directory.secrets("srs", *secrets)
    with pytest.raises(ServersInvalid, match="srs-1: secrets_file: "):
        read_servers(directory.servers(GOOD))


def test_each_server_is_found_by_its_own_secrets_and_dialect(directory: Directory) -> None:
    servers = hooked_servers(
        settings(streaming_media_servers=directory.servers(GOOD), streaming_ingest_secret_second=THIRD + "x")
    )
    assert servers.find(Dialect.NGINX_RTMP, SecretStr(FIRST)).name == "nginx-rtmp"
    assert servers.find(Dialect.NGINX_RTMP, SecretStr(THIRD + "x")).push_url == NGINX["push_url"]
    assert servers.find(Dialect.SRS, SecretStr(SECOND)).name == "srs-1"
    assert servers.find(Dialect.MEDIAMTX, SecretStr(THIRD)).name == "mtx"
    for dialect in Dialect:
        for secret in (FIRST, SECOND, THIRD, "", FIRST[:-1], "é" * 20, "\ud800" * 20):
            right = {Dialect.NGINX_RTMP: FIRST, Dialect.SRS: SECOND, Dialect.MEDIAMTX: THIRD}.get(dialect)
            if secret != right:
                with pytest.raises(WrongSecret):
                    servers.find(dialect, SecretStr(secret))


def test_a_secret_is_replaced_while_both_are_valid(directory: Directory) -> None:
    path = directory.secrets("srs", FIRST)
    servers = HookedServers([HookedServer("srs-1", Dialect.SRS, SecretsFile(path), "live")])

    def valid() -> list[str]:
        found = []
        for secret in (FIRST, SECOND):
            try:
                servers.find(Dialect.SRS, SecretStr(secret))
                found.append(secret)
            except WrongSecret:
                pass
        return found

    assert valid() == [FIRST]
    directory.secrets("srs", FIRST, SECOND)
    assert valid() == [FIRST, SECOND]
    directory.secrets("srs", SECOND)
    assert valid() == [SECOND]
    # half-written or gone: what was valid stays so
    directory.secrets("srs", "short")
    assert valid() == [SECOND]
    path.unlink()
    assert valid() == [SECOND]


def test_secrets_are_in_no_repr() -> None:
    server = HookedServer("a", Dialect.SRS, SettledSecrets(SecretStr(FIRST)), "live")
    assert FIRST not in repr(server)
