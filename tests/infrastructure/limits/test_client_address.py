"""Whom an address belongs to: only trusted proxies are believed, and only what they appended."""

import pytest

from infrastructure.limits.client_address import ClientAddresses, client_key
from infrastructure.settings import ConfigurationError, Settings

PROXY = "203.0.113.1"


def behind(
    peer: str, *lines: tuple[str, str], networks: str = "203.0.113.0/24, 10.0.0.0/8", header: str = "x-forwarded-for"
) -> str:
    addresses = ClientAddresses(Settings(trusted_proxies=networks, proxy_header=header))  # type: ignore[arg-type]  # one of two
    return addresses.behind(peer, [(name.lower().encode(), value.encode()) for name, value in lines])[0]


@pytest.mark.parametrize(
    ("peer", "said", "client"),
    [
        ("198.51.100.9", "192.0.2.7", "198.51.100.9"),
        (PROXY, "192.0.2.7", "192.0.2.7"),
        (PROXY, "6.6.6.6, 192.0.2.7", "192.0.2.7"),
        (PROXY, "6.6.6.6, 192.0.2.7, 10.1.2.3", "192.0.2.7"),
        (PROXY, "10.1.2.3, 10.4.5.6", "10.1.2.3"),
        (PROXY, "192.0.2.7:4711", "192.0.2.7"),
        (PROXY, "[2001:db8::7]:4711", "2001:db8::7"),
        (PROXY, "2001:db8::7", "2001:db8::7"),
        (PROXY, "::ffff:192.0.2.7", "192.0.2.7"),
        ("::ffff:203.0.113.1", "192.0.2.7", "192.0.2.7"),
        (PROXY, "192.0.2.7, unknown", PROXY),
        (PROXY, "192.0.2.7, nonsense, 10.1.2.3", "10.1.2.3"),
        (PROXY, "", PROXY),
        (PROXY, " , ,192.0.2.7, ", "192.0.2.7"),
        ("", "192.0.2.7", ""),
        ("/run/socket", "192.0.2.7", "/run/socket"),
    ],
)
def test_of_x_forwarded_for_the_last_address_that_is_no_proxy_counts(peer: str, said: str, client: str) -> None:
    assert behind(peer, ("X-Forwarded-For", said)) == client


def test_repeated_headers_are_one_list() -> None:
    assert behind(PROXY, ("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-For", "192.0.2.7"), ("X-Forwarded-For", "10.1.1.1")) == (
        "192.0.2.7"
    )


@pytest.mark.parametrize(
    ("said", "client"),
    [
        ("for=192.0.2.7", "192.0.2.7"),
        ("for=6.6.6.6, for=192.0.2.7;proto=https;by=10.0.0.1", "192.0.2.7"),
        ('For="[2001:db8::7]:4711"', "2001:db8::7"),
        ('for=192.0.2.7, for="10.1.2.3:80"', "192.0.2.7"),
        ("for=_hidden", PROXY),
        ("for=unknown, for=10.1.2.3", "10.1.2.3"),
        ('for="6.6.6.6, for=192.0.2.8"', PROXY),
        ("proto=https", PROXY),
        ("", PROXY),
    ],
)
def test_of_forwarded_likewise(said: str, client: str) -> None:
    assert behind(PROXY, ("Forwarded", said), header="forwarded") == client


def test_only_the_configured_header_is_read() -> None:
    assert behind(PROXY, ("Forwarded", "for=6.6.6.6"), ("X-Forwarded-For", "192.0.2.7")) == "192.0.2.7"
    assert behind(PROXY, ("X-Forwarded-For", "6.6.6.6"), ("Forwarded", "for=192.0.2.7"), header="forwarded") == "192.0.2.7"


def test_without_networks_nobody_is_believed() -> None:
    assert behind("127.0.0.1", ("X-Forwarded-For", "192.0.2.7"), networks="") == "127.0.0.1"


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_a_network_of_ipv6_is_one_client(address: str, key: str) -> None:
    assert client_key(address) == key


@pytest.mark.parametrize("networks", ["10.0.0.0/33", "everybody", "10.0.0.1/8"])
def test_what_is_no_network_is_refused_by_name(networks: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^TASKMASTER_TRUSTED_PROXIES: "):
        ClientAddresses(Settings(trusted_proxies=networks))
