"""Settings: S3 is the default and says what it lacks; a disk needs nothing."""

import os

import pytest

from archive.ladder.ladder import LadderStep
from archive.media.encoders import Encoder
from archive.settings import ArchiveSettings
from runtime.settings import SettingsInvalid, load_settings

NEEDED = {
    "LIVESTREAM_POSTGRES_DSN": "postgresql://someone@127.0.0.1/one",
    "LIVESTREAM_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9092",
    "LIVESTREAM_REDIS_URL": "redis://127.0.0.1:1/0",
    "LIVESTREAM_JWKS_URL": "http://127.0.0.1:1/jwks.json",
}


@pytest.fixture(autouse=True)
def needed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("LIVESTREAM_")]:
        monkeypatch.delenv(name)
    for name, value in NEEDED.items():
        monkeypatch.setenv(name, value)


def test_the_s3_store_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVESTREAM_ARCHIVE_S3_ENDPOINT_URL", "http://127.0.0.1:9000")
    with pytest.raises(SettingsInvalid, match="archive_s3_access_key_id"):
        load_settings(ArchiveSettings)


def test_a_disk_needs_nothing_of_s3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVESTREAM_ARCHIVE_OBJECT_STORE", "disk")
    assert load_settings(ArchiveSettings).archive_object_store == "disk"


def test_a_mistyped_variable_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVESTREAM_ARCHIVE_OBJECT_STORE", "disk")
    monkeypatch.setenv("LIVESTREAM_ARCHIVE_CHUNK_SECOND", "4")
    with pytest.raises(SettingsInvalid, match="LIVESTREAM_ARCHIVE_CHUNK_SECONDS"):
        load_settings(ArchiveSettings)


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVESTREAM_ARCHIVE_S3_ENDPOINT_URL", "http://127.0.0.1:9000")
    monkeypatch.setenv("LIVESTREAM_ARCHIVE_S3_ACCESS_KEY_ID", "hush-id")
    monkeypatch.setenv("LIVESTREAM_ARCHIVE_S3_SECRET_ACCESS_KEY", "hush-secret")
    assert "hush" not in repr(load_settings(ArchiveSettings))


def test_the_ladder_and_its_encoder_are_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVESTREAM_ARCHIVE_OBJECT_STORE", "disk")
    monkeypatch.setenv("LIVESTREAM_ARCHIVE_LADDER", "720p=2500k, 240p=400k")
    monkeypatch.setenv("LIVESTREAM_ARCHIVE_ENCODER", "nvenc")
    monkeypatch.setenv("LIVESTREAM_ARCHIVE_ENCODER_PRESET", "p6")
    settings = load_settings(ArchiveSettings)
    assert settings.ladder == (LadderStep("720p", 720, 2_500_000), LadderStep("240p", 240, 400_000))
    assert settings.encoder == Encoder("nvenc", preset="p6")


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("LADDER", "720p=9k", "LIVESTREAM_ARCHIVE_LADDER.*720p=9k.*from 50 to 100000"),
        ("ENCODER", "av1", "LIVESTREAM_ARCHIVE_ENCODER"),
        ("ENCODER_PRESET", "p4", "archive_encoder_preset must be one of ultrafast.* with x264"),
        ("ENCODER_DEVICE", "/dev/dri/../sda;", "LIVESTREAM_ARCHIVE_ENCODER_DEVICE"),
    ],
)
def test_a_ladder_that_cannot_be_made_is_refused(
    name: str, value: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIVESTREAM_ARCHIVE_OBJECT_STORE", "disk")
    monkeypatch.setenv(f"LIVESTREAM_ARCHIVE_{name}", value)
    with pytest.raises(SettingsInvalid, match=reason):
        load_settings(ArchiveSettings)
