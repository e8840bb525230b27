"""Settings of verbs that work beside a server: some of those that the server itself is told."""

import os
from typing import TypeVar

from console.endings import fail
from console.server import ServerSettings
from runtime.settings import PREFIX, ProcessSettings, SettingsInvalid, load_settings

S = TypeVar("S", bound=ProcessSettings)


def load_for(settings_type: type[S]) -> S:
    """The settings from the environment; says what is wrong and exits 1 when they are not complete.

    Names that the server knows are not unknown names, whatever this type has of them.
    """
    known = ServerSettings.model_fields
    others = {name: value for name, value in os.environ.items() if name.removeprefix(PREFIX).lower() not in known}
    try:
        return load_settings(settings_type, others)
    except SettingsInvalid as invalid:
        raise fail(invalid.lines) from None
