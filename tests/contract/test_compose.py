"""deploy/compose.yaml says nothing that is not so: its format, and every service, port, volume, variable and command.

It is not run here (that needs Docker); `deploy/container/check` runs the image and every process in it.
"""

from __future__ import annotations

import importlib.util
import inspect
import ipaddress
import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from archive.__main__ import PROCESSES as ARCHIVE_PROCESSES
from console.__main__ import app
from console.init_secrets import write_secrets
from deploy.container.edge import EdgeSettings, nginx_configuration
from deploy.local import ENGINES, SERVICES
from eventbus.settings import KafkaSettings
from runtime.settings import PostgresSettings, ProcessSettings, load_settings

CHECKOUT = Path(__file__).parents[2]
FILE = CHECKOUT / "deploy/compose.yaml"
DOCKERFILE = (CHECKOUT / "deploy/Dockerfile").read_text()
# The Compose Specification's own schema, as the check-jsonschema package carries it.
SCHEMA = files("check_jsonschema") / "builtin_schemas/vendor/compose-spec.json"
SECRETS = "/etc/livestream/secrets"

PUBLISHED = {8080, 1935}
EDGE_LISTENS = {8080, 1935, 8081, 1936}
LISTENS = {"postgres": {5432}, "redis": {6379}, "kafka": {9092, 9093}, "minio": {9000}, "edge": EDGE_LISTENS}
# What a setting of a verb is called, where the command is no process of its own.
VERB_SETTINGS: Mapping[str, type[ProcessSettings]] = {"migrate": PostgresSettings, "topics": KafkaSettings}

Part = dict[str, Any]


def interpolated(text: str) -> str:
    """The file as Compose reads it when nothing is set: every variable must have a default."""
    assert not re.findall(r"(?<!\$)\$\{[A-Z_]+\}|(?<!\$)\$[A-Z]", text), "a variable without a default needs editing"
    return re.sub(r"(?<!\$)\$\{[A-Z_]+:-([^}]*)\}", r"\1", text).replace("$$", "$")


@cache
def compose() -> dict[str, Any]:
    """The parsed file."""
    return cast(dict[str, Any], yaml.safe_load(interpolated(FILE.read_text())))


def parts() -> dict[str, Part]:
    return cast(dict[str, Part], compose()["services"])


def ours() -> dict[str, Part]:
    """The parts that run from our image."""
    return {name: part for name, part in parts().items() if "build" in part}


def processes() -> dict[str, Part]:
    """Those of ours that stay."""
    return {name: part for name, part in ours().items() if "restart" in part}


def environment(part: Part) -> dict[str, str]:
    return cast(dict[str, str], part.get("environment", {}))


def mounts(part: Part) -> Iterator[tuple[str, str, str]]:
    for mount in part.get("volumes", []):
        volume, target, *mode = mount.split(":")
        yield volume, target, mode[0] if mode else "rw"


def settings_type(part: Part) -> type[ProcessSettings]:
    """The settings class that a part's command loads."""
    program, *arguments = part["command"]
    if program == "livestream":
        return VERB_SETTINGS[arguments[0]]
    if arguments[1] == "deploy.container.edge":
        return EdgeSettings
    module = importlib.import_module(f"{arguments[1]}.settings")
    classes = [
        member
        for _, member in inspect.getmembers(module, inspect.isclass)
        if issubclass(member, ProcessSettings) and member.__module__ == module.__name__
    ]
    # A process has all of its module's settings: the one class that no other of them builds on.
    [found] = [one for one in classes if not any(other is not one and issubclass(other, one) for other in classes)]
    return found


def test_the_file_keeps_to_the_compose_specification() -> None:
    jsonschema.Draft7Validator(json.loads(SCHEMA.read_text())).validate(compose())


def test_it_has_the_parts_of_the_local_stack() -> None:
    engines = {"edge" if engine == "nginx" else engine for engine in ENGINES}
    assert engines | set(SERVICES) | {"secrets", "migrate", "topics"} == set(parts())


