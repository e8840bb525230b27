"""Addresses to listen on: what is one, how this machine reaches it, and what is said when it is not to be had."""

from __future__ import annotations

import socket

import pytest

from deploy.local import AddressTaken, Listen, StackError
from deploy.local.listen import Address, check_free, parse
from deploy.local.stack import shown

EVERYWHERE = "0.0.0.0"  # noqa: S104  nothing listens in these tests


@pytest.mark.parametrize(
    ("text", "address", "near"),
    [
        ("0.0.0.0:8080", Address(EVERYWHERE, 8080), "127.0.0.1:8080"),
        ("127.0.0.1:1", Address("127.0.0.1", 1), "127.0.0.1:1"),
        ("192.0.2.7:65535", Address("192.0.2.7", 65_535), "192.0.2.7:65535"),
        ("[::]:8080", Address("::", 8080), "[::1]:8080"),
        ("[2001:DB8::7]:1935", Address("2001:db8::7", 1935), "[2001:db8::7]:1935"),
    ],
)
def test_an_address_is_an_ip_and_a_port(text: str, address: Address, near: str) -> None:
    assert parse(text) == address
    assert str(address.near) == near
    assert parse(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        *("", "8080", ":8080", EVERYWHERE, "0.0.0.0:", "0.0.0.0:0", "0.0.0.0:65536", "0.0.0.0:+80", "0.0.0.0:８０"),
        *("localhost:8080", "*:8080", "::1:8080", "[0.0.0.0]:8080", "[::1]", "1.2.3:80", "0.0.0.0:80; allow all"),
    ],
)
def test_anything_else_is_refused_with_what_is_wanted(text: str) -> None:
    with pytest.raises(StackError, match=r"wanted IP:PORT, like 0\.0\.0\.0:8080"):
        Listen(http=text, rtmp="0.0.0.0:1935")
    with pytest.raises(StackError, match="cannot listen on"):
        Listen(http="0.0.0.0:8080", rtmp=text)


def test_one_address_cannot_be_both() -> None:
    with pytest.raises(StackError, match="HTTP listens there already"):
        Listen(http="0.0.0.0:8080", rtmp="0.0.0.0:8080")


@pytest.mark.parametrize("host", ["127.0.0.1", EVERYWHERE])
def test_an_address_in_use_is_one_line_with_port_part_and_fix(host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(AddressTaken) as taken:
            check_free("nginx", "RTMP", Address(host, port))
    assert taken.value.port == port
    for piece in ("nginx", "RTMP", f"{host}:{port}", "in use", f"ss -ltnp 'sport = :{port}'", "stop it"):
        assert piece in str(taken.value)
    assert "\n" not in str(taken.value)
    check_free("nginx", "RTMP", Address(host, port))


def test_an_address_of_another_machine_is_told_as_such() -> None:
    with pytest.raises(AddressTaken, match=r"no address of this machine.*ip -brief address"):
        check_free("nginx", "HTTP", Address("192.0.2.7", 8080))


def test_addresses_are_shown_with_the_host_once() -> None:
    here = [Address("127.0.0.1", 1), Address("127.0.0.1", 2)]
    assert shown(here) == "127.0.0.1:1,2"
    assert shown([Address(EVERYWHERE, 80), *here]) == "0.0.0.0:80 127.0.0.1:1,2"
    assert shown([]) == ""
