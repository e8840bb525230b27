"""Settings: wrong, missing and unknown variables are told apart; secrets come from files too and are never shown."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import Field, SecretStr, ValidationError

from runtime.settings import (
    HttpSettings,
    PostgresSettings,
    ProcessSettings,
    RedisSettings,
    SettingsInvalid,
    load_settings,
    unknown_variables,
)
from runtime.settings_docs import configuration_page, env_example


class StreamingLike(HttpSettings, PostgresSettings):
    """A service's settings."""

    streaming_grace_seconds: float = Field(default=30, ge=0, le=600, description="How long a publisher may be gone.")
    streaming_hook_secret: SecretStr = Field(description="The last part of the hooks' address.", min_length=8)


class ChatLike(HttpSettings, RedisSettings):
    """Another's."""

    chat_rooms_max: int = Field(default=100, ge=1, description="Rooms | open at once.")


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVESTREAM_POSTGRES_DSN", "postgresql://u:hush@127.0.0.1/d")
    monkeypatch.setenv("LIVESTREAM_STREAMING_HOOK_SECRET", "hush-hush-hush")
    monkeypatch.delenv("LIVESTREAM_SECRETS_DIR", raising=False)


def test_what_is_set_is_read_and_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVESTREAM_STREAMING_GRACE_SECONDS", "5")
    settings = load_settings(StreamingLike)
    assert (settings.streaming_grace_seconds, settings.http_port) == (5.0, 8080)
    assert "hush" not in repr(settings)
    unaware_of_types: Any = settings
    with pytest.raises(ValidationError, match="frozen"):
        unaware_of_types.streaming_grace_seconds = 1


def test_a_missing_variable_is_named_with_its_purpose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LIVESTREAM_STREAMING_HOOK_SECRET")
    with pytest.raises(SettingsInvalid) as raised:
        load_settings(StreamingLike)
    assert raised.value.lines == ["LIVESTREAM_STREAMING_HOOK_SECRET: missing (The last part of the hooks' address.)"]


def test_an_error_does_not_hold_the_value_of_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVESTREAM_STREAMING_HOOK_SECRET", "tiny")
    with pytest.raises(ValidationError) as raised:
        StreamingLike()
    assert "tiny" not in str(raised.value)


def test_a_secret_may_be_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("LIVESTREAM_STREAMING_HOOK_SECRET")
    (tmp_path / "livestream_streaming_hook_secret").write_text("from-a-file\n")
    monkeypatch.setenv("LIVESTREAM_SECRETS_DIR", str(tmp_path))
    assert load_settings(StreamingLike).streaming_hook_secret.get_secret_value() == "from-a-file"


def test_a_secrets_directory_that_is_none_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LIVESTREAM_SECRETS_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(SettingsInvalid, match="LIVESTREAM_SECRETS_DIR: not a directory"):
        load_settings(StreamingLike)


@pytest.mark.parametrize(
    ("variable", "unknown"),
    [
        ("LIVESTREAM_STREAMING_GRACE_SECOND", True),  # its own prefix, mistyped
        ("LIVESTREAM_POSTGRES_DNS", True),  # shared, mistyped
        ("LIVESTREAM_POSTGERS_DSN", True),
        ("LIVESTREAM_CHAT_ANYTHING", False),  # another service's business
        ("LIVESTREAM_KAFKA_BOOTSTRAP_SERVERS", False),  # it does not use the bus, others do
        ("LIVESTREAM_REDIS_URL", False),  # shared, but not used here
        ("LIVESTREAM_SECRETS_DIR", False),
        ("LIVESTREAMS", False),  # not ours
        ("PATH", False),
    ],
)
def test_which_variables_are_unknown(variable: str, unknown: bool) -> None:
    lines = unknown_variables(StreamingLike, {variable: "x"})
    assert [line.split(":")[0] for line in lines] == ([variable] if unknown else [])


def test_an_unknown_variable_ends_the_loading_and_suggests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVESTREAM_HTTP_PROT", "1")
    with pytest.raises(SettingsInvalid, match=r"LIVESTREAM_HTTP_PROT: unknown .*did you mean LIVESTREAM_HTTP_PORT"):
        load_settings(StreamingLike)


def test_the_generated_texts_name_every_variable_once_with_its_facts() -> None:
    processes: list[tuple[str, type[ProcessSettings]]] = [("streaming", StreamingLike), ("chat", ChatLike)]
    example, page = env_example(processes), configuration_page(processes)
    fields = StreamingLike.model_fields.keys() | ChatLike.model_fields.keys()
    for name in fields:
        variable = f"LIVESTREAM_{name.upper()}"
        assert example.count(f"\n{variable}=") + example.count(f"\n#{variable}=") == 1
        assert page.count(f"| `{variable}` |") == 1
    assert "\n#LIVESTREAM_STREAMING_GRACE_SECONDS=30\n" in example
    assert "\nLIVESTREAM_STREAMING_HOOK_SECRET=\n" in example
    row = (
        "| `LIVESTREAM_STREAMING_GRACE_SECONDS` | How long a publisher may be gone. | `30` | at least 0, at most 600 |"
    )
    assert row + " streaming |" in page
    assert "Rooms \\| open" in page
    assert env_example(processes) == example