@pytest.mark.parametrize("name", sorted(ours()))
def test_every_command_exists(name: str) -> None:
    program, *arguments = ours()[name]["command"]
    if program == "livestream":
        words = [word for word in arguments if not word.startswith(("-", "/"))]
        shown = CliRunner().invoke(app, [*words, "--help"])
        assert shown.exit_code == 0, shown.output
        assert " ".join(words) in shown.output
        return
    assert (program, arguments[0]) == ("python", "-m")
    spec = importlib.util.find_spec(arguments[1])
    assert spec is not None
    assert spec.submodule_search_locations is None or importlib.util.find_spec(f"{arguments[1]}.__main__")
    assert arguments[2:] == [] or (arguments[1] == "archive" and arguments[2] in ARCHIVE_PROCESSES)


@pytest.mark.parametrize("name", sorted(set(ours()) - {"secrets"}))
def test_every_process_starts_with_exactly_the_settings_it_is_given(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_secrets(tmp_path, postgres="postgres:5432/livestream", redis="redis:6379/0")
    for variable, value in environment(ours()[name]).items():
        monkeypatch.setenv(variable, str(tmp_path) if value == SECRETS else value)

    settings = load_settings(settings_type(ours()[name]))  # raises for what is missing, wrong or unknown

    for field in settings.model_fields_set:
        assert not field.startswith("edge_") or name == "edge"


def test_a_variable_that_nobody_reads_would_be_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_secrets(tmp_path, postgres="postgres:5432/livestream", redis="redis:6379/0")
    monkeypatch.setenv("LIVESTREAM_SECRETS_DIR", str(tmp_path))
    monkeypatch.setenv("LIVESTREAM_POSTGRES_DNS", "typo")
    with pytest.raises(Exception, match="LIVESTREAM_POSTGRES_DNS: unknown"):
        load_settings(PostgresSettings)


def test_every_address_in_a_variable_is_a_part_that_listens_there() -> None:
    hosts = {
        str(part["networks"]["default"]["ipv4_address"]): name for name, part in parts().items() if "networks" in part
    }
    found = 0
    for name, part in parts().items():
        for variable, value in environment(part).items():
            for host, port in re.findall(r"([a-z0-9][a-z0-9.-]*):([0-9]{4,5})\b", value):
                if variable.startswith("LIVESTREAM_STREAMING_PUBLIC") or variable == "LIVESTREAM_PUBLIC_URL":
                    assert int(port) in PUBLISHED
                    continue
                target = "edge" if host == "127.0.0.1" else hosts.get(host, host)
                assert target in parts(), f"{name}: {variable}={value}"
                assert int(port) in LISTENS.get(target, {8080}), f"{name}: {variable}={value}"
                found += 1
    assert found > 20


def test_the_edge_pushes_to_itself_where_it_listens_for_itself_alone() -> None:
    pushed_to = urlsplit(environment(parts()["streaming"])["LIVESTREAM_STREAMING_INGEST_PUSH_URL"])
    assert pushed_to.netloc == EdgeSettings.model_fields["edge_push_listen"].default
    assert pushed_to.port not in PUBLISHED


def test_only_http_and_rtmp_of_the_edge_are_published() -> None:
    published = {name: part["ports"] for name, part in parts().items() if "ports" in part}
    assert published == {"edge": [f"{port}:{port}" for port in sorted(PUBLISHED, reverse=True)]}
    assert {int(port) for port in re.findall(r"^EXPOSE (.*)$", DOCKERFILE, re.M)[0].split()} == PUBLISHED


def test_addresses_given_by_hand_are_distinct_and_outside_what_docker_gives_out() -> None:
    [pool] = compose()["networks"]["default"]["ipam"]["config"]
    network, dynamic = ipaddress.ip_network(pool["subnet"]), ipaddress.ip_network(pool["ip_range"])
    given = [
        ipaddress.ip_address(part["networks"]["default"]["ipv4_address"])
        for part in parts().values()
        if "networks" in part
    ]
    assert len(set(given)) == len(given) > 5
    assert all(address in network and address not in dynamic for address in given)
    assert "networks" not in parts()["archive-worker"], "an address of its own would stop --scale"


def test_every_volume_is_declared_used_and_where_its_users_expect_it() -> None:
    used = {volume for part in parts().values() for volume, _, _ in mounts(part)}
    assert used == set(compose()["volumes"])
    made = re.findall(r"(/\S+)", re.findall(r"install -d .*?\n\n", DOCKERFILE, re.S)[0])
    for name, part in ours().items():
        for _, target, _ in mounts(part):
            assert target in made, f"{name} mounts {target}, which the image does not give to its user"
    [hls] = {
        target for name in ("edge", "archive-shipper") for volume, target, _ in mounts(parts()[name]) if volume == "hls"
    }
    assert environment(parts()["archive-shipper"])["LIVESTREAM_ARCHIVE_HLS_DIRECTORY"] == hls
    assert EdgeSettings.model_fields["edge_hls_directory"].default == hls


def test_secrets_are_files_that_the_first_part_writes_and_all_others_only_read(tmp_path: Path) -> None:
    written = write_secrets(tmp_path, postgres="postgres:5432/livestream", redis="redis:6379/0")
    for name, part in parts().items():
        for volume, target, mode in mounts(part):
            assert volume != "secrets" or (target == SECRETS and (mode == "ro" or name == "secrets"))
        for variable, value in environment(part).items():
            if re.search("PASSWORD|SECRET|TOKEN|CREDENTIAL|ENV_FILE|DSN|ACCESS_KEY", variable):
                assert value == SECRETS or value.removeprefix(SECRETS + "/") in written, f"{name}: {variable}"
    named = set(re.findall(rf"{SECRETS}/([\w./-]+)", FILE.read_text()))
    assert named <= set(written)
    assert named == {name for name in written if name.startswith("engines/")}


def test_whoever_waits_for_a_part_can_tell_when_it_is_there() -> None:
    for name, part in parts().items():
        for needed, how in part.get("depends_on", {}).items():
            assert needed in parts(), f"{name} waits for {needed}"
            once = "restart" not in parts()[needed]
            assert how == {"condition": "service_completed_successfully" if once else "service_healthy"}
    for name, part in parts().items():
        assert ("healthcheck" in part) == ("restart" in part), name


def test_images_are_pinned_and_ours_is_built_from_this_checkout() -> None:
    for name, part in parts().items():
        if name not in ours():
            assert re.fullmatch(
                r"[a-z0-9.]+/[a-z0-9/]+:(?!latest)[A-Za-z0-9._-]*[0-9][A-Za-z0-9._-]*", part["image"]
            ), name
    assert {json.dumps(part["build"]) for part in ours().values()} == {
        '{"context": "..", "dockerfile": "deploy/Dockerfile"}'
    }
    assert re.search(r"^ARG BASE=\S+:bookworm-\d{8}-slim@sha256:[0-9a-f]{64}$", DOCKERFILE, re.M)
    assert "--require-hashes" in DOCKERFILE


def test_our_processes_run_without_privileges() -> None:
    assert re.findall(r"^USER (\S+)$", DOCKERFILE, re.M) == ["livestream"]
    for name, part in ours().items():
        assert part["cap_drop"] == ["ALL"], name
        assert part["security_opt"] == ["no-new-privileges:true"], name


def test_containers_get_more_time_to_stop_than_processes_take() -> None:
    for name, part in processes().items():
        grace = ProcessSettings.model_fields["stop_grace_seconds"].default
        assert int(part["stop_grace_period"].removesuffix("s")) > grace + 2, name


def test_the_edges_configuration_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_secrets(tmp_path, postgres="postgres:5432/livestream", redis="redis:6379/0")
    for variable, value in environment(parts()["edge"]).items():
        monkeypatch.setenv(variable, str(tmp_path) if value == SECRETS else value)
    text = nginx_configuration(load_settings(EdgeSettings))
    assert "${" not in text
    secret = (tmp_path / "livestream_streaming_ingest_secret").read_text()
    address = parts()["streaming"]["networks"]["default"]["ipv4_address"]
    assert f"on_publish http://{address}:8080/hooks/ingest/nginx-rtmp/{secret};" in text
    assert f"allow {address};" in text
    assert text.count(f"server {parts()['chat-1']['networks']['default']['ipv4_address']}:8080;") == 1
    assert (
        environment(parts()["chat-1"])["LIVESTREAM_HTTP_TRUSTED_PROXIES"]
        == (parts()["edge"]["networks"]["default"]["ipv4_address"])
    )


def test_what_the_image_is_made_of_is_in_the_builds_context() -> None:
    allowed = {line[1:] for line in (CHECKOUT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    modules = {part["command"][2].split(".")[0] for part in processes().values()}
    assert modules | {"console", "events", "eventbus", "runtime", "web"} == allowed
    for directory in allowed:
        assert (CHECKOUT / directory).is_dir()
