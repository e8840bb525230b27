"""The settings of the one process: all of its services', nothing unknown, defaults for a small machine."""

import os
from collections.abc import Iterator

import pytest

from accounts.settings import AccountsSettings
from archive.settings import ArchiveSettings
from chat.settings import ChatSettings
from notify.settings import NotifySettings
from runtime.settings import ProcessSettings, SettingsInvalid, load_settings, variable_name
from solo.settings import SoloSettings
from streaming.settings import StreamingSettings

OF_SERVICES = (AccountsSettings, StreamingSettings, NotifySettings, ChatSettings, ArchiveSettings)
NEEDED = {
    "LIVESTREAM_POSTGRES_DSN": "postgresql://somebody@127.0.0.1:1/nowhere",
    "LIVESTREAM_REDIS_URL": "redis://127.0.0.1:1/0",
    "LIVESTREAM_PUBLIC_URL": "http://127.0.0.1:8080",
    "LIVESTREAM_ACCOUNTS_KEY_SECRET": "A" * 43,
    "LIVESTREAM_STREAMING_INGEST_SECRET": "s" * 32,
    "LIVESTREAM_STREAMING_INGEST_PUSH_URL": "rtmp://127.0.0.1:1935/hls",
    "LIVESTREAM_STREAMING_INGEST_CONTROL_URL": "http://127.0.0.1:1/control",
    "LIVESTREAM_STREAMING_INGEST_STAT_URL": "http://127.0.0.1:1/stat",
    "LIVESTREAM_STREAMING_PUBLIC_INGEST_URL": "rtmp://127.0.0.1:1935/live",
}


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """An environment without settings."""
    for name in [name for name in os.environ if name.startswith("LIVESTREAM_")]:
        monkeypatch.delenv(name)
    yield monkeypatch


def given(monkeypatch: pytest.MonkeyPatch, **more: str) -> dict[str, str]:
    environment = NEEDED | more
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return environment


def test_neither_kafka_nor_an_object_store_need_be_named(clean: pytest.MonkeyPatch) -> None:
    settings = load_settings(SoloSettings, given(clean))
    assert (settings.bus_backend, settings.archive_object_store) == ("postgres", "disk")


@pytest.mark.parametrize("variable", sorted(NEEDED))
def test_what_is_missing_is_named(variable: str, clean: pytest.MonkeyPatch) -> None:
    environment = given(clean)
    clean.delenv(variable)
    with pytest.raises(SettingsInvalid) as raised:
        load_settings(SoloSettings, environment)
    [line] = raised.value.lines
    assert line.startswith(f"{variable}: missing")


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("LIVESTREAM_CHAT_TICK", "LIVESTREAM_CHAT_TICK_SECONDS"),
        ("LIVESTREAM_ARCHIVE_OBJECTS_STORE", "LIVESTREAM_ARCHIVE_OBJECT_STORE"),
        ("LIVESTREAM_NOTIFY_PAGE_FOLLOWERS", "LIVESTREAM_NOTIFY_PAGE_FOLLOWERS_MAX"),
        ("LIVESTREAM_STREAMING_GRACE", "LIVESTREAM_STREAMING_GRACE_SECONDS"),
        ("LIVESTREAM_HTP_PORT", "LIVESTREAM_HTTP_PORT"),
    ],
)
def test_an_unknown_variable_of_any_service_is_refused(variable: str, meant: str, clean: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsInvalid) as raised:
        load_settings(SoloSettings, given(clean, **{variable: "1"}))
    assert raised.value.lines == [f"{variable}: unknown variable (did you mean {meant}?)"]


@pytest.mark.parametrize("settings_type", OF_SERVICES)
def test_every_setting_of_every_service_is_there_with_its_limits(settings_type: type[ProcessSettings]) -> None:
    for name, field in settings_type.model_fields.items():
        ours = SoloSettings.model_fields[name]
        if name == "jwks_url":
            continue  # not asked here, so it may be empty
        assert ours.annotation == field.annotation, variable_name(name)
        assert ours.metadata == field.metadata, variable_name(name)


def test_kafka_and_s3_can_be_chosen_and_must_be_complete_then(clean: pytest.MonkeyPatch) -> None:
    environment = given(clean, LIVESTREAM_BUS_BACKEND="kafka")
    with pytest.raises(SettingsInvalid, match="LIVESTREAM_KAFKA_BOOTSTRAP_SERVERS"):
        load_settings(SoloSettings, environment)
    environment = given(clean, LIVESTREAM_BUS_BACKEND="postgres", LIVESTREAM_ARCHIVE_OBJECT_STORE="s3")
    with pytest.raises(SettingsInvalid, match="s3"):
        load_settings(SoloSettings, environment)
