"""Who is at the other end: the client's address behind trusted proxies, and what counts as one client."""

import re
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from infrastructure.settings import VARIABLES, ConfigurationError, Settings

MOST_REMEMBERED: Final = 10_000
PREFIX_OF_A_CLIENT: Final = 64
"""Bits of an IPv6 address: whoever has one of a network of this size has all of them."""

Address = IPv4Address | IPv6Address
Headers = Iterable[tuple[bytes, bytes]]

# RFC 7239: parameters of one element, their values tokens or quoted.
_FORWARDED: Final = re.compile(r'\s*;?\s*([A-Za-z]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]*))')
_ELEMENT: Final = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*")+')


class ClientAddresses:
    """Tells clients' addresses. Nobody but the proxies of the configured networks is believed, and only what they appended:
    of the addresses that a header lists, the client's is the last one that is not itself such a proxy.
    """

    def __init__(self, settings: Settings) -> None:
        self._trusted = trusted_networks(settings)
        self._header = settings.proxy_header.encode()
        self._keys: dict[str, str] = {}

    @property
    def has_proxies(self) -> bool:
        """Whether anybody is believed at all."""
        return bool(self._trusted)

    def trusts(self, peer: str) -> bool:
        """Whether the connected peer is one of the proxies."""
        address = _address(peer)
        return address is not None and self._is_trusted(address)

    def behind(self, peer: str, headers: Headers) -> tuple[str, str | None]:
        """The client's address and, where the proxy says it, the scheme that the client used."""
        if not self._trusted or not self.trusts(peer):
            return peer, None
        if self._header == b"forwarded":
            hops = list(_forwarded(headers))
        else:
            values = [value.decode("latin-1") for name, value in headers if name == b"x-forwarded-for"]
            hops = [(hop.strip(), None) for hop in ",".join(values).split(",") if hop.strip()]
        client, scheme = peer, None
        for hop, said in reversed(hops):
            scheme = scheme or said
            address = _address(hop)
            if address is None:
                # Nobody can be named by it: the last one known to be there is taken.
                break
            client = str(address)
            if not self._is_trusted(address):
                break
        if self._header == b"x-forwarded-for":
            protocols = [value for name, value in headers if name == b"x-forwarded-proto"]
            scheme = protocols[-1].split(b",")[-1].strip().decode("latin-1").lower() if protocols else None
        return client, scheme if scheme in {"http", "https"} else None

    def key(self, address: str) -> str:
        """What counts as one client: an IPv4 address, or the network of an IPv6 address."""
        found = self._keys.get(address)
        if found is None:
            if len(self._keys) >= MOST_REMEMBERED:
                self._keys.clear()
            found = self._keys[address] = client_key(address)
        return found

    def _is_trusted(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)


def client_key(address: str) -> str:
    """See `ClientAddresses.key`; what is no address stands for itself."""
    parsed = _address(address)
    if isinstance(parsed, IPv6Address):
        network = IPv6Network((int(parsed) >> 128 - PREFIX_OF_A_CLIENT << 128 - PREFIX_OF_A_CLIENT, PREFIX_OF_A_CLIENT))
        return str(network)
    return str(parsed) if parsed is not None else address


def trusted_networks(settings: Settings) -> tuple[IPv4Network | IPv6Network, ...]:
    """The configured networks. Raises ConfigurationError naming what is none."""
    found = []
    for text in filter(None, (part.strip() for part in settings.trusted_proxies.split(","))):
        try:
            found.append(ip_network(text))
        except ValueError as error:
            raise ConfigurationError(f"{VARIABLES['trusted_proxies']}: {error}") from None
    return tuple(found)


def _address(text: str) -> Address | None:
    """Read an address with or without a port, in brackets or not; None for what is none. IPv4 within IPv6 is IPv4."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        parsed = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        return parsed.ipv4_mapped
    return parsed


def _forwarded(headers: Headers) -> Iterator[tuple[str, str | None]]:
    whole = ",".join(value.decode("latin-1") for name, value in headers if name == b"forwarded")
    for element in _ELEMENT.findall(whole):
        said = {name.lower(): quoted or plain for name, quoted, plain in _FORWARDED.findall(element)}
        # An element that does not say for whom still stands for a hop.
        yield said.get("for", "unknown"), said.get("proto", "").lower() or None
