"""The engines of the local stack: Postgres, Redis, Kafka, MinIO and nginx-rtmp, each with its own files and port."""

from __future__ import annotations

import functools
import os
import pwd
import shutil
import signal
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

from deploy.local import places, probes
from deploy.local.credentials import write_private
from deploy.local.edge import NGINX_PORTS, nginx_configuration
from deploy.local.parts import Launch, Part, Place
from deploy.local.processes import POLL_SECONDS, processes_in, run_to_end

# --- Postgres ---------------------------------------------------------------------------------------------------------

POSTGRES_ROLE = "livestream"

SESSIONS_END_SECONDS_MAX = 20.0

STATEMENT_COUNTS = "lib/pg_stat_statements.so"
"""Which statements cost the most, for `livestream db slow`; beside the programs."""

POSTGRES_SETTINGS: Mapping[str, str] = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "max_wal_size": "1GB",
    # On, as in real use: what the fault tests prove about crashes must not rest on a luckier disk.
    "fsync": "on",
    "synchronous_commit": "on",
    # One idle transaction holds back every outbox cursor.
    "idle_in_transaction_session_timeout": "10s",
    "log_line_prefix": "%m [%p] %a ",
    "log_min_messages": "warning",
    "timezone": "UTC",
    "log_timezone": "UTC",
}

# For tests that make and drop a thousand databases and kill processes at most, never the machine: what a process has
# written survives it in either case. Commits still wait until they are written.
FORGETFUL_POSTGRES_SETTINGS: Mapping[str, str] = {"fsync": "off", "full_page_writes": "off"}

# A machine of one streamer is small, and so is what it keeps. Nothing here trades away what survives a crash.
SOLO_POSTGRES_SETTINGS: Mapping[str, str] = {
    "max_connections": "100",
    "shared_buffers": "64MB",
    "effective_cache_size": "256MB",
    "maintenance_work_mem": "32MB",
    "max_wal_size": "256MB",
    # The fewest that pg_wal is kept at: a first start need not fill a small disk with empty log.
    "min_wal_size": "64MB",
    "autovacuum_max_workers": "2",
    # Queries here are short: a compiler or a second process for one costs more than it saves.
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
    "max_logical_replication_workers": "0",
}


def postgres_settings(place: Place) -> dict[str, str]:
    """What the server is told on its command line."""
    small = SOLO_POSTGRES_SETTINGS if place.profile.name == "solo" else {}
    # A server that is told to load what is not there does not start, and some packages leave it out.
    counts = places.postgres_programs().parent.joinpath(STATEMENT_COUNTS).exists()
    counting = {"shared_preload_libraries": "pg_stat_statements"} if counts else {}
    forgetful = {} if place.durable else FORGETFUL_POSTGRES_SETTINGS
    return {**POSTGRES_SETTINGS, **small, **counting, **forgetful, "port": str(place.ports["postgres"])}


def _traversable_by_others(directory: Path) -> bool:
    return all(parent.stat().st_mode & 0o001 for parent in (directory, *directory.parents))


def _as_postgres_user(directory: Path) -> list[str]:
    """Postgres refuses to run as root, so root runs it as Debian's `postgres` user.

    A checkout below a directory that this user may not enter (/root, say) needs CAP_DAC_READ_SEARCH: the right to pass
    through directories, and no more. User namespaces would do as well but are missing in many containers.
    """
    if os.geteuid() != 0:
        return []
    argv = [places.program("setpriv"), "--reuid=postgres", "--regid=postgres", "--init-groups"]
    if not _traversable_by_others(directory):
        argv += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    return [*argv, "--"]


def _prepare_postgres(place: Place) -> None:
    state = place.state("postgres")
    data = state / "data"
    if data.exists():
        _wait_for_sessions(data)
        return
    password = state / "password"
    write_private(password, f"{place.credentials.postgres_password}\n")
    if os.geteuid() == 0:
        user = pwd.getpwnam("postgres")
        os.chown(state, user.pw_uid, user.pw_gid)
        os.chown(password, user.pw_uid, user.pw_gid)
    part = state / "data.part"
    shutil.rmtree(part, ignore_errors=True)
    run_to_end(
        "initdb",
        [
            *_as_postgres_user(state),
            str(places.postgres_programs() / "initdb"),
            f"--pgdata={part}",
            f"--username={POSTGRES_ROLE}",
            f"--pwfile={password}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
        ],
    )
    password.unlink()
    part.rename(data)


def _wait_for_sessions(data: Path) -> None:
    """Let the sessions of a killed server end, as they do by themselves: Postgres does not start beside them."""
    try:
        server = int((data / "postmaster.pid").read_text().split()[0])
    except (FileNotFoundError, PermissionError, IndexError, ValueError):
        return
    deadline = time.monotonic() + SESSIONS_END_SECONDS_MAX
    while (pids := processes_in(data)) and server not in pids and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)


def _launch_postgres(place: Place) -> Launch:
    state = place.state("postgres")
    programs = places.postgres_programs()
    port = place.ports["postgres"]
    settings = [f"--{name}={value}" for name, value in postgres_settings(place).items()]
    return Launch(
        argv=[*_as_postgres_user(state), str(programs / "postgres"), "-D", str(state / "data"), *settings],
        directory=Path("/"),
        # Fast shutdown: sessions are cut, the cluster is closed cleanly.
        stop_signal=signal.SIGINT,
        stop_grace_seconds=20,
        probe=functools.partial(probes.postgres, port, programs),
    )


