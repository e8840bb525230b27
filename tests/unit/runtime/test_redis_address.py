"""LIVESTREAM_REDIS_URL: one server, Sentinels or a cluster, and errors that name the variable and no secret."""

import pytest

from runtime.redis_address import RedisAddress, read_address
from runtime.settings import RedisSettings, SettingsInvalid, load_settings


class OnlyRedis(RedisSettings):
    """A process that uses nothing else."""


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://:pw@h:1/0", RedisAddress("single", tls=False)),
        ("rediss://h", RedisAddress("single", tls=True)),
        ("unix:///run/redis.sock", RedisAddress("single", tls=False)),
        (
            "redis+sentinel://u:p%40w@a:1,b/main/3?sentinel_password=s",
            RedisAddress("sentinel", tls=False, servers=(("a", 1), ("b", 26379)), service="main", number=3,
                         username="u", password="p@w", sentinel_password="s"),
        ),
        (
            "rediss+cluster://:pw@a:7000,[::1]:7001,b",
            RedisAddress("cluster", tls=True, servers=(("a", 7000), ("::1", 7001), ("b", 6379)), password="pw"),
        ),
    ],
)  # fmt: skip
def test_what_is_understood(url: str, expected: RedisAddress) -> None:
    assert read_address(url) == expected


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://:geheim@h", "must begin with one of redis://"),
        ("redis+sentinel://:geheim@a:1,b:2", "the name that the Sentinels give the master"),
        ("redis+sentinel://:geheim@a:1/main/x", "must be a number"),
        ("redis+sentinel://:geheim@/main", "no server is named"),
        ("redis+cluster://:geheim@a:port", "host:port, separated by commas"),
        ("redis+cluster://:geheim@:1", "host:port, separated by commas"),
        ("redis+cluster://:geheim@a/1", "database 0 only"),
    ],
)
def test_what_is_wrong_is_said_by_name_and_without_the_secret(
    url: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIVESTREAM_REDIS_URL", url)
    with pytest.raises(SettingsInvalid) as refused:
        load_settings(OnlyRedis)
    assert "LIVESTREAM_REDIS_URL" in str(refused.value)
    assert reason in str(refused.value)
    assert "geheim" not in str(refused.value)
