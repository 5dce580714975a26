"""Asks addresses that people or settings name, and nothing else on the inside.

The name is resolved once, every address that it has must be public, and the connection goes to the address that was
checked, so that a name which changes its mind between check and use gains nothing. Redirects are not followed.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar
from urllib.parse import SplitResult, urlsplit, urlunsplit

import httpx

from server.notification.port import Undelivered

TIMEOUT_S = 10.0
URL_CHARACTERS_MAX = 2000
RETRY_AFTER_S_MAX = 3600.0
_TUNNELS = [ipaddress.ip_network(text) for text in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32")]
Resolve = Callable[[str, int], list[str]]
Result = TypeVar("Result")


def resolve(host: str, port: int) -> list[str]:
    """The addresses of a name; raises OSError."""
    return [str(item[4][0]) for item in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def is_public(address: str) -> bool:
    """Whether an address is one of the public internet (IANA special-purpose registries); no tunnel to another one."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        elif any(ip in network for network in _TUNNELS):
            return False
    return ip.is_global and not ip.is_multicast


def check_url(url: str, trusted_hosts: Collection[str]) -> SplitResult:
    """The parts of an address that may be posted to; raises ValueError without the address in it.

    *trusted_hosts*: ``host:port`` that the administrator lists; only they may be plain HTTP or on the inside.
    """
    if len(url) > URL_CHARACTERS_MAX or not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("must be an address such as https://platform.example/hook")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("must be an address such as https://platform.example/hook") from None
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise ValueError("must be an address such as https://platform.example/hook")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise ValueError("must hold neither a password nor a fragment")
    if parts.scheme == "http" and host_port(parts) not in trusted_hosts:
        raise ValueError("must be https://")
    if port == 0:
        raise ValueError("port 0 is none")
    return parts


def host_port(parts: SplitResult) -> str:
    """``host:port`` as an administrator lists it."""
    return f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"


@cache
def _tls(ca_file: Path | None) -> ssl.SSLContext:
    """Kept, as to read the usual certificates takes longer than most requests."""
    if ca_file is None:
        return httpx.create_ssl_context(trust_env=False)
    return ssl.create_default_context(cafile=str(ca_file))


@dataclass(frozen=True)
class Answer:
    """What came back; ``body`` is as it was sent."""

    status: int
    body: bytes


class Egress:
    """Such requests, each on a connection of its own; thread-safe, for threads without an event loop.

    ``timeout_s`` is for the whole of one, so that nobody holds a thread by sending a byte now and then; what the
    system takes to resolve a name comes on top. ``ca_file``: the CA to trust in (PEM) instead of the usual ones.
    """

    def __init__(
        self,
        trusted_hosts: Collection[str] = (),
        *,
        timeout_s: float = TIMEOUT_S,
        resolve: Resolve = resolve,
        ca_file: Path | None = None,
    ) -> None:
        self.trusted_hosts = frozenset(trusted_hosts)
        self._timeout_s = timeout_s
        self._resolve = resolve
        self._ca_file = ca_file
        for name in ("httpx", "httpcore"):  # they write every address into the log, and with it what is secret in it
            logging.getLogger(name).setLevel(logging.WARNING)

    def post(self, url: str, content: bytes, headers: Mapping[str, str], *, gone: Collection[int] = ()) -> None:
        """Post; returns on 2xx. Raises Undelivered, a final one for a status in *gone*. The body is not read."""

        async def judge(answer: httpx.Response) -> None:
            _judge(answer, gone)

        self._exchange("POST", url, content, headers, judge)

    def fetch(self, method: str, url: str, content: bytes, headers: Mapping[str, str], *, bytes_max: int) -> Answer:
        """The answer, whatever its status; raises Undelivered, also when the body has more than *bytes_max*."""

        async def read(answer: httpx.Response) -> Answer:
            body = bytearray()
            async for part in answer.aiter_raw():  # unpacked it could be a thousand times as long
                body += part
                if len(body) > bytes_max:
                    raise Undelivered("refused", final=True)
            return Answer(answer.status_code, bytes(body))

        return self._exchange(method, url, content, headers, read)

    def _exchange(
        self,
        method: str,
        url: str,
        content: bytes,
        headers: Mapping[str, str],
        take: Callable[[httpx.Response], Awaitable[Result]],
    ) -> Result:
        try:
            parts = check_url(url, self.trusted_hosts)
        except ValueError:
            raise Undelivered("forbidden_address", final=True) from None
        pinned, extensions = self._pin(parts)
        said = {**headers, "host": parts.netloc, "accept-encoding": "identity"}

        async def exchange() -> Result:
            # no proxy from the environment: it would be asked for names that were not checked
            client = httpx.AsyncClient(verify=_tls(self._ca_file), timeout=self._timeout_s, trust_env=False)
            async with (
                asyncio.timeout(self._timeout_s),
                client,
                client.stream(method, pinned, content=content, headers=said, extensions=extensions) as answer,
            ):
                return await take(answer)

        try:
            return asyncio.run(exchange())
        except (httpx.HTTPError, TimeoutError) as error:
            raise Undelivered("unreachable") from error

    def _pin(self, parts: SplitResult) -> tuple[str, dict[str, str]]:
        host = parts.hostname or ""
        try:
            addresses = self._resolve(host, parts.port or (443 if parts.scheme == "https" else 80))
        except (OSError, UnicodeError) as error:
            raise Undelivered("unreachable") from error
        if not addresses:
            raise Undelivered("unreachable")
        if host_port(parts) not in self.trusted_hosts and not all(is_public(address) for address in addresses):
            raise Undelivered("forbidden_address")
        address = f"[{addresses[0]}]" if ":" in addresses[0] else addresses[0]
        netloc = f"{address}:{parts.port}" if parts.port else address
        return urlunsplit((parts.scheme, netloc, parts.path or "/", parts.query, "")), {"sni_hostname": host}


def _judge(answer: httpx.Response, gone: Collection[int]) -> None:
    if answer.is_success:
        return
    if answer.status_code in gone:
        raise Undelivered("gone", final=True)
    told = answer.headers.get("retry-after", "")
    retry_after_s = min(float(told), RETRY_AFTER_S_MAX) if told.isdecimal() and len(told) < 10 else None
    raise Undelivered("refused", retry_after_s=retry_after_s)
