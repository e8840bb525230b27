"""Which addresses may be connected to, in every form that an address can be written in."""

from ipaddress import ip_address, ip_network

import pytest

from notify.addresses import is_allowed, is_global, is_public_name, literal_address

LOOPBACK = [
    "127.0.0.1",
    "2130706433",
    "0x7f000001",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "017700000001",
    "127.1",
    "127.0.1",
    "[::ffff:127.0.0.1]",
    "::ffff:7f00:1",
    "[::1]",
    "0.0.0.0",  # noqa: S104  an address to refuse
    "0",
    "127.0.0.1.",
]


@pytest.mark.parametrize("host", LOOPBACK)
def test_every_spelling_of_this_machine_is_an_address_that_is_refused(host: str) -> None:
    address = literal_address(host)
    assert address is not None
    assert not is_allowed(address)


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.1",
        "100.64.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "192.168.1.1",
        "198.18.0.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::127.0.0.1",
        "fe80::1",
        "fec0::1",
        "fc00::1",
        "fd00:ec2::254",
        "ff02::1",
        "2001:db8::1",
        "4000::1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::10.0.0.1",
        "64:ff9b:1::1",
        "2002:7f00:1::",
        "2002:101:101::1",
        "2002:a00:1::1",
        "2001:0:7f00:1::ffff:ffff",
        "2001:0:4136:e378:8000:63bf:80ff:fffe",
        "2606:4700::5efe:a00:1",
    ],
)
def test_what_is_local_in_any_of_its_forms_is_refused(address: str) -> None:
    assert not is_global(ip_address(address))


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::1.1.1.1"]
)
def test_global_addresses_are_allowed(address: str) -> None:
    assert is_global(ip_address(address))


def test_an_exempted_network_is_allowed_in_both_forms_and_its_neighbour_is_not() -> None:
    exceptions = [ip_network("127.0.0.0/8"), ip_network("fd00::/8")]
    assert is_allowed(ip_address("127.9.9.9"), exceptions)
    assert is_allowed(ip_address("::ffff:127.0.0.1"), exceptions)
    assert is_allowed(ip_address("fd12::1"), exceptions)
    assert not is_allowed(ip_address("10.0.0.1"), exceptions)
    assert not is_allowed(ip_address("::1"), exceptions)


@pytest.mark.parametrize("host", ["example.org", "example.org.", "a.b-c.example.museum", "xn--bcher-kva.example"])
def test_names_of_the_internet(host: str) -> None:
    assert literal_address(host) is None
    assert is_public_name(host)


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST.", "x.localhost", "printer.local", "db.internal", "router.lan", "postgres", "a..b", ""],
)
def test_names_that_mean_something_inside_alone(host: str) -> None:
    assert not is_public_name(host)
