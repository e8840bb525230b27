"""What the document says of an endpoint's fields, turned into values that they must refuse, or at least survive."""

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

Schema: TypeAlias = Mapping[str, Any]

BODY_CHARACTERS = 70_000
"""More than a body may have: for texts whose length the document does not bound."""
NOTHING = "00000000-0000-0000-0000-000000000007"
"""An id that nothing has."""
LINE_CHARACTERS = 4_000
"""What a request's first line has room for."""
HUGE = 10**30
TRICKS = {
    "NUL": "a\x00b",
    "right-to-left override": "a\u202eb",
    "zero width": "a\u200b\u2060\ufeffb",
    "combining": "a" + "\u0301" * 40,
    "lone surrogate": "a\ud800",
    "noncharacter": "a\uffff\U0010ffff",
    "line ends": "a\r\nb\u2028c",
    "SQL and paths": "'; --%_\\../..",
    "blank": " \u3000\t",
    "empty": "",
}
MOMENTS = (
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
    "99999-01-01T00:00:00Z",
    "2024-02-30T00:00:00Z",
    "infinity",
    "1e300",
)
NO_CURSORS = ("x", "e30", "W10", "\u00e9", "bm90IEpTT04")
"""No base64, and base64 of what is no list, has no parts, or is no JSON."""
FOREIGN_CURSORS = (
    ("a",),
    ("9" * 40,),
    ("a\x00b",),
    ("\ud800",),
    ("0001-01-01T00:00:00+14:00", "00000000-0000-0000-0000-000000000007"),
    ("9999-12-31T23:59:59-14:00", "00000000-0000-0000-0000-000000000007"),
    ("infinity", "-1", "x"),
)
"""Lists of the right shape; some lists of ours may take them."""


@dataclass(frozen=True)
class Field:
    """One field of a request: `name` as errors call it, `place` where it goes, and its schema."""

    name: str
    place: str
    steps: tuple[str | int, ...]
    schema: Schema


@dataclass(frozen=True)
class Bad:
    """A value, why it is sent, and whether it has to be refused."""

    why: str
    value: object
    refused: bool


class Document:
    """The OpenAPI document, with its references resolved."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.content = document

    def resolved(self, schema: Schema) -> Schema:
        """The schema without a reference at its top; null is left out of unions."""
        while True:
            if "$ref" in schema:
                name = schema["$ref"].rpartition("/")[2]
                schema = {
                    **self.content["components"]["schemas"][name],
                    **{k: v for k, v in schema.items() if k[0] != "$"},
                }
            elif "anyOf" in schema:
                options = [one for one in schema["anyOf"] if one.get("type") != "null"]
                schema = {**options[0], **({"nullable": True} if len(options) < len(schema["anyOf"]) else {})}
            else:
                return schema

    def body(self, operation: Mapping[str, Any]) -> Schema | None:
        """The schema of an operation's JSON."""
        content = operation.get("requestBody", {}).get("content", {})
        return self.resolved(content["application/json"]["schema"]) if content else None

    def fields(self, operation: Mapping[str, Any]) -> Iterator[Field]:
        """Everything that a request of the operation may say, but for headers."""
        for parameter in operation.get("parameters", []):
            if parameter["in"] != "header":
                name = parameter["name"]
                yield Field(f"{parameter['in']}.{name}", parameter["in"], (name,), self.resolved(parameter["schema"]))
        body = self.body(operation)
        if body is not None:
            yield from self._within("body", (), body)

    def _within(self, name: str, steps: tuple[str | int, ...], schema: Schema) -> Iterator[Field]:
        for key, one in schema.get("properties", {}).items():
            resolved = self.resolved(one)
            yield Field(f"{name}.{key}", "body", (*steps, key), resolved)
            yield from self._within(f"{name}.{key}", (*steps, key), resolved)
            if resolved.get("type") == "array":
                item = self.resolved(resolved["items"])
                yield Field(f"{name}.{key}.0", "body", (*steps, key, 0), item)

    def example(self, schema: Schema, known: Mapping[str, object], name: str = "") -> Any:  # noqa: ANN401  any JSON
        """A value that fits the schema; `known` has those of fields about which it does not say everything."""
        schema = self.resolved(schema)
        if name in known:
            return known[name]
        if "properties" in schema:
            needed = schema.get("required", []) or list(schema["properties"])[:1]
            return {key: self.example(schema["properties"][key], known, key) for key in needed}
        if "enum" in schema:
            return schema["enum"][0]
        return _plain_example(schema)


