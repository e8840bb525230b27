"""A server for real use: the settings of `livestream solo`, how new ones are made, and the stack that they describe."""

import socket
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field

from deploy.local import credentials, services
from deploy.local.env_file import assignment
from deploy.local.errors import StackError
from deploy.local.listen import Listen, parse
from deploy.local.parts import PROFILES, DiskRecordings, Place, Recordings, S3Recordings
from deploy.local.stack import Stack
from runtime.settings import variable_name
from runtime.settings_docs import settings_of
from solo.settings import SoloSettings

RTMP_PORT = 1935
WEB_PORTS = {"http": 80, "https": 443}
# Documentation's own network (RFC 5737): asking for the way there sends nothing and tells which address of ours it has.
FAR_AWAY = ("192.0.2.1", 9)

# What nginx and our process must agree on; nginx has it from where the server lives and listens.
TOLD_TO_NGINX = ("streaming_ingest_control_url", "streaming_ingest_push_url", "streaming_ingest_stat_url")

HEAD = """\
# Settings of this server, made by `livestream init`. It holds secrets: keep it to yourself (mode 600), and keep a copy.
# NAME=value lines, as shells and systemd read them. A variable of the same name in the environment wins.
# Postgres and Redis run below this directory while their addresses are those given here; name others to use those.
"""
DEFAULTS_HEAD = "# --- everything else, at its default: take away the # to change it ---"


class ServerSettings(SoloSettings):
    """Settings of `livestream solo`: those of `python -m solo`, and where people reach the server."""

    edge_http_listen: str = Field(
        default="0.0.0.0:8080", description="Address of the web page and the APIs, as IP:PORT."
    )
    edge_rtmp_listen: str = Field(default="0.0.0.0:1935", description="Address that streamers publish to, as IP:PORT.")

    @property
    def listen(self) -> Listen:
        """Both; raises AddressWrong."""
        return Listen(self.edge_http_listen, self.edge_rtmp_listen)


def stack_of(directory: Path, settings: ServerSettings) -> Stack:
    """The engines of a server; raises AddressWrong, StackError."""
    written, read = directory / "hls", settings.archive_hls_directory
    if read.resolve() != written.resolve():
        raise StackError(f"{variable_name('archive_hls_directory')} is {read}: set it to {written}, where nginx writes")
    return Stack(directory, profile="solo", listen=settings.listen, recordings=recordings_of(settings))


def recordings_of(settings: ServerSettings) -> Recordings:
    """Where the edge gets recordings from: where the archive puts them."""
    if settings.archive_object_store == "disk":
        return DiskRecordings(settings.archive_disk_directory)
    assert settings.archive_s3_endpoint_url is not None  # noqa: S101  the settings are complete
    return S3Recordings(settings.archive_s3_endpoint_url, settings.archive_s3_bucket)


def misfits(stack: Stack, settings: ServerSettings) -> list[str]:
    """A line for every setting that says something else than what the server's nginx is told."""
    told = stack.environment()
    wanted = {
        "http_host": "127.0.0.1",
        "http_port": str(stack.ports["solo"]),
        **{name: told[variable_name(name)] for name in TOLD_TO_NGINX},
    }
    return [
        f"{variable_name(name)} is {getattr(settings, name)}: set it to {value}, which this server's nginx goes by"
        for name, value in wanted.items()
        if str(getattr(settings, name)) != value
    ]


def own_engines(stack: Stack, settings: ServerSettings) -> tuple[str, ...]:
    """The engines that the server starts: those that its settings do not look for elsewhere."""
    addresses = {
        "postgres": settings.postgres_dsn.get_secret_value(),
        "redis": settings.redis_url.get_secret_value(),
    }
    return tuple(
        engine
        for engine in stack.engines
        if engine not in addresses or _host_port(addresses[engine]) == ("127.0.0.1", stack.ports[engine])
    )


def new_settings(directory: Path, listen: Listen, public_url: str) -> dict[str, str]:
    """What a new server in this directory is told, secrets included: addresses and ports are chosen once, here."""
    stack = Stack(directory, profile="solo", listen=listen)
    values = services.settings(Place(directory, stack.ports, credentials.make(), PROFILES["solo"], listen))
    del values["LIVESTREAM_JWKS_URL"]  # one process has its own keys at hand
    # for trying things out on one machine; here strangers would reach through us what listens on loopback
    del values[variable_name("notify_outbound_allow")]
    host, rtmp_port = urlsplit(public_url).hostname or "", parse(listen.rtmp).port
    host = f"[{host}]" if ":" in host else host
    return values | {
        "LIVESTREAM_PUBLIC_URL": public_url,
        "LIVESTREAM_STREAMING_PUBLIC_INGEST_URL": (
            f"rtmp://{host}/live" if rtmp_port == RTMP_PORT else f"rtmp://{host}:{rtmp_port}/live"
        ),
        "LIVESTREAM_HTTP_PORT": str(stack.ports["solo"]),
        variable_name("edge_http_listen"): listen.http,
        variable_name("edge_rtmp_listen"): listen.rtmp,
    }


def own_url(listen: Listen) -> str:
    """Where this machine's neighbours reach a server that listens so, as far as the machine knows itself."""
    address = parse(listen.http)
    host = str(address.near).rpartition(":")[0]
    if address.host == "0.0.0.0":  # noqa: S104  compared, not listened on
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect(FAR_AWAY)
                host = str(probe.getsockname()[0])
            except OSError:  # no network but loopback
                host = "127.0.0.1"
    return f"http://{host}" if address.port == WEB_PORTS["http"] else f"http://{host}:{address.port}"


def env_text(values: Mapping[str, str]) -> str:
    """The settings file: what was decided, then every other setting at its default; each with what it is for."""
    decided, others = [], []
    for setting in settings_of([("solo", ServerSettings)]):
        limits = f" ({setting.limits})" if setting.limits else ""
        comment = f"# {setting.description}{limits}"
        if setting.variable in values:
            decided += ["", comment, assignment(setting.variable, values[setting.variable])]
        elif setting.default is not None:
            others += ["", comment, f"#{setting.variable}={setting.default}"]
    return "\n".join([HEAD.rstrip(), *decided, "", "", DEFAULTS_HEAD, *others]) + "\n"


def _host_port(url: str) -> tuple[str, int | None]:
    parts = urlsplit(url)
    try:
        return parts.hostname or "", parts.port
    except ValueError:  # several servers (Sentinels, a cluster): none of them is our own
        return "", None
