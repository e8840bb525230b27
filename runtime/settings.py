"""Settings: one frozen typed object per process, from LIVESTREAM_* variables and files; unknown names are errors."""

import os
import re
from collections.abc import Mapping
from ipaddress import ip_network
from typing import Final, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError

from runtime.limits import API, LIMIT_MAX, LIMITS, LOGINS, STREAM_CREATIONS
from runtime.redis_address import read_address

PREFIX = "LIVESTREAM_"
POSTGRES_REPLICAS_MAX: Final = 8
SECRETS_DIR_VARIABLE = "LIVESTREAM_SECRETS_DIR"

# Names that begin so belong to one service (or to the bus). One environment file serves all processes, so a process
# leaves the names of others alone; names with a prefix that it uses itself must be names of its own fields.
OWNED_PREFIXES = (
    "accounts_",
    "archive_",
    "bus_",
    "chat_",
    "console_",
    "edge_",
    "kafka_",
    "notify_",
    "solo_",
    "streaming_",
    "web_",
)


class SettingsInvalid(Exception):
    """The environment does not make settings. `lines` has one line per variable: its name, what is wrong, the limit."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("; ".join(lines))
        self.lines = lines


class ProcessSettings(BaseSettings):
    """What every process has."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", hide_input_in_errors=True)

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least important lines that are written."
    )
    log_format: Literal["json", "console"] = Field(
        default="json", description="One JSON object a line, or text for people."
    )
    stop_grace_seconds: float = Field(
        default=8.0, gt=0, le=300, description="How long a process may take to finish its work after SIGTERM."
    )


class HttpSettings(ProcessSettings):
    """A process that serves HTTP."""

    http_host: str = Field(default="127.0.0.1", description="The address the HTTP server listens on.")
    http_port: int = Field(default=8080, ge=0, le=65_535, description="Its TCP port; 0 takes any free one.")
    http_trusted_proxies: str = Field(
        default="127.0.0.1,::1",
        description="Addresses and networks whose X-Forwarded-For is believed, separated by commas: the edge.",
    )
    limit_api_per_minute: int = Field(
        default=API.amount, ge=1, le=LIMIT_MAX, description=f"{API.for_what}, for each {API.counted}."
    )
    limit_logins_per_minute: int = Field(
        default=LOGINS.amount, ge=1, le=LIMIT_MAX, description=f"{LOGINS.for_what}, for each {LOGINS.counted}."
    )
    limit_stream_creations_per_hour: int = Field(
        default=STREAM_CREATIONS.amount,
        ge=1,
        le=LIMIT_MAX,
        description=f"{STREAM_CREATIONS.for_what}, for each {STREAM_CREATIONS.counted}.",
    )

    @field_validator("http_trusted_proxies")
    @classmethod
    def _networks(cls, proxies: str) -> str:
        for proxy in filter(None, (part.strip() for part in proxies.split(","))):
            ip_network(proxy)  # raises ValueError
        return proxies

    def limit_amounts(self) -> dict[str, int]:
        """How many requests each limit allows, by its name."""
        return {limit.name: getattr(self, limit.field) for limit in LIMITS}


class PublicSettings(ProcessSettings):
    """A process that gives out addresses of the whole system."""

    public_url: str = Field(
        description="Where people reach the system: scheme, host and port of the edge, without a path.",
        pattern=r"^https?://[^/?#\s]+$",
    )


class PostgresSettings(ProcessSettings):
    """A process with tables."""

    postgres_dsn: SecretStr = Field(description="Postgres, as postgresql://user:password@host:port/database.")
    postgres_connections_max: int = Field(
        default=10, ge=1, le=20, description="Pooled connections to Postgres of one process, at most."
    )
    postgres_command_timeout_seconds: float = Field(
        default=10.0, gt=0, le=60, description="After this a statement is given up and cancelled."
    )
    postgres_slow_query_seconds: float = Field(
        default=0.1, gt=0, le=60, description="A statement that takes so long is logged, by its name, and counted."
    )


class ReadSettings(PostgresSettings):
    """A process that may read from replicas of Postgres."""

    postgres_replica_dsns: SecretStr | None = Field(
        default=None,
        description="Streaming replicas of Postgres that reads may go to, each as postgresql://..., separated by "
        "commas; none: all reads go to the primary.",
    )
    postgres_replica_connections_max: int = Field(
        default=10, ge=1, le=20, description="Pooled connections of one process to all replicas together, at most."
    )
    postgres_replica_lag_seconds_max: float = Field(
        default=1.0, gt=0, le=60, description="A replica that is further behind is not read from."
    )
    postgres_replica_read_seconds_max: float = Field(
        default=0.5, gt=0, le=10, description="What a replica has not answered by then is read from the primary."
    )
    postgres_replica_healthy_seconds: float = Field(
        default=3.0, gt=0, le=60, description="So long a replica that was left out must do well before it is read from."
    )

    @property
    def replica_dsns(self) -> tuple[SecretStr, ...]:
        """Every replica's own address."""
        if self.postgres_replica_dsns is None:
            return ()
        return tuple(SecretStr(dsn) for dsn in _split_dsns(self.postgres_replica_dsns.get_secret_value()))

    @field_validator("postgres_replica_dsns")
    @classmethod
    def _replica_dsns_are_understood(cls, dsns: SecretStr | None) -> SecretStr | None:
        for dsn in _split_dsns(dsns.get_secret_value()) if dsns else ():
            # One server each: behind an address of several, nobody knows which one has what.
            if not re.fullmatch(r"postgres(ql)?://\S+", dsn) or "," in urlsplit(dsn).netloc:
                raise ValueError(
                    "must be postgresql://user:password@host:port/database, one server each, comma between"
                )
        if dsns and len(_split_dsns(dsns.get_secret_value())) > POSTGRES_REPLICAS_MAX:
            raise ValueError(f"has more than {POSTGRES_REPLICAS_MAX} replicas")
        return dsns


