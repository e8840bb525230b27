"""The OpenAPI 3.1 document of APIs, generated from what their handlers declare."""

from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from pkgutil import walk_packages
from typing import Any

from pydantic import BaseModel, JsonValue
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from runtime.endpoints import Endpoint, endpoints_of
from runtime.idempotency import HEADER, KEPT_SECONDS, KEY_CHARACTERS_MAX, REPLAYED_HEADER
from runtime.problems import CONTENT_TYPE, InternalError, Problem, ProblemView, TooManyRequests

INTERNAL_PATHS = ("/hooks/", "/internal/")
"""What begins so is between the services and media servers; the edge answers 404 to it."""

_REFERENCE = "#/components/schemas/{model}"
_IDEMPOTENCY_KEY = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": KEY_CHARACTERS_MAX},
    "description": "Repetitions of the request with the same key get the first answer again and do nothing, "
    f"for {KEPT_SECONDS // 3600} hours. Choose one for each request: a UUID, say.",
}
_LIMIT_HEADERS = {
    "RateLimit-Policy": {"schema": {"type": "string"}, "description": 'The limit: `"api";q=1000;w=60`, w in seconds.'},
    "RateLimit": {
        "schema": {"type": "string"},
        "description": 'What is left of it: `"api";r=997;t=42`, 997 more in 42 s. Absent while nobody counts.',
    },
}
_REPLAYED = {"schema": {"type": "string", "const": "true"}, "description": "There if this is the answer of before."}
_RETRY_AFTER = {"schema": {"type": "integer", "minimum": 1}, "description": "Seconds until it is worth asking again."}
_Schemas = dict[tuple[type[BaseModel], JsonSchemaMode], dict[str, Any]]


def is_public(path: str) -> bool:
    """Whether clients may call what has this path, and so should read of it."""
    return not path.startswith(INTERNAL_PATHS)


def openapi_document(
    title: str, apis: Sequence[type], *, version: str = "1", having: Callable[[str], bool] = lambda _: True
) -> dict[str, JsonValue]:
    """The document for those endpoints of `apis` whose paths it is for; the same classes always give the same one."""
    endpoints = [endpoint for api in apis for endpoint in endpoints_of(api) if having(endpoint.path)]
    schemas, definitions = _schemas(endpoints)
    paths: dict[str, Any] = {}
    for endpoint in sorted(endpoints, key=lambda one: (one.path, one.method)):
        operations = paths.setdefault(endpoint.path, {})
        if endpoint.method.lower() in operations:
            raise ValueError(f"{endpoint.method} {endpoint.path} is declared twice")
        operations[endpoint.method.lower()] = _operation(endpoint, schemas, definitions)
    parameters_only = {
        _name(schemas[model, "validation"])
        for endpoint in endpoints
        for model in (endpoint.path_model, endpoint.query_model)
        if model is not None
    }
    components = {name: definitions[name] for name in sorted(definitions) if name not in parameters_only}
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def find_apis(package: str) -> list[type]:
    """The classes with endpoints of a package, in the order of modules and definition; none without the package."""
    if find_spec(package) is None:
        return []
    found = []
    for name in _modules(package):
        defined = vars(import_module(name)).values()
        found += [one for one in defined if isinstance(one, type) and one.__module__ == name and endpoints_of(one)]
    return found


def _modules(package: str) -> list[str]:
    """All but programs: whatever a module is called, its endpoints are served, so they are documented."""
    walked = walk_packages(import_module(package).__path__, prefix=f"{package}.")
    names = [module.name for module in walked if not module.name.endswith(".__main__")]
    return sorted(names, key=lambda name: (name.count("."), not name.endswith(".api"), name))


