"""`livestream init-secrets`: random, whole, private, and never written twice."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from console.__main__ import app
from console.init_secrets import RANDOM, write_secrets

WHERE = {"postgres": "postgres:5432/livestream", "redis": "redis:6379/0"}


def texts(directory: Path) -> dict[str, str]:
    return {str(path.relative_to(directory)): path.read_text() for path in directory.rglob("*") if path.is_file()}


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    made = write_secrets(tmp_path, **WHERE)
    before = texts(tmp_path)
    assert set(made) == set(before)

    assert write_secrets(tmp_path, **WHERE) == []
    assert texts(tmp_path) == before


def test_two_installations_share_no_secret(tmp_path: Path) -> None:
    write_secrets(tmp_path / "a", **WHERE)
    write_secrets(tmp_path / "b", **WHERE)
    one, other = texts(tmp_path / "a"), texts(tmp_path / "b")
    assert not set(one.values()) & set(other.values())
    assert len({one[name] for name in RANDOM}) == len(RANDOM)


@pytest.mark.parametrize("lost", ["livestream_postgres_dsn", "engines/redis.conf", "livestream_edge_hook_secret"])
def test_an_interrupted_run_is_finished_without_a_contradiction(tmp_path: Path, lost: str) -> None:
    write_secrets(tmp_path, **WHERE)
    before = texts(tmp_path)
    (tmp_path / lost).unlink()

    assert write_secrets(tmp_path, **WHERE) == [lost]
    assert texts(tmp_path) == before


def test_only_the_owner_reads_them_and_nothing_is_left_over(tmp_path: Path) -> None:
    write_secrets(tmp_path, **WHERE)
    for path in tmp_path.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
        assert not path.name.startswith(".")


def test_the_engines_and_the_services_are_told_the_same(tmp_path: Path) -> None:
    write_secrets(tmp_path, **WHERE)
    secret = texts(tmp_path)
    assert secret["engines/postgres_password"] in secret["livestream_postgres_dsn"]
    assert secret["engines/redis.conf"] == f"requirepass {secret['engines/redis_password']}\n"
    assert secret["livestream_redis_url"] == f"redis://:{secret['engines/redis_password']}@redis:6379/0"
    assert secret["livestream_edge_hook_secret"] == secret["livestream_streaming_ingest_secret"]
    assert secret["livestream_edge_playback_secret"] == secret["livestream_streaming_playback_secret"]
    assert f"MINIO_ROOT_USER={secret['livestream_archive_s3_access_key_id']}\n" in secret["engines/minio.env"]


def test_the_command_says_what_it_made_and_shows_no_secret(tmp_path: Path) -> None:
    shown = CliRunner().invoke(app, ["init-secrets", str(tmp_path)])
    assert shown.exit_code == 0
    assert "made livestream_postgres_dsn" in shown.output
    assert not any(text.strip() in shown.output for text in texts(tmp_path).values())
    again = CliRunner().invoke(app, ["init-secrets", str(tmp_path)])
    assert again.exit_code == 0
    assert "nothing was changed" in again.output


def test_a_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    shown = CliRunner().invoke(app, ["init-secrets", str(tmp_path / "file" / "secrets")])
    assert shown.exit_code == 1
    assert "init-secrets:" in shown.output
