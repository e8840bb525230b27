"""Profiles of the local stack: what solo does without, and that nothing in it asks for it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deploy.local import PROFILES, Listen, ProfileName, Stack, StackError, places
from deploy.local.edge import nginx_configuration
from deploy.local.engines import postgres_settings
from deploy.local.ports import OFFSETS
from deploy.local.stack import PARTS
from solo.settings import SoloSettings


@pytest.fixture(autouse=True)
def private_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def stack(directory: Path, profile: ProfileName, listen: Listen | None = None) -> Stack:
    return Stack(directory / profile, profile=profile, port_base=28_000, listen=listen)


@pytest.mark.parametrize("profile", PROFILES)
def test_every_part_of_a_profile_is_known_and_has_its_ports(profile: ProfileName) -> None:
    for name in PROFILES[profile].parts:
        assert set(PARTS[name].ports) <= set(OFFSETS)


def test_solo_is_three_engines_and_one_process(tmp_path: Path) -> None:
    solo = stack(tmp_path, "solo")
    assert solo.engines == ("postgres", "redis", "nginx")
    assert solo.services == ("solo",)
    assert solo.parts == (*solo.engines, *solo.services)
    assert len(solo.gateway_urls) == 1


@pytest.mark.parametrize("part", ["kafka", "minio", "accounts"])
def test_solo_refuses_parts_that_it_does_not_have(tmp_path: Path, part: str) -> None:
    with pytest.raises(StackError, match=f"the stack solo has no part {part}"):
        stack(tmp_path, "solo").up([part])


def test_nothing_of_solo_names_kafka_or_an_object_store(tmp_path: Path) -> None:
    solo = stack(tmp_path, "solo")
    environment = solo.environment()
    assert environment["LIVESTREAM_BUS_BACKEND"] == "postgres"
    assert environment["LIVESTREAM_ARCHIVE_OBJECT_STORE"] == "disk"
    assert environment["LIVESTREAM_ARCHIVE_DISK_DIRECTORY"] == str(solo.directory / "recordings")
    assert not [name for name in environment if re.search("KAFKA|S3", name)]
    ports = {str(solo.ports[name]) for name in ("kafka", "kafka-controller", "minio", "accounts", "chat-1")}
    assert not [value for value in environment.values() if any(port in value for port in ports)]
    edge = nginx_configuration(solo._place)
    assert not [port for port in ports if port in edge]
    assert not re.search("bucket|objects/", edge)


def test_solos_environment_is_settings_of_its_process(tmp_path: Path) -> None:
    environment = stack(tmp_path, "solo").environment()
    fields = {f"LIVESTREAM_{name.upper()}" for name in SoloSettings.model_fields}
    assert set(environment) <= fields
    required = {
        f"LIVESTREAM_{name.upper()}" for name, field in SoloSettings.model_fields.items() if field.is_required()
    }
    assert required <= set(environment)


@pytest.mark.parametrize("profile", PROFILES)
def test_a_crash_costs_no_committed_work_in_either_profile(tmp_path: Path, profile: ProfileName) -> None:
    settings = postgres_settings(stack(tmp_path, profile)._place)
    assert settings["fsync"] == settings["synchronous_commit"] == "on"
    assert "autovacuum" not in settings


def test_the_edge_listens_where_it_is_asked_to_and_pushes_to_itself_over_loopback(tmp_path: Path) -> None:
    listen = Listen(http="0.0.0.0:28980", rtmp="192.0.2.7:28935")
    solo = stack(tmp_path, "solo", listen)
    edge, environment, inner = nginx_configuration(solo._place), solo.environment(), solo.ports["rtmp-push"]
    assert "listen 0.0.0.0:28980;" in edge
    assert "listen 192.0.2.7:28935;" in edge
    assert f"listen 127.0.0.1:{inner};" in edge
    assert f"listen 127.0.0.1:{solo.ports['control']};" in edge
    assert environment["LIVESTREAM_PUBLIC_URL"] == "http://127.0.0.1:28980"
    assert environment["LIVESTREAM_STREAMING_PUBLIC_INGEST_URL"] == "rtmp://192.0.2.7:28935/live"
    assert environment["LIVESTREAM_STREAMING_INGEST_PUSH_URL"] == f"rtmp://127.0.0.1:{inner}/hls"


@pytest.mark.parametrize("rtmp", [None, "0.0.0.0:28935", "127.0.0.1:28935"])
def test_the_server_that_streamers_reach_has_no_internal_application(tmp_path: Path, rtmp: str | None) -> None:
    listen = None if rtmp is None else Listen(http="0.0.0.0:28980", rtmp=rtmp)
    solo = stack(tmp_path, "solo", listen)
    rtmp_servers = nginx_configuration(solo._place).split("http {")[0].split("server {")[1:]
    public, internal = rtmp_servers
    assert f"listen {rtmp or solo._place.address('rtmp')};" in public
    assert re.findall(r"application (\w+)", public) == ["live"]
    assert re.findall(r"listen (\S+);", internal) == [f"127.0.0.1:{solo.ports['rtmp-push']}"]
    assert re.findall(r"application (\w+)", internal) == ["hls"]


def test_the_profiles_of_a_checkout_live_apart() -> None:
    directories = [places.stack_directory(profile) for profile in PROFILES]
    assert [directory.name for directory in directories] == ["solo", "full"]
    assert len({directory.parent for directory in directories}) == 1