# --- Redis ------------------------------------------------------------------------------------------------------------


def _redis_configuration(place: Place) -> str:
    settings = {
        "bind": "127.0.0.1",
        "port": str(place.ports["redis"]),
        "requirepass": place.credentials.redis_password,
        "dir": str(place.state("redis")),
        "save": '""',
        # What chat has accepted waits here for the database: a crash costs nothing, a power cut a second.
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory": "128mb" if place.profile.name == "solo" else "512mb",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
    }
    return "".join(f"{name} {value}\n" for name, value in settings.items())


def _prepare_redis(place: Place) -> None:
    # A file, because the password in the command line would be everybody's to read.
    write_private(place.state("redis") / "redis.conf", _redis_configuration(place))


def _launch_redis(place: Place) -> Launch:
    return Launch(
        argv=[places.program("redis-server"), str(place.state("redis") / "redis.conf")],
        probe=functools.partial(probes.redis, place.ports["redis"], place.credentials.redis_password),
        version=_redis_configuration(place),
    )


# --- Kafka ------------------------------------------------------------------------------------------------------------


def _kafka_settings(place: Place) -> dict[str, str]:
    broker = f"127.0.0.1:{place.ports['kafka']}"
    controller = f"127.0.0.1:{place.ports['kafka-controller']}"
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{controller}",
        "listeners": f"PLAINTEXT://{broker},CONTROLLER://{controller}",
        "advertised.listeners": f"PLAINTEXT://{broker}",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": str(place.state("kafka") / "data"),
        # One node: nothing to replicate to.
        "default.replication.factor": "1",
        "offsets.topic.replication.factor": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "min.insync.replicas": "1",
        "offsets.topic.num.partitions": "3",
        # Topics come from the contract, never from a typing mistake.
        "auto.create.topics.enable": "false",
        "group.initial.rebalance.delay.ms": "0",
        # Tests form groups that die without leaving; the default lower bound (6 s) would make each wait.
        "group.min.session.timeout.ms": "1000",
        "log.segment.bytes": str(64 * 1024 * 1024),
        "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),
    }


def _java(*arguments: str) -> list[str]:
    # The logging library's own configuration file is a JVM property.
    logging = places.CHECKOUT / "deploy/local/kafka/log4j2.xml"
    return [
        places.program("java"),
        "-Xms128m",
        "-Xmx512m",
        "-XX:+UseSerialGC",
        "-Djava.awt.headless=true",
        f"-Dlog4j2.configurationFile={logging}",
        "-cp",
        f"{places.kafka_jars()}/*",
        *arguments,
    ]


def _prepare_kafka(place: Place) -> None:
    state = place.state("kafka")
    properties = state / "server.properties"
    properties.write_text("".join(f"{name}={value}\n" for name, value in _kafka_settings(place).items()))
    if (state / "data" / "meta.properties").exists():
        return
    cluster = uuid.uuid4().hex[:22]
    run_to_end(
        "kafka storage format",
        _java("kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(properties), "--ignore-formatted"),
    )


def _launch_kafka(place: Place) -> Launch:
    return Launch(
        argv=_java("kafka.Kafka", str(place.state("kafka") / "server.properties")),
        directory=place.state("kafka"),
        stop_grace_seconds=15,
        ready_seconds_max=120,
        probe=functools.partial(probes.kafka, place.ports["kafka"]),
        version=str(_kafka_settings(place)),
    )


# --- MinIO ------------------------------------------------------------------------------------------------------------


def _prepare_minio(place: Place) -> None:
    (place.state("minio") / "data").mkdir(exist_ok=True)


def _launch_minio(place: Place) -> Launch:
    state = place.state("minio")
    port = place.ports["minio"]
    return Launch(
        argv=[
            str(places.minio()),
            "server",
            "--quiet",
            f"--address=127.0.0.1:{port}",
            f"--certs-dir={state / 'certs'}",
            str(state / "data"),
        ],
        environment={
            "MINIO_ROOT_USER": place.credentials.s3_access_key_id,
            "MINIO_ROOT_PASSWORD": place.credentials.s3_secret_access_key,
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
        },
        directory=state,
        probe=functools.partial(probes.http_ok, port, "/minio/health/live"),
    )


# --- nginx ------------------------------------------------------------------------------------------------------------


def _prepare_nginx(place: Place) -> None:
    write_private(place.state("nginx") / "nginx.conf", nginx_configuration(place))


def _launch_nginx(place: Place) -> Launch:
    state = place.state("nginx")
    return Launch(
        argv=[places.program("nginx"), "-p", f"{state}/", "-c", f"{state}/nginx.conf", "-g", "daemon off;"],
        probe=functools.partial(probes.http_ok, place.ports["control"], "/health"),
        version=nginx_configuration(place),
    )


ENGINE_PARTS = (
    Part("postgres", ("postgres",), _prepare_postgres, _launch_postgres),
    Part("redis", ("redis",), _prepare_redis, _launch_redis),
    Part("kafka", ("kafka", "kafka-controller"), _prepare_kafka, _launch_kafka),
    Part("minio", ("minio",), _prepare_minio, _launch_minio),
    Part("nginx", NGINX_PORTS, _prepare_nginx, _launch_nginx),
)
