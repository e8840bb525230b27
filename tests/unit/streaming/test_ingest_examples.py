"""The example configurations in deploy/: they can be read, and every address in them is one of ours."""

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from archive.shipping.hooks import SegmentHooks
from runtime.endpoints import endpoints_of
from streaming.ingest.commands import Dialect
from streaming.ingest.hooks import IngestHooks
from streaming.servers.entries import AntMediaEntry, MediaMtxEntry, NginxRtmpEntry, SrsEntry, read_servers

CHECKOUT = Path(__file__).parents[3]
DEPLOY = CHECKOUT / "deploy"
ADDRESSES = {
    endpoint.path.replace("{secret}", "SECRET") for api in (IngestHooks, SegmentHooks) for endpoint in endpoints_of(api)
}


def hooks_in(name: str) -> list[str]:
    """The paths of the hooks in a file, with whatever secret."""
    found = re.findall(r"http://127\.0\.0\.1:810[12]\S*", (DEPLOY / name).read_text())
    paths = [urlsplit(address.rstrip(";")).path for address in found]
    return [re.sub(r"(INGEST|SEGMENT)-SECRET", "SECRET", path) for path in paths if path]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("srs.conf", {"ingest/srs": 3, "segments/srs": 1}),
        ("mediamtx.yml", {"ingest/mediamtx": 2, "segments/mediamtx": 1}),
        ("ant-media.properties", {"ingest/ant-media": 2}),
    ],
)
def test_every_address_of_a_hook_is_one_of_ours(name: str, expected: dict[str, int]) -> None:
    found = hooks_in(name)
    assert set(found) <= ADDRESSES
    assert {path: found.count(f"/hooks/{path}/SECRET") for path in expected} == expected
    assert len(found) == sum(expected.values())


def test_the_example_of_the_servers_is_read(tmp_path: Path) -> None:
    text = (DEPLOY / "media-servers.toml").read_text()
    for name in re.findall(r'"/etc/livestream/(\S+)"', text):
        (tmp_path / name).write_text(f"a-secret-of-{name}\n")
    (tmp_path / "servers.toml").write_text(text.replace("/etc/livestream", str(tmp_path)))
    found = read_servers(tmp_path / "servers.toml")
    assert {entry.dialect for entry in found.values()} == set(Dialect)
    assert str(tmp_path) not in text


def test_mediamtx_asks_about_all_but_its_own_api_which_nobody_else_reaches() -> None:
    settings = yaml.safe_load((DEPLOY / "mediamtx.yml").read_text())
    assert settings["authMethod"] == "http"
    assert settings["authHTTPExclude"] == [{"action": "api"}]
    assert settings["apiAddress"].startswith("127.0.0.1:")
    # the key stands in no command line, and so in nobody's list of processes
    commands = [value for name, value in settings["pathDefaults"].items() if name.startswith("runOn")]
    assert not [command for command in commands if "MTX_QUERY" in command]
    [path] = settings["paths"]
    assert re.match(path.removeprefix("~"), "live/a-channel")
    assert not re.match(path.removeprefix("~"), "live/a/channel")


def test_srs_and_ant_media_keep_their_apis_to_themselves() -> None:
    srs = (DEPLOY / "srs.conf").read_text()
    assert re.search(r"http_api \{[^}]*listen\s+127\.0\.0\.1:1985;", srs)
    assert srs.count("{") == srs.count("}")
    # a segment is cut at a keyframe, though OBS leaves 8.3 s between two
    [fragment], [ratio] = (
        re.findall(rf"^ +{name} +([0-9.]+);", srs, re.M) for name in ("hls_fragment", "hls_aof_ratio")
    )
    assert float(fragment) * float(ratio) >= 20
    assert re.search(r"^srs_log_level_v2 +warn;", srs, re.M)
    lines = [line for line in (DEPLOY / "ant-media.properties").read_text().splitlines() if not line.startswith("#")]
    properties = dict(line.split("=", 1) for line in lines if line)
    assert properties["remoteAllowedCIDR"] == "127.0.0.1"
    assert properties["webhookAuthenticateURL"] == properties["listenerHookURL"]


def test_every_field_of_a_server_is_explained() -> None:
    page = (CHECKOUT / "docs/ingest.md").read_text()
    models = (NginxRtmpEntry, SrsEntry, MediaMtxEntry, AntMediaEntry)
    missing = {field for model in models for field in model.model_fields if f"`{field}`" not in page}
    assert not missing
