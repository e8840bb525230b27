"""Secrets of the local stack: random, kept, and for their owner's eyes only."""

from __future__ import annotations

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from deploy.local.credentials import load_or_make, write_private


def test_they_are_made_once_and_differ_between_stacks(tmp_path: Path) -> None:
    first = load_or_make(tmp_path / "a.json")
    assert load_or_make(tmp_path / "a.json") == first
    assert not set(asdict(first).values()) & set(asdict(load_or_make(tmp_path / "b.json")).values())


def test_all_who_find_none_at_once_go_on_with_the_same(tmp_path: Path) -> None:
    for number in range(20):
        path = tmp_path / f"{number}.json"
        with ThreadPoolExecutor(8) as pool:
            assert len(set(pool.map(load_or_make, [path] * 8))) == 1


def test_only_the_owner_may_read_them(tmp_path: Path) -> None:
    load_or_make(tmp_path / "secrets.json")
    assert (tmp_path / "secrets.json").stat().st_mode & 0o777 == 0o600


def test_a_secret_that_a_later_version_needs_is_added_and_the_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    before = asdict(load_or_make(path))
    del before["ingest_secret"]
    path.write_text(json.dumps(before))
    after = asdict(load_or_make(path))
    assert after["ingest_secret"]
    assert {name: after[name] for name in before} == before


def test_secrets_that_seal_are_32_bytes(tmp_path: Path) -> None:
    made = load_or_make(tmp_path / "secrets.json")
    for text in (made.accounts_key_secret, made.sealing_secret):
        assert len(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))) == 32


def test_a_private_file_replaces_an_open_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, "new")
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("new", 0o600)
