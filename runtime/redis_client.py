"""Redis: one client per process with bounded connections and every timeout set. Values are bytes."""

from functools import partial
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import Connection, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError  # noqa: A004  redis' own, which is no subclass of the built-in one

from runtime.redis_address import RedisAddress, Server, read_address
from runtime.redis_cluster import ClusterNodes, cluster_client
from runtime.redis_sentinel import ANSWER_SECONDS_MAX, MasterConnection, MasterSSLConnection, SentinelRedis, Sentinels
from runtime.settings import RedisSettings

REDIS_CONNECTIONS_MAX = 50
REDIS_ACQUIRE_TIMEOUT_SECONDS = 1.0
REDIS_COMMAND_TIMEOUT_SECONDS = 2.0
REDIS_CONNECT_TIMEOUT_SECONDS = 2.0
REDIS_HEALTH_CHECK_SECONDS = 15
REDIS_RETRIES_MAX = 1


def redis_client(settings: RedisSettings) -> Redis:
    """A client that has not connected yet; for those who start without Redis and say so.

    With Sentinels it goes to the master, whoever that is. Of a cluster it is a `ClusterRedis`, for publishing and
    subscribing; who has keys there asks its ``nodes``.
    """
    url = settings.redis_url.get_secret_value()
    address = read_address(url)
    if address.mode == "single":
        return Redis.from_pool(BlockingConnectionPool.from_url(url, **_bounds()))
    login = {"username": address.username, "password": address.password, "db": address.number}
    if address.mode == "sentinel":
        sentinels = Sentinels(address.service, [_sentinel(server, address) for server in address.servers])
        kind = MasterSSLConnection if address.tls else MasterConnection
        return SentinelRedis(sentinels, _pool(connection_class=kind, sentinels=sentinels, **login))

    def node(server: Server) -> Redis:
        kind = SSLConnection if address.tls else Connection
        return Redis.from_pool(_pool(connection_class=kind, host=server[0], port=server[1], **login))

    return cluster_client(ClusterNodes(address.servers, node), partial(_pool, **login), tls=address.tls)


def _pool(**arguments: Any) -> BlockingConnectionPool:  # noqa: ANN401  redis-py's own arguments
    return BlockingConnectionPool(**_bounds(), **arguments)


def _sentinel(server: Server, address: RedisAddress) -> Redis:
    host, port = server
    return Redis(
        host=host,
        port=port,
        password=address.sentinel_password,
        ssl=address.tls,
        protocol=2,  # a map is a flat list then, whatever the server's age
        socket_timeout=ANSWER_SECONDS_MAX,
        socket_connect_timeout=ANSWER_SECONDS_MAX,
        max_connections=REDIS_CONNECTIONS_MAX,
    )


def _bounds() -> dict[str, Any]:
    return {
        "max_connections": REDIS_CONNECTIONS_MAX,
        "timeout": REDIS_ACQUIRE_TIMEOUT_SECONDS,
        "socket_timeout": REDIS_COMMAND_TIMEOUT_SECONDS,
        "socket_connect_timeout": REDIS_CONNECT_TIMEOUT_SECONDS,
        "health_check_interval": REDIS_HEALTH_CHECK_SECONDS,
        # One more try covers a connection that died while idle. Not after a timeout: a slow or frozen server has the
        # command already, and would run it twice.
        "retry": Retry(ExponentialBackoff(cap=0.1, base=0.01), REDIS_RETRIES_MAX, supported_errors=(ConnectionError,)),
    }
