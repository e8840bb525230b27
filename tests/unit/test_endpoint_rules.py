"""Rules of endpoints that a machine can check: each has a decision about its limit and about being repeated."""

import re
import subprocess
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

from runtime.endpoints import Endpoint, endpoints_of
from runtime.limits import LIMITS

CHECKOUT = Path(__file__).parents[2]
SERVICES = ("accounts", "archive", "chat", "notify", "streaming")

# Paths that nobody counts, by how they begin.
WITHOUT_LIMIT = {
    "/.well-known/": "every process of ours reads the keys",
    "/hooks/": "media servers say what happens, and their secret lets them",
    "/internal/": "the edge asks, for its own clients",
    "GET /": "IRC over a WebSocket, which has bounds of its own",
    "GET /chat": "WebSockets have bounds of their own, per address and per user",
    "GET /chat/irc": "WebSockets have bounds of their own, per address and per user",
    "GET /api/notifications/live": "live connections have bounds of their own",
    "GET /api/notifications/socket": "live connections have bounds of their own",
    "GET /api/categories": "bytes that are ready; counting would cost more",
    "GET /api/chat/emotes/{emote_id}": "images that are kept for ever, many on a page",
    "GET /api/archives/{stream_id}/rewind.m3u8": "players ask every two seconds, many behind one address",
    "POST /api/streams/{stream_id}/heartbeat": "players of everybody; it has a bound of its own",
}

# POSTs that take no Idempotency-Key, and why that is right.
NOT_REPEATED = {
    "/hooks/": "a hook that is repeated changes nothing, by design",
    "/api/auth/": "no caller yet, an answer with a secret, or the same the second time",
    "/api/channels/me/stream-key": "the answer shows a secret, which must not be kept",
    "/api/streams/{stream_id}/end": "ending what is over changes nothing",
    "/api/streams/{stream_id}/kick": "ending what is over changes nothing",
    "/api/streams/{stream_id}/heartbeat": "it is repeated all the time, by design",
    "/api/streams/{stream_id}/invitations": "the answer shows a secret, which must not be kept",
    "/api/streams/{stream_id}/playback": "makes nothing but a signature, which must not be kept",
    "/api/archives/{stream_id}/access": "the answer shows a secret, which must not be kept",
    "/api/archives/{stream_id}/download": "asking twice makes one file",
    "/api/archives/{stream_id}/restore": "restoring what is not deleted changes nothing",
    "/api/chat/irc-passwords": "the answer shows a secret, which must not be kept",
    "/api/chat/{channel_id}/emotes": "its name is taken the second time; and the body is an image",
    "/api/chat/{channel_id}/followers-only": "it sets what it sets",
    "/api/notifications/email/": "no caller; the same the second time",
    "/api/notifications/preferences/back": "coming back twice changes nothing",
    "/api/notifications/push": "saying it again renews it",
    "/api/notifications/read": "reading twice changes nothing",
    "/api/webhooks": "the answer shows a secret, which must not be kept",
    "/api/webhooks/{webhook_id}/enable": "enabling what is enabled changes nothing",
    "/api/webhooks/{webhook_id}/rotate-secret": "the answer shows a secret, which must not be kept",
}

# Of fields whose text lets somebody in.
SECRET = re.compile(r"(^|_)(password|secret|token|grant|code|codes|cookie|stream_key|authorization)$")
NO_SECRET = frozenset({"has_authorization"})


@cache
def endpoints() -> tuple[Endpoint, ...]:
    """Every endpoint of every service."""
    listed = subprocess.run(
        ["git", "grep", "--untracked", "-l", "@endpoint(", "--", *(f"{service}/*.py" for service in SERVICES)],
        cwd=CHECKOUT,
        check=True,
        capture_output=True,
        text=True,
    )
    return tuple(_found([line.removesuffix(".py").replace("/", ".") for line in listed.stdout.splitlines()]))


def _found(names: list[str]) -> Iterator[Endpoint]:
    for name in names:
        for one in vars(import_module(name)).values():
            if isinstance(one, type) and one.__module__ == name:
                yield from endpoints_of(one)


def decided(endpoint: Endpoint, reasons: dict[str, str]) -> bool:
    """Whether a reason is given for the endpoint: for it alone, or for all paths below one that ends in /."""
    names = (endpoint.path, f"{endpoint.method} {endpoint.path}")
    return any(name in reasons for name in names) or any(
        endpoint.path.startswith(prefix) for prefix in reasons if prefix.endswith("/") and " " not in prefix
    )


def test_there_are_endpoints_to_check() -> None:
    assert len(endpoints()) > 80


def test_every_endpoint_has_a_limit_or_a_reason_why_not() -> None:
    for endpoint in endpoints():
        where = f"{endpoint.method} {endpoint.path}"
        if endpoint.limit is None:
            assert decided(endpoint, WITHOUT_LIMIT), f"{where} is not counted: say why"
        else:
            assert endpoint.limit in LIMITS, f"{where} has a limit that runtime/limits.py does not list"


def test_every_post_can_be_repeated_or_need_not_be() -> None:
    for endpoint in endpoints():
        if endpoint.method == "POST" and not endpoint.idempotent:
            where = f"{endpoint.method} {endpoint.path}"
            assert decided(endpoint, NOT_REPEATED), f"{where}: take a key (idempotent=True), or say why not"


def test_no_answer_that_is_kept_has_a_secret() -> None:
    kept = [endpoint for endpoint in endpoints() if endpoint.idempotent is True]
    assert kept
    for endpoint in kept:
        fields = endpoint.answer_model.model_fields if endpoint.answer_model else {}
        secrets = [name for name in fields if SECRET.search(name) and name not in NO_SECRET]
        assert not secrets, f"{endpoint.method} {endpoint.path} would keep {secrets} in Redis"
