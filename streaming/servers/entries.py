"""Media servers as an operator writes them down: a TOML file with a table for each, named as its sessions will be.

::

    [srs-1]
    dialect = "srs"
    secrets_file = "/etc/livestream/srs-1.secrets"
    api_url = "http://127.0.0.1:1985"
"""

import re
import tomllib
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from streaming.ingest.commands import Dialect
from streaming.ingest.hooked_servers import read_secrets

SERVERS_MAX: Final = 64
FILE_BYTES_MAX: Final = 262_144
NGINX_RTMP: Final = "nginx-rtmp"
"""The name of the media server that the settings themselves describe: the standard install's."""

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")

Address = Annotated[str, Field(pattern=r"^https?://[^\s?#]+$", max_length=500)]
Application = Annotated[str, Field(pattern=r"^[A-Za-z0-9._/-]+$", max_length=100)]


class ServersInvalid(ValueError):
    """The file does not describe media servers. `lines` has one per mistake: the server, the field, what is wrong."""

    def __init__(self, *lines: str) -> None:
        super().__init__("; ".join(lines))
        self.lines = lines


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    secrets_file: Path
    """The secrets in the address of its hooks, one a line: more than one while they are being replaced."""
    application: Application = "live"
    playback_url: str | None = None
    """Where its live streams play, with {channel_id} or {stream_id} in it; None: at the edge, from the shipper."""

    @field_validator("secrets_file")
    @classmethod
    def _has_secrets(cls, path: Path) -> Path:
        try:
            read_secrets(path)
        except OSError as error:
            raise ValueError(f"{path} cannot be read: {error.strerror}") from error
        return path

    @field_validator("playback_url")
    @classmethod
    def _names_the_stream(cls, template: str | None) -> str | None:
        if template is None:
            return None
        rest = template.replace("{channel_id}", "").replace("{stream_id}", "")
        if rest == template or not re.fullmatch(r"(https?://[^\s{}]+|/[^\s{}]*)", rest):
            raise ValueError("must be a URL or a path with {channel_id} or {stream_id} in it")
        return template


class NginxRtmpEntry(_Entry):
    """One more nginx-rtmp."""

    dialect: Literal[Dialect.NGINX_RTMP]
    control_url: Address
    stat_url: Address
    push_url: Annotated[str, Field(pattern=r"^rtmp://\S+$", max_length=500)]


class _WithApi(_Entry):
    api_url: Address
    api_authorization_file: Path | None = None
    """Holds the value of the header `Authorization` that its API wants."""

    @field_validator("api_authorization_file")
    @classmethod
    def _can_be_read(cls, path: Path | None) -> Path | None:
        if path is not None:
            read_authorization(path)
        return path


class SrsEntry(_WithApi):
    """An SRS; `api_url` is where its `http_api` listens."""

    dialect: Literal[Dialect.SRS]


class MediaMtxEntry(_WithApi):
    """A MediaMTX; `api_url` is its `apiAddress`."""

    dialect: Literal[Dialect.MEDIAMTX]


class AntMediaEntry(_WithApi):
    """An Ant Media; `api_url` is where its web server listens: the application's REST API lies below."""

    dialect: Literal[Dialect.ANT_MEDIA]


ServerEntry = NginxRtmpEntry | SrsEntry | MediaMtxEntry | AntMediaEntry

_ENTRY: TypeAdapter[ServerEntry] = TypeAdapter(Annotated[ServerEntry, Field(discriminator="dialect")])


def read_servers(path: Path) -> dict[str, ServerEntry]:
    """The media servers in a file, by name. Raises ServersInvalid, which names every server and field that is wrong."""
    try:
        with path.open("rb") as file:
            text = file.read(FILE_BYTES_MAX + 1).decode()
        tables = tomllib.loads(text)
    except OSError as error:
        raise ServersInvalid(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:  # TOMLDecodeError, UnicodeDecodeError
        raise ServersInvalid(f"{path} is not TOML: {error}") from error
    if len(text) > FILE_BYTES_MAX or len(tables) > SERVERS_MAX:
        raise ServersInvalid(f"{path} may describe at most {SERVERS_MAX} media servers in {FILE_BYTES_MAX} bytes")
    found: dict[str, ServerEntry] = {}
    lines: list[str] = []
    for name, table in tables.items():
        if not _NAME.fullmatch(name) or name == NGINX_RTMP:
            lines.append(
                f"{name}: a name has 1 to 40 of a-z 0-9 - and is not {NGINX_RTMP}, which the settings describe"
            )
            continue
        try:
            found[name] = _ENTRY.validate_python(table)
        except ValidationError as error:
            lines += _mistakes(name, error)
    lines += _same_secrets(found)
    if lines:
        raise ServersInvalid(*lines)
    return found


def read_authorization(path: Path) -> str:
    """The value of a header, in a file. Raises ValueError."""
    try:
        value = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    if not value or not value.isprintable() or len(value) > 4_096:
        raise ValueError(f"{path} must hold one line: the value of the header Authorization")
    return value


def _mistakes(name: str, error: ValidationError) -> list[str]:
    dialects = [dialect.value for dialect in Dialect]
    lines = []
    for one in error.errors(include_url=False, include_input=False, include_context=False):
        field = ".".join(str(part) for part in one["loc"] if part not in dialects)
        message = one["msg"].removeprefix("Value error, ")
        if one["type"].startswith("union_tag"):
            field, message = "dialect", f"must be one of {', '.join(dialects)}"
        lines.append(": ".join(filter(None, (name, field, message))))
    return lines


def _same_secrets(found: dict[str, ServerEntry]) -> list[str]:
    owner: dict[str, str] = {}
    lines = []
    for name, entry in found.items():
        owners = {owner.setdefault(secret, name) for secret in read_secrets(entry.secrets_file)} - {name}
        lines += [f"{name}: secrets_file: has a secret of {other}: each server needs its own" for other in owners]
    return lines
