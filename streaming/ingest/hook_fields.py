"""What the fields of JSON hooks may be, and how a hook that is none is refused."""

from typing import Annotated, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from streaming.errors import MalformedHook

JSON_BYTES_MAX: Final = 65_536
NAME_CHARACTERS_MAX: Final = 256
CLIENT_CHARACTERS_MAX: Final = 128
QUERY_CHARACTERS_MAX: Final = 8_192

# No control characters: a database takes no NUL, and a log no line break of a stranger's.
_PRINTABLE = r"^[^\x00-\x1f\x7f]*$"

Name = Annotated[str, Field(min_length=1, max_length=NAME_CHARACTERS_MAX, pattern=_PRINTABLE)]
Client = Annotated[str, Field(min_length=1, max_length=CLIENT_CHARACTERS_MAX, pattern=_PRINTABLE)]
Query = Annotated[str, Field(max_length=QUERY_CHARACTERS_MAX)]


class HookFields(BaseModel):
    """Fields that we read; servers add others from version to version."""

    model_config = ConfigDict(extra="ignore", frozen=True)


F = TypeVar("F", bound=HookFields)


def read_json(fields: type[F], body: bytes) -> F:
    """The fields of a JSON hook. Raises MalformedHook, which names the first that is wrong."""
    try:
        return fields.model_validate_json(body)
    except ValidationError as error:
        raise _malformed(error) from error


def read_form(fields: type[F], pairs: list[tuple[str, str]]) -> F:
    """The same of a form or a query, in which no field may stand twice."""
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in found:
            raise MalformedHook(f"{name[:64]!r} stands twice")
        found[name] = value
    try:
        return fields.model_validate(found)
    except ValidationError as error:
        raise _malformed(error) from error


def _malformed(error: ValidationError) -> MalformedHook:
    # What was sent is not repeated: it may be a key.
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"] if part not in ("str", "int"))
    return MalformedHook(f"{where or 'the body'}: {first['msg']}")
