"""The doctor: each judgement by itself, with what programs and kernels really say, and the report as a whole."""

from __future__ import annotations

import json
import os
import resource
import socket
from pathlib import Path
from typing import get_args

import pytest
from typer.testing import CliRunner

from console.doctor import machine, place, programs, running
from console.doctor.finding import Finding, Level, fail, ok, warn
from console.doctor.verb import app
from deploy.local.listen import Address

GIB = 1 << 30
FFMPEG = "ffmpeg version 5.1.6-0+deb12u1 Copyright (c) 2000-2024 the FFmpeg developers\nbuilt with gcc 12\n"
ENCODERS = (
    " V....D libx264              libx264 H.264 / AVC\n A....D aac                  AAC (Advanced Audio Coding)\n"
)


def test_what_is_not_ok_names_its_fix_and_what_is_ok_has_none() -> None:
    for level in get_args(Level):
        with pytest.raises(ValueError, match="a fix belongs to what is not ok"):
            Finding("disk", level, "full", "empty it" if level == "ok" else "")


# --- programs ---


@pytest.mark.parametrize(
    ("answer", "version"),
    [
        ("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", (15, 18)),
        ("postgres (PostgreSQL) 17beta1", (17,)),
        ("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.2.1 bits=64 build=5e11", (7, 0, 15)),
        ("nginx version: nginx/1.22.1", (1, 22, 1)),
        (FFMPEG, (5, 1, 6)),
        ("ffmpeg version n6.1.1 Copyright", (6, 1, 1)),
        ("ffprobe version 7.0 Copyright", (7, 0)),
        ("ffmpeg version N-112843-g2d4ef304c9 Copyright", None),
        ("3.11.2", (3, 11, 2)),
        ("", None),
    ],
)
def test_versions_are_read_from_what_programs_say(answer: str, version: tuple[int, ...] | None) -> None:
    assert programs.version_in(answer) == version


@pytest.mark.parametrize(
    ("answer", "level"),
    [
        ("postgres (PostgreSQL) 15.0", "ok"),
        ("postgres (PostgreSQL) 16.2", "ok"),
        ("postgres (PostgreSQL) 14.11", "fail"),
        ("gibberish", "warn"),
        (None, "fail"),
    ],
)
def test_too_old_or_missing_is_a_failure_and_an_unknown_version_is_doubtful(answer: str | None, level: str) -> None:
    finding = programs.judge_version("postgres", answer, programs.POSTGRES_MIN, "apt install postgresql-15")
    assert finding.level == level


def test_a_line_names_the_part_what_was_seen_and_the_command() -> None:
    finding = programs.judge_version("postgres", "postgres (PostgreSQL) 13.4", (15,), "apt install postgresql-15")
    assert finding.line == "postgres: 13.4, too old: 15 is needed; apt install postgresql-15"


@pytest.mark.parametrize(("version", "level"), [("7.0.15", "ok"), ("6.2.7", "warn"), ("6.0.16", "fail"), ("8.2", "ok")])
def test_redis_is_tried_from_7_and_sufficient_from_6_2(version: str, level: str) -> None:
    assert programs.judge_redis(f"Redis server v={version} sha=00000000:0").level == level


def test_ffmpeg_must_be_new_enough_and_have_both_encoders() -> None:
    assert programs.judge_ffmpeg(FFMPEG, ENCODERS).level == "ok"
    old = programs.judge_ffmpeg("ffmpeg version 4.4.2 Copyright", ENCODERS)
    assert (old.level, old.fix) == ("fail", "apt install ffmpeg")
    poor = programs.judge_ffmpeg(FFMPEG, " V....D libx264rgb           libx264 RGB\n")
    assert (poor.level, poor.seen) == ("fail", "without libx264 and aac")
    assert programs.judge_ffmpeg(None, "").seen == "not found"