def _plain_example(schema: Schema) -> object:
    match schema.get("type"), schema.get("format"):
        case "string", "uuid":
            return NOTHING
        case "string", "date-time":
            return "2024-05-01T12:00:00Z"
        case "string", _:
            return "abcdefgh"[: schema.get("maxLength", 8)].ljust(schema.get("minLength", 0), "a")
        case "integer" | "number", _:
            return schema.get("minimum", 1)
        case "boolean", _:
            return True
        case "array", _:
            return [_plain_example(schema.get("items", {}))] * schema.get("minItems", 1)
        case _:
            return {}


def bad_values(field: Field) -> Iterator[Bad]:
    """What is sent in the field."""
    schema = field.schema
    if field.place == "body":
        yield from _of_the_wrong_type(schema)
    kind = "text" if schema.get("type") == "string" and not schema.get("format") and "enum" not in schema else ""
    if kind or schema.get("format") == "password":
        yield from _texts(schema, LINE_CHARACTERS if field.place != "body" else BODY_CHARACTERS)
    elif field.place != "body" or "enum" in schema or "format" in schema:
        yield Bad("not one of these", "such-a-thing", True)
        yield Bad("a NUL", "a\x00b", True)
        yield Bad("an emoji", "\U0001f600", True)
    if schema.get("format") == "uuid":
        yield Bad("the id of nothing", NOTHING, False)
    if schema.get("type") in ("integer", "number"):
        yield from _numbers(schema)
    if schema.get("format") == "date-time":
        yield from (Bad("a moment", moment, False) for moment in MOMENTS)
    if field.name == "query.cursor":
        yield from (Bad("no cursor", cursor, True) for cursor in NO_CURSORS)
        yield from (Bad("a foreign cursor", _cursor(parts), False) for parts in FOREIGN_CURSORS)


def _cursor(parts: tuple[str, ...]) -> str:
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


def _of_the_wrong_type(schema: Schema) -> Iterator[Bad]:
    wrong: dict[str, object] = {"object": {"no": "such"}, "array": [[]], "string": "perhaps not", "number": 7.5}
    same = {"integer": "number"}.get(schema.get("type", ""), schema.get("type", ""))
    for kind, value in wrong.items():
        lenient = (kind, schema.get("type")) in {("string", "string"), ("number", "number")}
        moment = kind == "number" and schema.get("format") == "date-time"  # seconds since 1970
        if kind != same and not lenient:
            yield Bad(f"of type {kind}", value, not moment)
    if not schema.get("nullable") and "default" not in schema:
        yield Bad("null", None, True)


def _texts(schema: Schema, characters_max: int) -> Iterator[Bad]:
    longest = schema.get("maxLength")
    yield Bad(
        "too long",
        "a" * (longest + 1 if longest else characters_max),
        bool(longest) or characters_max == BODY_CHARACTERS,
    )
    yield Bad("emoji to the limit", "\U0001f600" * min(longest or 10, characters_max // 12), False)
    yield from (Bad(why, value, False) for why, value in TRICKS.items())


def _numbers(schema: Schema) -> Iterator[Bad]:
    lowest, highest = schema.get("minimum"), schema.get("maximum")
    yield Bad("a huge number", HUGE, highest is not None or "exclusiveMaximum" in schema)
    yield Bad("a negative number", -HUGE, lowest is not None)
    yield Bad("just too low", lowest - 1, True) if lowest is not None else Bad("zero", 0, False)
    if highest is not None:
        yield Bad("just too high", highest + 1, True)


def with_value(body: object, steps: tuple[str | int, ...], value: object) -> Any:  # noqa: ANN401  any JSON
    """The body with the value where the steps lead."""
    copy = json.loads(json.dumps(body))
    at = copy
    for step, following in zip(steps, (*steps[1:], None), strict=True):
        if following is None:
            at[step] = value
        elif isinstance(step, str):
            at = at.setdefault(step, [None] if isinstance(following, int) else {})
        else:
            at = at[step]
    return copy
