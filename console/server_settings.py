"""Settings of verbs that work on a server from outside: from the environment, else from its settings file."""

import os
from pathlib import Path
from typing import TypeVar

from console.endings import fail
from console.installation import EnvFileInvalid, directory_of, env_file_of, load_env_file
from console.server import ServerSettings
from runtime.settings import PREFIX, ProcessSettings, SettingsInvalid, load_settings

S = TypeVar("S", bound=ProcessSettings)


def load_for(settings_type: type[S], directory: Path | None) -> S:
    """The settings; says what is wrong and exits 1 when they are not complete.

    The file of `directory` is read when it is named, or when the environment has no setting at all and the default
    directory has one. Names that other processes know are not unknown names.
    """
    if directory is not None or _should_look():
        try:
            load_env_file(directory_of(directory))
        except EnvFileInvalid as invalid:
            raise fail(invalid.lines) from None
    known = ServerSettings.model_fields
    unknown = {name: value for name, value in os.environ.items() if name.removeprefix(PREFIX).lower() not in known}
    try:
        return load_settings(settings_type, unknown)
    except SettingsInvalid as invalid:
        raise fail(invalid.lines) from None


def _should_look() -> bool:
    return not any(name.startswith(PREFIX) for name in os.environ) and env_file_of(directory_of(None)).exists()
