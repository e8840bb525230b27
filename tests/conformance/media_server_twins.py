"""Media servers for the conformance suite: small servers that answer as SRS, MediaMTX and Ant Media document it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import parse_qsl
from uuid import uuid4

from aiohttp import web
from aiohttp.test_utils import TestServer


@dataclass
class Connection:
    """Somebody connected to a media server."""

    client: str
    name: str
    application: str = "live"
    publishes: bool = True
    kind: str = "rtmpConn"


class Twin:
    """What every twin has: connections, and ways to fail."""

    def __init__(self) -> None:
        self.connections: list[Connection] = []
        self.failing: web.Response | None = None
        self.seconds = 0.0
        self.asked: list[web.Request] = []

    def add(self, connection: Connection) -> str:
        self.connections.append(connection)
        return connection.client

    def remove(self, client: str) -> bool:
        before = len(self.connections)
        self.connections = [one for one in self.connections if one.client != client]
        return len(self.connections) < before

    def find(self, client: str) -> Connection | None:
        return next((one for one in self.connections if one.client == client), None)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        raise NotImplementedError

    async def serve(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        await asyncio.sleep(self.seconds)
        if self.failing is not None:
            return web.Response(status=self.failing.status, body=self.failing.body)
        return await self.answer(request)


class SrsTwin(Twin):
    """SRS 5 and 6: every answer has status 200 and a `code`; who is dropped is there until its hooks are answered."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        client = request.path.removeprefix("/api/v1/clients/")
        found = self.find(client)
        if client and found is None:
            return web.json_response({"code": 2049})
        if request.method == "DELETE" and found is not None:
            asyncio.get_running_loop().call_later(0.1, self.remove, client)
            return web.json_response(self._says())
        if found is not None:
            return web.json_response(self._says(client=self._told(found)))
        start, count = int(request.query.get("start", 0)), max(10, int(request.query.get("count", 0)))
        told = [self._told(one) for one in self.connections[start : start + count]]
        return web.json_response(self._says(clients=told))

    @staticmethod
    def _says(**more: object) -> dict[str, object]:
        return {"code": 0, "server": "vid-y8k4961", "service": "489e45k3", "pid": "25340", **more}

    @staticmethod
    def _told(one: Connection) -> dict[str, object]:
        kind = "fmle-publish" if one.publishes else "rtmp-play"
        of = {"id": one.client, "vhost": "vid-1i98675", "stream": "vid-345973x", "ip": "127.0.0.1"}
        page = {"pageUrl": "", "swfUrl": "", "tcUrl": f"rtmp://127.0.0.1:1935/{one.application}"}
        what = {"url": f"/{one.application}/{one.name}", "name": one.name, "type": kind, "publish": one.publishes}
        flow = {"send_bytes": 3841, "recv_bytes": 3467, "kbps": {"recv_30s": 0, "send_30s": 0}}
        return {**of, **page, **what, "alive": 0.67, **flow}


# Without RTMPS and MoQ, whose parts of the API are then not there.
KINDS = {
    "rtmpconns": "rtmpConn",
    "srtconns": "srtConn",
    "webrtcsessions": "webRTCSession",
    "rtspsessions": "rtspSession",
}


class MediaMtxTwin(Twin):
    """MediaMTX 1.19: a list in pages, and kicks at the kind of the connection."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        parts = request.path.removeprefix("/v3/").split("/")
        if parts == ["paths", "list"]:
            return self._list(request)
        kind = KINDS.get(parts[0])
        if request.method != "POST" or kind is None or parts[1] != "kick":
            return web.Response(status=404, text="404 page not found")
        if len(parts[2]) != 36:
            return web.json_response({"status": "error", "error": "invalid UUID length"}, status=400)
        found = self.find(parts[2])
        if found is None or found.kind != kind:
            return web.json_response({"status": "error", "error": "connection not found"}, status=404)
        self.remove(parts[2])
        return web.json_response({"status": "ok"})

    def _list(self, request: web.Request) -> web.Response:
        size, page = int(request.query.get("itemsPerPage", 100)), int(request.query.get("page", 0))
        items: list[dict[str, object]] = [
            {
                "name": f"{one.application}/{one.name}",
                "available": True,
                "source": {"type": one.kind, "id": one.client} if one.publishes else None,
                "readers": [],
            }
            for one in self.connections
        ]
        pages = -(-len(items) // size)
        told = {"itemCount": len(items), "pageCount": pages, "items": items[page * size : (page + 1) * size]}
        return web.json_response(told)


class AntMediaTwin(Twin):
    """Ant Media: at most 50 broadcasts at a time, whatever one asks for, and those that are over among them."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        application, _, rest = request.path.removeprefix("/").partition("/rest/v2/broadcasts/")
        here = [one for one in self.connections if one.application == application]
        if rest.startswith("list/"):
            offset, size = (int(part) for part in rest.split("/")[1:])
            return web.json_response([self._told(one) for one in here[offset : offset + min(size, 50)]])
        name, _, action = rest.partition("/")
        found = next((one for one in here if one.name == name), None)
        if action == "stop":
            done = found is not None and found.publishes
            if found is not None:
                asyncio.get_running_loop().call_later(0.1, self.remove, found.client)
            return web.json_response({"success": done, "message": None, "dataId": None, "errorId": 0})
        return web.json_response(self._told(found)) if found else web.Response(status=404)

    @staticmethod
    def _told(one: Connection) -> dict[str, object]:
        return {
            "streamId": one.name,
            "status": "broadcasting" if one.publishes else "finished",
            "type": "liveStream",
            "name": None,
            "startTime": 1_700_000_000_000,
        }


@asynccontextmanager
async def serving(twin: Twin) -> AsyncIterator[str]:
    """The twin's address while the block runs."""
    application = web.Application()
    application.router.add_route("*", "/{rest:.*}", twin.serve)
    async with TestServer(application) as server:
        yield str(server.make_url("/"))


class Listener:
    """Takes a media server's hooks, says yes to all, and remembers which client's each was."""

    def __init__(self) -> None:
        self.clients: list[str] = []

    async def hear(self, request: web.Request) -> web.Response:
        body = await request.read()
        if request.content_type == "application/json":
            hook = json.loads(body)
            if hook.get("action") == "publish":
                self.clients.append(hook["id"])
            elif hook.get("action") == "on_publish":
                self.clients.append(hook["client_id"])
        else:
            fields = dict(parse_qsl(body.decode(), keep_blank_values=True))
            if fields.get("call") == "publish":
                self.clients.append(fields["clientid"])
        return web.json_response({"code": 0})  # SRS reads it; to the others the status is yes

    @asynccontextmanager
    async def listening(self, port: int | None = None) -> AsyncIterator[str]:
        application = web.Application()
        application.router.add_route("*", "/{rest:.*}", self.hear)
        async with TestServer(application, port=port) as server:
            yield str(server.make_url("/hooks"))


def any_id() -> str:
    """An id as MediaMTX gives them."""
    return str(uuid4())
