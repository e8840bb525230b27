"""What the URL of an endpoint must be, who answers there, and as what its owner is shown it."""

from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from notify.webhooks.presets import Preset, telegram_chat

TAIL_CHARACTERS = 4
TAIL_SHOWN_FROM_CHARACTERS = 24
"""Of a shorter path four characters would tell too much."""
PORTS = {"http": 80, "https": 443}
MATRIX_PATH_END = "/send/m.room.message"


class UrlWrong(ValueError):
    """The URL cannot be that of an endpoint; the text says why and never repeats it."""


@dataclass(frozen=True, slots=True)
class EndpointUrl:
    """A URL that something can be posted to."""

    url: str
    provider: str
    """Host and port."""
    shown: str


def parse_url(url: str, preset: Preset | None) -> EndpointUrl:
    """Read a URL that `Outbound.check_url` has accepted; raises UrlWrong where it does not suit the preset."""
    try:
        parts = urlsplit(url)
        port = parts.port or PORTS.get(parts.scheme)
    except ValueError:
        raise UrlWrong("is not a URL") from None
    if port is None or not parts.hostname:
        raise UrlWrong("must begin with https:// and a host")
    if preset is Preset.TELEGRAM and telegram_chat(url) is None:
        raise UrlWrong("must end with the chat: https://api.telegram.org/bot<token>/sendMessage?chat_id=<chat>")
    if preset is Preset.MATRIX and not (parts.path.endswith(MATRIX_PATH_END) and not parts.query):
        raise UrlWrong(f"must end with /_matrix/client/v3/rooms/<room id>{MATRIX_PATH_END}")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return EndpointUrl(url, f"{host}:{port}", _shown(parts))


def _shown(parts: SplitResult) -> str:
    host = parts.netloc.rpartition("@")[2]
    rest = parts.path + (f"?{parts.query}" if parts.query else "")
    tail = rest[-TAIL_CHARACTERS:] if len(rest) >= TAIL_SHOWN_FROM_CHARACTERS else ""
    return f"{parts.scheme}://{host}/…{tail}"
