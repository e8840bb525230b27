"""The committed documents of all APIs as one: what clients read, and what is between the services."""

import json
from typing import Any

from deploy.local.places import CHECKOUT

PUBLIC = CHECKOUT / "web/openapi.json"
INTERNAL = CHECKOUT / "docs/openapi-internal.json"


def whole_document() -> dict[str, Any]:
    """Every endpoint of every service."""
    public, internal = (json.loads(path.read_text()) for path in (PUBLIC, INTERNAL))
    assert not public["paths"].keys() & internal["paths"].keys()
    public["paths"] |= internal["paths"]
    public["components"]["schemas"] = internal["components"]["schemas"] | public["components"]["schemas"]
    return dict(public)