def _schemas(endpoints: Sequence[Endpoint]) -> tuple[_Schemas, dict[str, Any]]:
    wanted: dict[tuple[type[BaseModel], JsonSchemaMode], None] = {(ProblemView, "serialization"): None}
    for endpoint in endpoints:
        for model in (endpoint.path_model, endpoint.query_model, endpoint.body_model):
            if model is not None:
                wanted[model, "validation"] = None
        if endpoint.answer_model is not None:
            wanted[endpoint.answer_model, "serialization"] = None
    schemas, document = models_json_schema(list(wanted), ref_template=_REFERENCE)
    named = {(model, mode): schemas[model, mode] for model, mode in wanted}
    return named, document.get("$defs", {})


def _operation(endpoint: Endpoint, schemas: _Schemas, definitions: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {"operationId": endpoint.name, "summary": endpoint.summary}
    if endpoint.description:
        operation["description"] = endpoint.description
    if endpoint.tags:
        operation["tags"] = list(endpoint.tags)
    if endpoint.caller != "none":
        operation["security"] = [{"bearer": []}] if endpoint.caller == "required" else [{}, {"bearer": []}]
    parameters = [
        *_parameters("path", endpoint.path_model, schemas, definitions),
        *_parameters("query", endpoint.query_model, schemas, definitions),
        *([_IDEMPOTENCY_KEY] if endpoint.idempotent else []),
    ]
    if parameters:
        operation["parameters"] = parameters
    if endpoint.body_model is not None:
        schema = schemas[endpoint.body_model, "validation"]
        operation["requestBody"] = {
            "required": not endpoint.body_optional,
            "content": {"application/json": {"schema": schema}},
        }
    operation["responses"] = _responses(endpoint, schemas)
    return operation


def _parameters(
    place: str, model: type[BaseModel] | None, schemas: _Schemas, definitions: dict[str, Any]
) -> list[dict[str, Any]]:
    if model is None:
        return []
    definition = definitions[_name(schemas[model, "validation"])]
    required = definition.get("required", [])
    parameters = []
    for name, schema in definition.get("properties", {}).items():
        described = {key: value for key, value in schema.items() if key not in ("title", "description")}
        parameter: dict[str, Any] = {
            "name": name,
            "in": place,
            "required": place == "path" or name in required,
            "schema": described,
        }
        if "description" in schema:
            parameter["description"] = schema["description"]
        parameters.append(parameter)
    return parameters


def _responses(endpoint: Endpoint, schemas: _Schemas) -> dict[str, Any]:
    success: dict[str, Any] = {"description": endpoint.summary or "Done."}
    if endpoint.answer_model is not None:
        schema = schemas[endpoint.answer_model, "serialization"]
        success["content"] = {"application/json": {"schema": schema}}
    if endpoint.limit is not None:
        success["headers"] = dict(_LIMIT_HEADERS)
    if endpoint.idempotent is True:
        success.setdefault("headers", {})[REPLAYED_HEADER] = _REPLAYED
    responses: dict[int, dict[str, Any]] = {endpoint.status: success}
    if endpoint.ready:
        responses[304] = {"description": "Not changed since the answer whose ETag If-None-Match names."}
    by_status: dict[int, list[type[Problem]]] = {}
    problems: list[type[Problem]] = [*endpoint.all_problems(), InternalError]
    for problem in problems:
        by_status.setdefault(problem.status, []).append(problem)
    for status, kinds in by_status.items():
        responses[status] = _refusal(kinds, schemas)
        if status == TooManyRequests.status:
            headers = _LIMIT_HEADERS if endpoint.limit is not None else {}
            responses[status]["headers"] = {"Retry-After": _RETRY_AFTER, **headers}
    return {str(status): responses[status] for status in sorted(responses)}


def _refusal(problems: Sequence[type[Problem]], schemas: _Schemas) -> dict[str, Any]:
    kinds = sorted({problem.urn() for problem in problems})
    schema = {
        "allOf": [schemas[ProblemView, "serialization"], {"properties": {"type": {"enum": kinds}}}],
    }
    return {
        "description": "; ".join(sorted({problem.title for problem in problems})),
        "content": {CONTENT_TYPE: {"schema": schema}},
    }


def _name(schema: dict[str, Any]) -> str:
    reference: str = schema["$ref"]
    return reference.rpartition("/")[2]