def test_the_rtmp_module_must_load() -> None:
    assert programs.judge_rtmp_module((0, "test is successful"), there=True).level == "ok"
    foreign = programs.judge_rtmp_module(
        (1, 'nginx: [emerg] module "x.so" version 1018000 instead of 1022001'), there=True
    )
    assert foreign.level == "fail"
    assert "version 1018000 instead of 1022001" in foreign.seen
    assert foreign.fix == "apt install --reinstall nginx libnginx-mod-rtmp"
    assert programs.judge_rtmp_module((1, ""), there=False).fix == "apt install libnginx-mod-rtmp"
    assert programs.judge_rtmp_module(None, there=True).level == "fail"


def test_without_namespaces_it_warns() -> None:
    assert programs.judge_namespaces(True).level == "ok"
    assert programs.judge_namespaces(False).level == "warn"


def test_programs_are_looked_for_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert programs.check_ffmpeg() == fail("ffmpeg", "not found", "apt install ffmpeg")
    impostor = tmp_path / "ffmpeg"
    impostor.write_text("#!/bin/sh\necho ffmpeg version 4.2.4 Copyright\n")
    impostor.chmod(0o755)
    assert programs.check_ffmpeg().seen == "4.2.4, too old: 5.1 is needed"
    impostor.write_text("no program at all")
    assert programs.check_ffmpeg().level == "warn"


def test_only_what_a_server_starts_is_asked_for() -> None:
    asked = {finding.check for finding in programs.check_programs(engines=())}
    assert {"python", "ffmpeg", "ffprobe"} <= asked
    assert not asked & {"postgres", "redis", "nginx", "nginx rtmp module"}


# --- machine ---


