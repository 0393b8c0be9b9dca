"""The way to whichever API processes are alive: one answer, or the knowledge that there was none."""

import asyncio
import ssl
from collections.abc import Mapping
from contextlib import suppress

import httpx

WAIT_SECONDS = 20.0
ANSWER_SECONDS = 20.0
# One for all clients: making one takes longer than a child needs to start.
_NO_TLS = ssl.create_default_context()


class Unanswered(Exception):
    """The connection broke or nobody listened: whether a command was carried out is unknown."""


class Gateway:
    """A round robin over API processes that come and go, each of a release with a name. Belongs to one event loop."""

    def __init__(self) -> None:
        self._endpoints: dict[str, httpx.AsyncClient] = {}
        self._releases: dict[str, str] = {}
        self._turn = 0
        self._somebody = asyncio.Event()

    async def add(self, address: str, release: str = "api") -> None:
        """Take in a process once it answers: `address` is the path of a socket or an http URL. Of a socket's answers the
        request's host names the release."""
        if address.startswith("http"):
            client = httpx.AsyncClient(base_url=address, timeout=ANSWER_SECONDS, trust_env=False)
        else:
            transport = httpx.AsyncHTTPTransport(uds=address, verify=_NO_TLS)
            client = httpx.AsyncClient(transport=transport, base_url=f"http://{release}.test", timeout=ANSWER_SECONDS)
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                try:
                    if (await client.get("/healthz")).status_code == 200:
                        break
                except httpx.TransportError:
                    await asyncio.sleep(0.005)
        self._endpoints[address], self._releases[address] = client, release
        self._somebody.set()

    @property
    def releases(self) -> set[str]:
        """Of the processes that are there."""
        return {self._releases[address] for address in self._endpoints}

    async def remove(self, address: str) -> None:
        """Forget a process."""
        client = self._endpoints.pop(address, None)
        if not self._endpoints:
            self._somebody.clear()
        if client:
            with suppress(RuntimeError, httpx.TransportError):
                await client.aclose()

    async def send(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None, to: str = ""
    ) -> httpx.Response:
        """The answer of one of the processes, of the release `to` if one is named; raises Unanswered."""
        try:
            await asyncio.wait_for(self._somebody.wait(), WAIT_SECONDS)
        except TimeoutError:
            raise Unanswered("no API process is there") from None
        clients = [client for address, client in self._endpoints.items() if to in ("", self._releases[address])]
        if not clients:
            raise Unanswered(f"no API process of {to} is there")
        self._turn += 1
        try:
            return await clients[self._turn % len(clients)].request(method, path, headers=headers, content=body)
        except (httpx.TransportError, RuntimeError) as error:
            raise Unanswered(repr(error)) from error

    async def close(self) -> None:
        """Forget everybody."""
        for address in list(self._endpoints):
            await self.remove(address)
