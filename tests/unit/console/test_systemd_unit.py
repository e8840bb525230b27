"""The systemd unit says what the command line understands, gives it the time it needs, and systemd can read it."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from configparser import ConfigParser
from pathlib import Path

import pytest
import typer

from console.__main__ import app
from console.installation import SERVICE_DIRECTORY
from deploy.local import credentials, places
from deploy.local.parts import PROFILES, Place
from deploy.local.ports import Ports
from deploy.local.stack import PARTS
from runtime.process import CLOSING_SECONDS
from runtime.settings import ProcessSettings

UNIT = places.CHECKOUT / "deploy/systemd/livestream.service"
INSTALLED = "/opt/livestream"


class _CaseSensitive(ConfigParser):
    """systemd's keys differ by case."""

    def optionxform(self, optionstr: str) -> str:
        return optionstr


@pytest.fixture(scope="module")
def unit() -> ConfigParser:
    parser = _CaseSensitive(interpolation=None, strict=False)
    parser.read_string(UNIT.read_text())
    return parser


def test_the_command_is_a_verb_with_options_that_it_has(unit: ConfigParser) -> None:
    program, verb, *options = shlex.split(unit["Service"]["ExecStart"])
    assert program == f"{INSTALLED}/.venv/bin/livestream"
    scripts = (places.CHECKOUT / "pyproject.toml").read_text()
    assert 'livestream = "console.__main__:main"' in scripts
    commands = getattr(typer.main.get_command(app), "commands", {})
    context = commands[verb].make_context(verb, options, resilient_parsing=False)
    assert context.params["directory"] == SERVICE_DIRECTORY


def test_its_places_are_those_of_the_checkout_and_of_the_server(unit: ConfigParser) -> None:
    service = unit["Service"]
    assert service["WorkingDirectory"] == INSTALLED
    assert f"/var/lib/{service['StateDirectory']}" == str(SERVICE_DIRECTORY)
    assert service["StateDirectoryMode"] == "0700"
    document = Path(unit["Unit"]["Documentation"].removeprefix(f"file:{INSTALLED}/"))
    assert (places.CHECKOUT / document).is_file()


def test_the_time_to_stop_is_enough_for_everything_that_has_a_grace(unit: ConfigParser, tmp_path: Path) -> None:
    place = Place(tmp_path, Ports(17000), credentials.make(), PROFILES["solo"])
    launches = [PARTS[name].launch(place) for name in place.profile.engines]
    services = float(ProcessSettings.model_fields["stop_grace_seconds"].default) + CLOSING_SECONDS
    being_started = max(launch.ready_seconds_max for launch in launches)
    needed = services + being_started + sum(launch.stop_grace_seconds for launch in launches)
    assert float(unit["Service"]["TimeoutStopSec"]) >= needed


def test_the_engines_are_asked_by_us_and_not_by_systemd(unit: ConfigParser) -> None:
    assert unit["Service"]["KillMode"] == "mixed"
    assert unit["Service"]["Restart"] == "on-failure"


def test_encoders_keep_what_they_need(unit: ConfigParser) -> None:
    service = unit["Service"]
    assert set(service["RestrictNamespaces"].split()) == {"user", "net"}
    assert "PrivateUsers" not in service
    assert service["OOMPolicy"] == "continue"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze here")
def test_systemd_can_read_it(tmp_path: Path) -> None:
    copy = tmp_path / "livestream.service"
    copy.write_text(UNIT.read_text().replace(INSTALLED, str(tmp_path)))
    program = tmp_path / ".venv/bin/livestream"
    program.parent.mkdir(parents=True)
    program.symlink_to("/bin/true")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
