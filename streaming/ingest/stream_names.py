"""Whose stream a publisher means: by the stream's public name and the key beside it.

SRS, MediaMTX and Ant Media put the stream's name into addresses that viewers see. So the name should be the channel's
id and the key stand in the query; the key as the name is taken too, for encoders that know one field only.
"""

from typing import Final, NamedTuple
from urllib.parse import parse_qsl
from uuid import UUID

from streaming.channels.keys import PREFIX
from streaming.errors import MalformedHook, NoStreamKey, WrongStreamName

KEY_FIELD: Final = "key"
QUERY_FIELDS_MAX: Final = 50
KEY_CHARACTERS_MAX: Final = 256


class Claim(NamedTuple):
    """A key, and the channel that the name says it is of; None where the name is the key itself."""

    key: str
    channel_id: UUID | None


def read_claim(name: str, key: str | None) -> Claim:
    """What the publisher claims with a name and, unless the name is the key, a key.

    Raises NoStreamKey, or WrongStreamName for a name beside a key that is no channel's id in its usual spelling:
    another spelling would be another public name of the same stream.
    """
    if key is None:
        if not name.startswith(PREFIX):
            raise NoStreamKey("neither the stream's name nor its query is a stream key")
        return Claim(name, None)
    try:
        channel_id = UUID(name)
    except ValueError:
        channel_id = None
    if channel_id is None or str(channel_id) != name:
        raise WrongStreamName("beside a key, the stream's name must be the channel's id")
    return Claim(key, channel_id)


def key_in_query(query: str, *, field: str) -> str | None:
    """The stream key in a query, with or without its `?`; None without one. Raises MalformedHook that names `field`."""
    try:
        pairs = parse_qsl(query.removeprefix("?"), keep_blank_values=True, max_num_fields=QUERY_FIELDS_MAX)
    except ValueError as error:
        raise MalformedHook(f"{field}: more than {QUERY_FIELDS_MAX} fields") from error
    return only_key(pairs, field=field)


def only_key(pairs: list[tuple[str, str]], *, field: str) -> str | None:
    """The stream key among fields of the publisher's; None without one. Raises MalformedHook that names `field`."""
    keys = [value for name, value in pairs if name == KEY_FIELD]
    if len(keys) > 1:
        raise MalformedHook(f"{field}: the key stands there twice")
    if keys and not 0 < len(keys[0]) <= KEY_CHARACTERS_MAX:
        raise MalformedHook(f"{field}: the key must have 1 to {KEY_CHARACTERS_MAX} characters")
    return keys[0] if keys else None
