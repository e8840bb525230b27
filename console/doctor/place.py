"""Checks the server's directory: its modes, its settings, and that its addresses are free or its own."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from console.doctor.finding import Finding, fail, ok, warn
from console.installation import env_file_of, is_held, load_env_file
from console.server import ServerSettings, misfits, own_engines, stack_of
from deploy.local.env_file import OTHERS_MAY, EnvFileInvalid
from deploy.local.errors import StackError
from deploy.local.listen import Address, check_free
from deploy.local.stack import Stack
from runtime.settings import SettingsInvalid, load_settings


def check_directory(directory: Path) -> Finding:
    """Ours, and closed to others."""
    try:
        found = directory.stat()
    except FileNotFoundError:
        return warn("directory", f"{directory} is not there yet", f"livestream init --directory {directory}")
    except OSError as error:
        return fail("directory", f"{directory}: {error.strerror}", "run this as the user who owns it")
    return judge_directory(str(directory), found.st_mode, found.st_uid, os.geteuid())


def judge_directory(path: str, mode: int, owner: int, me: int) -> Finding:
    """`mode` as stat gives it; `owner` and `me` are user ids."""
    if owner != me and me != 0:
        return fail("directory", f"{path} belongs to user {owner}, this is user {me}", "run this as that user")
    if owner != me:
        return warn("directory", f"{path} belongs to user {owner}, this is root", "run the server as that user")
    if mode & OTHERS_MAY:
        return warn("directory", f"{path} is open to others ({stat.S_IMODE(mode):04o})", f"chmod 700 {path}")
    return ok("directory", f"{path} ({stat.S_IMODE(mode):04o})")


def read_settings(directory: Path) -> tuple[ServerSettings | None, list[Finding]]:
    """The settings if they are good, and a finding for everything that is wrong with them."""
    path = env_file_of(directory)
    if not path.exists():
        return None, [warn("settings", f"no {path} yet", f"livestream init --directory {directory}")]
    try:
        load_env_file(path)
        settings = load_settings(ServerSettings)
        unfit = misfits(stack_of(directory, settings), settings)
    except (EnvFileInvalid, SettingsInvalid) as wrong:
        return None, [fail("settings", line, f"edit {path}") for line in wrong.lines]
    except StackError as error:
        return None, [fail("settings", str(error), f"edit {path}")]
    if unfit:
        return None, [fail("settings", line, f"edit {path}") for line in unfit]
    return settings, [ok("settings", f"{path} ({stat.S_IMODE(path.stat().st_mode):04o})")]


def check_addresses(directory: Path, settings: ServerSettings) -> list[Finding]:
    """Every address that the server listens on is free, or its own process has it."""
    stack = stack_of(directory, settings)
    engines = own_engines(stack, settings)
    found = [check_address(name, address, runs=stack.runs(name)) for name, address in _addresses(stack, engines)]
    services = Address(settings.http_host, settings.http_port)
    return [*found, check_address("services", services, runs=is_held(directory))]


def check_address(name: str, address: Address, *, runs: bool) -> Finding:
    """`runs`: the process that this address is meant for is alive."""
    check = f"address of {name}"
    if runs:
        return ok(check, f"{address}, in use by this server")
    try:
        check_free(name, name, address)
    except StackError as error:
        return fail(check, f"{address} is not to be had", str(error).partition(": ")[2])
    return ok(check, f"{address}, free")


def check_web_push(directory: Path, settings: ServerSettings) -> Finding:
    """Web Push has what it needs; servers of before it was there have no key."""
    if settings.notify_vapid_private_key is None:
        return warn("web push", "off: there is no key", f"livestream push-key >> {env_file_of(directory)}")
    if not settings.public_url.startswith("https://"):
        return ok("web push", f"on, but browsers take it from https addresses only, not from {settings.public_url}")
    return ok("web push", "on")


def growing_places(directory: Path, settings: ServerSettings | None) -> Mapping[str, Path]:
    """The directories that grow, by what they hold."""
    if settings is None:
        return {"database": directory, "live segments": directory / "hls", "recordings": directory / "recordings"}
    places = {"database": directory, "live segments": settings.archive_hls_directory}
    if settings.archive_object_store == "disk":
        places["recordings"] = settings.archive_disk_directory
    return places


def _addresses(stack: Stack, engines: tuple[str, ...]) -> list[tuple[str, Address]]:
    """What each engine listens on, whether or not it runs."""
    found = [status for status in stack.status() if status.name in engines]
    return [(status.name, address) for status in found for address in status.addresses]