@pytest.mark.parametrize(
    ("free_bytes", "inodes", "level"),
    [(100 * GIB, None, "ok"), (5 * GIB, None, "warn"), (GIB // 2, None, "fail"), (100 * GIB, 9, "fail")],
)
def test_room_on_the_disk(free_bytes: int, inodes: int | None, level: str) -> None:
    assert machine.judge_disk("disk", "/x", free_bytes, inodes).level == level


def test_a_disk_is_judged_once_for_all_that_is_on_it(tmp_path: Path) -> None:
    [finding] = machine.check_disks({"database": tmp_path, "recordings": tmp_path / "not/yet/there"})
    assert finding.check == "disk (database, recordings)"


@pytest.mark.parametrize(("mib", "level"), [(4096, "ok"), (800, "warn"), (200, "fail")])
def test_memory(mib: int, level: str) -> None:
    assert machine.judge_memory(mib << 20).level == level


@pytest.mark.parametrize(
    ("limit", "level"), [(resource.RLIM_INFINITY, "ok"), (65_536, "ok"), (4_096, "warn"), (512, "fail")]
)
def test_open_files(limit: int, level: str) -> None:
    assert machine.judge_open_files(limit).level == level


@pytest.mark.parametrize(("kept", "level"), [(True, "ok"), (False, "warn"), (None, "warn")])
def test_a_clock_that_nobody_keeps_is_doubtful(kept: bool | None, level: str) -> None:
    assert machine.judge_synchronised(kept).level == level


def test_a_clock_behind_our_own_files_is_wrong() -> None:
    assert machine.judge_plausible(2_000.0, 1_000.0).level == "ok"
    behind = machine.judge_plausible(1_000.0, 2_000.0)
    assert (behind.level, behind.seen) == ("fail", "1000 s before this program's own files were made")


def test_the_kernel_is_asked_and_answers() -> None:
    assert machine.kept_in_time() in (True, False, None)
    assert machine.newest_file_seconds() > 1_700_000_000


# --- place ---


@pytest.mark.parametrize(
    ("mode", "owner", "me", "level"),
    [(0o700, 5, 5, "ok"), (0o755, 5, 5, "warn"), (0o700, 5, 0, "warn"), (0o700, 5, 6, "fail")],
)
def test_the_directory_is_its_users_alone(mode: int, owner: int, me: int, level: str) -> None:
    assert place.judge_directory("/x", 0o040000 | mode, owner, me).level == level


def test_an_address_is_free_taken_or_our_own() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = Address("127.0.0.1", taken.getsockname()[1])
        assert place.check_address("nginx", address, runs=True).level == "ok"
        finding = place.check_address("nginx", address, runs=False)
    assert finding.level == "fail"
    assert f"ss -ltnp 'sport = :{address.port}'" in finding.fix
    assert place.check_address("nginx", address, runs=False).level == "ok"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("LIVESTREAM_PUBLIC_URL=nonsense\n", "LIVESTREAM_PUBLIC_URL"),
        ("garbage\n", "livestream.env line 1: not NAME=value"),
        ("LIVESTREAM_EDGE_HTTP_LISTEM=0.0.0.0:1\n", "did you mean LIVESTREAM_EDGE_HTTP_LISTEN?"),
    ],
)
def test_every_wrong_setting_is_a_failure_of_its_own(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "livestream.env"
    path.write_text(text)
    path.chmod(0o600)
    before = dict(os.environ)
    try:
        settings, findings = place.read_settings(tmp_path)
    finally:
        os.environ.clear()
        os.environ.update(before)
    assert settings is None
    assert all(finding.level == "fail" and finding.fix == f"edit {path}" for finding in findings)
    assert any(said in finding.seen for finding in findings)


# --- what runs ---


def test_clocks_may_be_2_seconds_apart() -> None:
    assert running.judge_clocks(-0.004).level == "ok"
    assert running.judge_clocks(-2.5).level == "fail"


def test_missing_migrations_are_applied_at_the_start() -> None:
    assert running.judge_migrations({}).level == "ok"
    lacking = running.judge_migrations({"chat": ["chat/0002_x"], "bus": ["eventbus/0003_y", "eventbus/0004_z"]})
    assert (lacking.level, lacking.seen) == ("warn", "3 to be applied (bus, chat)")


def test_a_redis_that_evicts_is_doubtful() -> None:
    assert running.judge_eviction("noeviction").level == "ok"
    assert running.judge_eviction("allkeys-lru").level == "warn"
    assert [running.judge_append_file(enabled).level for enabled in (None, 1, 0)] == ["ok", "ok", "warn"]


def test_an_unready_service_says_why() -> None:
    assert running.judge_services({"postgres": "ready"}).level == "ok"
    unready = running.judge_services({"postgres": "ready", "redis": "connection refused"})
    assert (unready.level, unready.seen) == ("fail", "redis: connection refused")


def test_a_group_that_is_behind_is_named() -> None:
    metric = "livestream_bus_group_oldest_unread_seconds"
    figures = (
        f'# TYPE {metric} gauge\n{metric}{{group="chat",topic="streams.v1"}} 1.5\n'
        f'{metric}{{group="notify",topic="streams.v1"}} 2.0\n{metric}{{group="notify",topic="accounts.v1"}} 400.0\n'
    )
    oldest = running.oldest_unread(figures)
    assert oldest == {"chat": 1.5, "notify": 400.0}
    finding = running.judge_groups(oldest)
    assert (finding.level, finding.seen) == ("fail", "behind: notify 400 s")
    assert running.judge_groups({"chat": 1.5}).level == "ok"


# --- the report ---


def test_before_there_is_a_server_it_checks_what_there_is(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["--directory", str(tmp_path / "server"), "--json"])
    report = json.loads(result.stdout)
    checks = {check["check"]: check for check in report["checks"]}
    assert checks["settings"]["fix"] == f"livestream init --directory {tmp_path / 'server'}"
    assert result.exit_code == (0 if report["ok"] else 1)
    assert not (tmp_path / "server").exists(), "it changes nothing"


def test_a_failure_is_exit_1_and_shown_with_its_fix(tmp_path: Path) -> None:
    (tmp_path / "livestream.env").write_text("garbage\n")
    (tmp_path / "livestream.env").chmod(0o600)
    result = CliRunner().invoke(app, ["--directory", str(tmp_path)])
    assert result.exit_code == 1
    assert f"→ edit {tmp_path}/livestream.env" in result.stdout
    assert "1 failed" in result.stdout


def test_the_kinds_of_findings() -> None:
    assert [one.level for one in (ok("a", "b"), warn("a", "b", "c"), fail("a", "b", "c"))] == ["ok", "warn", "fail"]
