"""Generated requests against the APIs of all services: whatever is sent, the answer is one that the document declares.

The system is one process with everything in it, whose limits are out of the way; the requests come from the owner of
all that paths name, from somebody else, and from nobody. The documents are the committed ones: what clients
read, and what is between the services.
"""

from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.contract.documents import whole_document
from tests.contract.world import World

EXAMPLES = 5
SEED = 20_240_601
ANSWER_SECONDS_MAX = 20.0
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]

CALLERS = st.sampled_from(["owner", "owner", "stranger", None])
SPOILT = st.integers(0, 3)
"""Which text of a body."""

ENDLESS = {
    "GET /api/notifications/live": "an event stream: it stays open as long as the client does",
}
"""Endpoints that are not tried, and why."""

SCHEMA = schemathesis.openapi.from_dict(whole_document())
OPERATIONS = {result.ok().label: result.ok() for result in SCHEMA.get_all_operations() if isinstance(result, Ok)}
TRIED = sorted(OPERATIONS.keys() - ENDLESS.keys())


def test_every_endpoint_of_the_document_is_tried() -> None:
    documented = [
        f"{method.upper()} {path}" for path, methods in SCHEMA.raw_schema["paths"].items() for method in methods
    ]
    assert sorted([*TRIED, *ENDLESS]) == sorted(documented)


@pytest.mark.parametrize("label", TRIED)
def test_whatever_is_sent_the_answer_is_as_declared(label: str, world: World) -> None:
    operation = OPERATIONS[label]
    real = world.path_values(operation.path)

    @seed(SEED)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(case=_cases(operation), who=CALLERS, exists=st.booleans(), spoilt=SPOILT)
    def hold(case: Any, who: str | None, exists: bool, spoilt: int) -> None:  # noqa: ANN401  it is generic
        if exists and case.path_parameters:
            case.path_parameters.update((name, real[name]) for name in set(case.path_parameters) & set(real))
        if isinstance(case.body, dict):
            case.body = _spoilt(case.body, spoilt)
        headers = dict(world.address) | (world.people[who].headers if who else {})
        case.call_and_validate(
            base_url=world.solo.url,
            headers=headers,
            session=session,
            checks=CHECKS,
            timeout=ANSWER_SECONDS_MAX,
            allow_redirects=False,
        )

    with requests.Session() as session:
        hold()


def _spoilt(body: dict[str, object], number: int) -> dict[str, object]:
    """The body with a text that Postgres does not keep, which generated ones have too rarely, if it has so many."""
    texts = [name for name, value in sorted(body.items()) if isinstance(value, str)]
    return {**body, **{name: f"{str(body[name])[:-1]}a\x00" for name in texts[number : number + 1]}}


def _cases(operation: Any) -> st.SearchStrategy[Any]:  # noqa: ANN401  as above
    """Requests as the document has them, and, where it has a say, as it does not."""
    right: st.SearchStrategy[Any] = operation.as_strategy()
    if not (operation.body or operation.query or operation.path_parameters):
        return right
    return st.one_of(right, operation.as_strategy(generation_mode=GenerationMode.NEGATIVE))