class RedisSettings(ProcessSettings):
    """A process that uses Redis."""

    redis_url: SecretStr = Field(
        description="Redis, as redis://user:password@host:port/number; behind Sentinels "
        "redis+sentinel://user:password@sentinel:26379,sentinel:26379/service/number, a cluster "
        "redis+cluster://user:password@node:6379,node:6379; rediss for TLS."
    )

    @field_validator("redis_url")
    @classmethod
    def _redis_url_is_understood(cls, url: SecretStr) -> SecretStr:
        read_address(url.get_secret_value())
        return url


class IssuerSettings(ProcessSettings):
    """A process that knows whose access tokens are ours."""

    token_issuer: str = Field(default="livestream", min_length=1, description="The `iss` that access tokens have.")


class TokenSettings(IssuerSettings):
    """A process that verifies access tokens."""

    jwks_url: str = Field(
        description="Where the accounts service publishes its public keys (JWKS).", pattern=r"^https?://\S+$"
    )


S = TypeVar("S", bound=ProcessSettings)

SHARED_SETTINGS: tuple[type[ProcessSettings], ...] = (
    ProcessSettings,
    HttpSettings,
    PublicSettings,
    PostgresSettings,
    ReadSettings,
    RedisSettings,
    IssuerSettings,
    TokenSettings,
)


def load_settings(settings_type: type[S], environment: Mapping[str, str] | None = None) -> S:
    """The process's settings from `os.environ`; raises SettingsInvalid with a line for everything that is wrong.

    Secrets may also be files named like the variable (lower case) in the directory LIVESTREAM_SECRETS_DIR.
    `environment` is looked at for unknown names only (it exists for tests of that rule).
    """
    lines = unknown_variables(settings_type, os.environ if environment is None else environment)
    secrets_dir = os.environ.get(SECRETS_DIR_VARIABLE)
    if secrets_dir is not None and not os.path.isdir(secrets_dir):  # noqa: PTH112  a Path("") would be "."
        raise SettingsInvalid([*lines, f"{SECRETS_DIR_VARIABLE}: not a directory"])
    try:
        settings = settings_type(_secrets_dir=secrets_dir)
    except ValidationError as error:
        lines.extend(_error_lines(settings_type, error))
    except SettingsError as error:
        lines.append(str(error))
    if lines:
        raise SettingsInvalid(lines)
    return settings


def unknown_variables(settings_type: type[ProcessSettings], environment: Mapping[str, str]) -> list[str]:
    """A line for every LIVESTREAM_* name in `environment` that nobody reads: most likely a mistyped one."""
    own = set(settings_type.model_fields)
    shared = {field for shared_type in SHARED_SETTINGS for field in shared_type.model_fields}
    foreign = tuple(prefix for prefix in OWNED_PREFIXES if not any(field.startswith(prefix) for field in own))
    lines = []
    for variable in sorted(environment):
        field = variable.removeprefix(PREFIX).lower()
        if not variable.startswith(PREFIX) or variable == SECRETS_DIR_VARIABLE:
            continue
        if field not in own | shared and not field.startswith(foreign):
            lines.append(f"{variable}: unknown variable{_nearest(field, own | shared)}")
    return lines


def variable_name(field: str) -> str:
    """The environment variable of a settings field."""
    return PREFIX + field.upper()


def _split_dsns(dsns: str) -> list[str]:
    return [dsn.strip() for dsn in re.split(r",\s*(?=postgres(?:ql)?://)", dsns) if dsn.strip()]


def _nearest(field: str, known: set[str]) -> str:
    from difflib import get_close_matches  # needed only when something is wrong

    close = get_close_matches(field, sorted(known), n=1)
    return f" (did you mean {variable_name(close[0])}?)" if close else ""


def _error_lines(settings_type: type[ProcessSettings], error: ValidationError) -> list[str]:
    lines = []
    for one in error.errors(include_url=False, include_input=False, include_context=False):
        field = str(one["loc"][0]) if one["loc"] else ""
        variable = variable_name(field) if field in settings_type.model_fields else field or "settings"
        message = "missing" if one["type"] == "missing" else one["msg"]
        description = settings_type.model_fields[field].description if field in settings_type.model_fields else None
        lines.append(f"{variable}: {message}" + (f" ({description})" if description and message == "missing" else ""))
    return lines
