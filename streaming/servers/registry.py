"""The media servers of this installation, out of the settings: who may ask, and who is asked and told."""

from contextlib import AsyncExitStack

import aiohttp
from pydantic import SecretStr

from streaming.ingest.commands import Dialect
from streaming.ingest.hooked_servers import HookedServer, HookedServers, SecretsFile, SettledSecrets
from streaming.servers.ant_media import AntMedia
from streaming.servers.entries import (
    NGINX_RTMP,
    AntMediaEntry,
    NginxRtmpEntry,
    ServerEntry,
    read_authorization,
    read_servers,
)
from streaming.servers.http_api import CONNECTIONS_MAX, HttpApi
from streaming.servers.media_server import MediaServer, MediaServers
from streaming.servers.mediamtx import MediaMtx
from streaming.servers.nginx_rtmp import open_nginx_rtmp
from streaming.servers.playback import PlaybackAddresses
from streaming.servers.srs import Srs
from streaming.settings_servers import MediaServerSettings


def hooked_servers(settings: MediaServerSettings) -> HookedServers:
    """Every media server as its hooks know it: the standard install's first."""
    given: list[SecretStr] = [settings.streaming_ingest_secret]
    if settings.streaming_ingest_secret_second is not None:
        given.append(settings.streaming_ingest_secret_second)
    standard = HookedServer(
        NGINX_RTMP,
        Dialect.NGINX_RTMP,
        SettledSecrets(*given),
        settings.streaming_ingest_application,
        settings.streaming_ingest_push_url,
    )
    further = [
        HookedServer(
            name,
            entry.dialect,
            SecretsFile(entry.secrets_file),
            entry.application,
            entry.push_url if isinstance(entry, NginxRtmpEntry) else "",
            watched=entry.playback_url is not None,
        )
        for name, entry in _entries(settings).items()
    ]
    return HookedServers([standard, *further])


async def open_media_servers(stack: AsyncExitStack, settings: MediaServerSettings) -> MediaServers:
    """Every media server as it is asked and told; ``stack`` closes their connections. Opens none until one is asked."""
    seconds_max = settings.streaming_media_server_seconds_max
    found: dict[str, MediaServer] = {
        NGINX_RTMP: await stack.enter_async_context(
            open_nginx_rtmp(
                control_url=settings.streaming_ingest_control_url,
                stat_url=settings.streaming_ingest_stat_url,
                application=settings.streaming_ingest_application,
                seconds_max=seconds_max,
            )
        )
    }
    for name, entry in _entries(settings).items():
        found[name] = await _open(stack, entry, seconds_max)
    return MediaServers(found)


def playback_addresses(settings: MediaServerSettings) -> PlaybackAddresses:
    """Where the live streams of each media server play."""
    entries = _entries(settings).items()
    return PlaybackAddresses({name: entry.playback_url for name, entry in entries if entry.playback_url is not None})


async def _open(stack: AsyncExitStack, entry: ServerEntry, seconds_max: float) -> MediaServer:
    if isinstance(entry, NginxRtmpEntry):
        return await stack.enter_async_context(
            open_nginx_rtmp(
                control_url=entry.control_url,
                stat_url=entry.stat_url,
                application=entry.application,
                seconds_max=seconds_max,
            )
        )
    connector = aiohttp.TCPConnector(limit=CONNECTIONS_MAX)
    http = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
    file = entry.api_authorization_file
    authorization = read_authorization(file) if file is not None else None
    api = HttpApi(http, entry.api_url, authorization=authorization, seconds_max=seconds_max)
    if isinstance(entry, AntMediaEntry):
        return AntMedia(api, application=entry.application)
    kind = Srs if entry.dialect is Dialect.SRS else MediaMtx
    return kind(api, application=entry.application)


def _entries(settings: MediaServerSettings) -> dict[str, ServerEntry]:
    path = settings.streaming_media_servers
    return {} if path is None else read_servers(path)
