"""The OpenAPI document of the whole system is valid, complete and the one that is committed, if it is."""

import json
import re
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from deploy.local.places import CHECKOUT
from runtime.endpoints import endpoints_of
from runtime.migrations import SCHEMAS
from runtime.openapi import INTERNAL_PATHS, find_apis, openapi_document
from tests.contract.documents import INTERNAL, PUBLIC, whole_document

APIS = [api for service in SCHEMAS for api in find_apis(service)]


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """The document of all services behind the edge."""
    return openapi_document("LiveStream", APIS)


def test_no_endpoint_is_left_out(document: dict[str, Any]) -> None:
    declared = sum(
        len(re.findall(r"^ +@endpoint\(", file.read_text(), re.MULTILINE))
        for service in SCHEMAS
        for file in (CHECKOUT / service).rglob("*.py")
    )
    assert sum(len(operations) for operations in document["paths"].values()) == declared


def test_the_document_is_valid_openapi_3_1(document: dict[str, Any]) -> None:
    OpenAPIV31SpecValidator(document).validate()


def test_what_is_committed_has_every_endpoint_in_one_of_two_documents(document: dict[str, Any]) -> None:
    whole = whole_document()
    assert whole["paths"] == document["paths"]
    assert whole["components"] == document["components"]
    for path in (PUBLIC, INTERNAL):
        OpenAPIV31SpecValidator(json.loads(path.read_text())).validate()


def test_what_clients_read_names_nothing_that_is_between_the_services() -> None:
    public, internal = (json.loads(path.read_text())["paths"] for path in (PUBLIC, INTERNAL))
    assert not [path for path in public if path.startswith(INTERNAL_PATHS)]
    assert internal
    assert not [path for path in internal if not path.startswith(INTERNAL_PATHS)]
    assert not _tags(public) & {"ingest hooks", "segment hooks", "between the services"}


def _tags(paths: dict[str, Any]) -> set[str]:
    return {tag for operations in paths.values() for one in operations.values() for tag in one["tags"]}


def test_the_validator_can_fail(document: dict[str, Any]) -> None:
    broken = json.loads(json.dumps(document))
    del broken["paths"]["/api/auth/me"]["get"]["responses"]["200"]["description"]
    assert list(OpenAPIV31SpecValidator(broken).iter_errors())


def test_every_service_with_an_api_is_in_it(document: dict[str, Any]) -> None:
    assert len(APIS) >= 5
    assert "accounts" in _tags(document["paths"])


def test_operations_have_names_of_their_own_and_say_what_they_do(document: dict[str, Any]) -> None:
    operations = [one for operations in document["paths"].values() for one in operations.values()]
    names = [one["operationId"] for one in operations]
    assert len(set(names)) == len(names)
    silent = [one["operationId"] for one in operations if not one["summary"].endswith((".", "?"))]
    assert not silent, f"the first line of the docstring is the summary: {silent}"


def test_every_refusal_is_a_problem(document: dict[str, Any]) -> None:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            refusals = {status: one for status, one in operation["responses"].items() if int(status) >= 400}
            assert {"500", "503"} <= refusals.keys(), f"{method} {path}"
            assert all(list(one["content"]) == ["application/problem+json"] for one in refusals.values()), path


def test_who_needs_a_login_says_so(document: dict[str, Any]) -> None:
    for api in APIS:
        for endpoint in endpoints_of(api):
            operation = document["paths"][endpoint.path][endpoint.method.lower()]
            assert (operation.get("security") == [{"bearer": []}]) == (endpoint.caller == "required")
            assert ("401" in operation["responses"]) >= (endpoint.caller != "none")
