"""nginx-rtmp's statistics: who publishes, and nothing concluded from a page that is not whole or not understood."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from streaming.errors import MediaServerUnavailable
from streaming.servers.media_server import Publisher
from streaming.servers.nginx_rtmp import NginxRtmp, open_nginx_rtmp

PAGE = """<?xml version="1.0" encoding="utf-8" ?>
<rtmp><nginx_version>1.22.1</nginx_version><uptime>5</uptime><server>
<application><name>live</name><live>
<stream><name>5f0</name><time>4100</time>
<client><id>12</id><address>127.0.0.1</address><time>4200</time><publishing/><active/></client>
<client><id>13</id><address>127.0.0.1</address><time>99</time></client>
</stream>
<nclients>2</nclients></live></application>
<application><name>hls</name><live>
<stream><name>id</name><client><id>14</id><time>4100</time><publishing/></client></stream>
</live></application>
</server></rtmp>"""


class Page:
    """What the server answers."""

    def __init__(self) -> None:
        self.body = PAGE.encode()
        self.status = 200

    async def answer(self, _: web.Request) -> web.Response:
        return web.Response(body=self.body, status=self.status)


@pytest.fixture
def page() -> Page:
    return Page()


@pytest.fixture
async def nginx_rtmp(page: Page) -> AsyncIterator[NginxRtmp]:
    application = web.Application()
    application.router.add_get("/stat", page.answer)
    async with TestServer(application) as server:
        url = str(server.make_url("/"))
        async with open_nginx_rtmp(
            control_url=f"{url}control", stat_url=f"{url}stat", application="live", seconds_max=1
        ) as opened:
            yield opened


async def test_publishers_of_the_application_alone(nginx_rtmp: NginxRtmp) -> None:
    assert await nginx_rtmp.publishers() == [Publisher("12", 4.2)]


async def test_a_long_page_is_read_to_its_end(nginx_rtmp: NginxRtmp, page: Page) -> None:
    client = "<stream><client><id>%d</id><time>5</time><publishing/></client></stream>"
    many = "".join(client % number for number in range(20_000))
    page.body = PAGE.replace("<nclients>", many + "<nclients>", 1).encode()
    assert len(await nginx_rtmp.publishers()) == 20_001


@pytest.mark.parametrize(
    "nonsense",
    [
        "",
        "<rtmp>",
        "<html><server><application><name>live</name></application></server></html>",
        PAGE[:-20],
        PAGE.replace("<name>live</name>", "<name>other</name>"),
        PAGE.replace("<id>12</id>", "<id>x</id>"),
        PAGE.replace("<id>12</id>", ""),
        PAGE.replace("<time>4200</time>", "<time></time>"),
    ],
)
async def test_nonsense_proves_nothing(nginx_rtmp: NginxRtmp, page: Page, nonsense: str) -> None:
    page.body = nonsense.encode()
    with pytest.raises(MediaServerUnavailable):
        await nginx_rtmp.publishers()


async def test_another_status_proves_nothing(nginx_rtmp: NginxRtmp, page: Page) -> None:
    page.status = 502
    with pytest.raises(MediaServerUnavailable):
        await nginx_rtmp.publishers()
