"""Errors as users see them: RFC 9457 problem details with a stable `type` each.

Problem
├── InvalidRequest        400  the request cannot be read at all
│   └── ValidationFailed  422  it was read, and fields are wrong: `errors` names each with its limit
├── NotAuthenticated      401
├── Forbidden             403
├── NotFound              404
├── MethodNotAllowed      405
├── Conflict              409
├── PayloadTooLarge       413
├── UnsupportedMediaType  415
├── TooManyRequests       429  Retry-After
├── InternalError         500
└── Unavailable           503  Retry-After
"""

from collections.abc import Mapping
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

CONTENT_TYPE = "application/problem+json"
FIELD_ERRORS_MAX = 20


class Problem(Exception):
    """An answer that refuses. Services subclass it with their own `status`, `type`, `title`; `facts` join the body."""

    status: ClassVar[int] = 500
    type: ClassVar[str] = "internal-error"
    title: ClassVar[str] = "Something went wrong here"

    def __init__(self, detail: str, *, headers: Mapping[str, str] | None = None, **facts: JsonValue) -> None:
        super().__init__(detail)
        self.detail = detail
        self.headers = dict(headers or {})
        self.facts = facts

    @classmethod
    def urn(cls) -> str:
        """The problem's `type` as it stands in the body."""
        return f"urn:livestream:problem:{cls.type}"

    def body(self, trace_id: str | None) -> dict[str, JsonValue]:
        """The problem as JSON: RFC 9457's members, the trace to quote when asking about it, then the facts."""
        members: dict[str, JsonValue] = {
            "type": self.urn(),
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }
        if trace_id is not None:
            members["trace_id"] = trace_id
        return {**self.facts, **members}


class FieldError(BaseModel):
    """One field that is wrong, and how."""

    field: str = Field(description="Where: `body.password`, `query.limit`, `path.stream_id`.")
    message: str = Field(description="What is wrong, with the limit that was not kept.")


class ProblemView(BaseModel):
    """A refusal (RFC 9457). Further members give its facts."""

    model_config = ConfigDict(extra="allow", title="Problem")

    type: str = Field(description="What kind of problem, stable: `urn:livestream:problem:<name>`.")
    title: str
    status: int
    detail: str
    trace_id: str | None = Field(default=None, description="Quote it when you ask about this answer.")
    errors: list[FieldError] = Field(default=[], description="Only with invalid requests: the fields that are wrong.")


class InvalidRequest(Problem):
    """The request cannot be read: not JSON, a malformed header, a cursor that is none."""

    status = 400
    type = "invalid-request"
    title = "The request cannot be read"


class ValidationFailed(InvalidRequest):
    """Fields of the request are wrong; `errors` names them."""

    status = 422
    type = "validation-failed"
    title = "Fields of the request are wrong"

    @classmethod
    def from_errors(cls, where: str, error: ValidationError) -> "ValidationFailed":
        """The problem for a model of `where` (body, query, path) that did not validate; inputs are not repeated."""
        found = error.errors(include_url=False, include_context=False, include_input=False)
        fields: list[JsonValue] = [
            {"field": ".".join([where, *(str(part) for part in one["loc"])]), "message": one["msg"]}
            for one in found[:FIELD_ERRORS_MAX]
        ]
        return cls(f"{len(found)} wrong in the {where}", errors=fields)


class NotAuthenticated(Problem):
    """No access token, or one that is not valid."""

    status = 401
    type = "not-authenticated"
    title = "A valid access token is needed"

    def __init__(self, detail: str, *, headers: Mapping[str, str] | None = None, **facts: JsonValue) -> None:
        super().__init__(detail, headers={"WWW-Authenticate": "Bearer", **(headers or {})}, **facts)


class Forbidden(Problem):
    """The caller is known and may not do this."""

    status = 403
    type = "forbidden"
    title = "This is not yours to do"


class NotFound(Problem):
    """There is no such thing (or none that the caller may know of)."""

    status = 404
    type = "not-found"
    title = "There is nothing here"


class MethodNotAllowed(Problem):
    """The path exists, the method does not."""

    status = 405
    type = "method-not-allowed"
    title = "This path does not take this method"


class Conflict(Problem):
    """The request contradicts the present state."""

    status = 409
    type = "conflict"
    title = "The request contradicts the present state"


class PayloadTooLarge(Problem):
    """The body is larger than this path takes."""

    status = 413
    type = "payload-too-large"
    title = "The body is too large"


class UnsupportedMediaType(Problem):
    """The body is of a type that this path does not read."""

    status = 415
    type = "unsupported-media-type"
    title = "The body is of a type that is not read here"


class _RetryLater(Problem):
    def __init__(
        self,
        detail: str,
        *,
        retry_after_seconds: int = 1,
        headers: Mapping[str, str] | None = None,
        **facts: JsonValue,
    ) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after_seconds), **(headers or {})}, **facts)
        self.retry_after_seconds = retry_after_seconds


class TooManyRequests(_RetryLater):
    """A rate limit was reached; Retry-After says when to come back."""

    status = 429
    type = "too-many-requests"
    title = "Too many requests"


class InternalError(Problem):
    """A mistake of ours; the log has the trace id."""


class Unavailable(_RetryLater):
    """Something this needs is away or full; Retry-After says when to come back."""

    status = 503
    type = "unavailable"
    title = "This is not available right now"
