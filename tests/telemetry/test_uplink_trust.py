"""Whom the box trusts and through whom it goes: pinned keys, a private authority, a proxy."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from telemetry.outbox import Outbox
from telemetry.pinning import check_pin, pin_of
from telemetry.uplink import HttpsUplink, UplinkSettings, UplinkUnavailable
from tests.telemetry.outbox_parts import make, reading, waiting
from tests.telemetry.scripted_centre import Centre, serving, write_certificate


def pin_in(certificate: Path) -> str:
    text = certificate.read_text()
    return pin_of(ssl.PEM_cert_to_DER_cert(text[text.index("-----BEGIN CERTIFICATE") :]))


def send(outbox: Outbox, settings: UplinkSettings) -> int:
    """Send what waits; gives the number of receipts."""

    async def run() -> int:
        async with HttpsUplink(settings) as uplink:
            return len((await uplink.send(waiting(outbox, "readings"))).receipts)

    return asyncio.run(run())


def test_a_centre_with_the_pinned_key_is_spoken_to_and_another_gets_not_a_byte(tmp_path: Path) -> None:
    centre, certificate = Centre(), write_certificate(tmp_path)
    (tmp_path / "other").mkdir()
    other = pin_in(write_certificate(tmp_path / "other"))
    with make(tmp_path) as outbox, serving(centre, certificate) as url:
        outbox.commit([reading(1)], [])
        with pytest.raises(UplinkUnavailable, match="certificate pin"):
            send(outbox, UplinkSettings(url, certificate, (other,)))
        assert centre.requests == 0
        assert send(outbox, UplinkSettings(url, certificate, (other, f"sha256/{pin_in(certificate)}"))) == 1


def test_a_pin_does_not_make_an_untrusted_certificate_good(tmp_path: Path) -> None:
    centre, certificate = Centre(), write_certificate(tmp_path)
    with make(tmp_path) as outbox, serving(centre, certificate) as url:
        outbox.commit([reading(1)], [])
        with pytest.raises(UplinkUnavailable, match=r"(?i)certificate verify failed"):
            send(outbox, UplinkSettings(url, None, (pin_in(certificate),)))
        assert centre.requests == 0


@pytest.mark.parametrize("text", ["", "sha256/abc", "not base64 at all", "AAAA", "sha1/" + "A" * 43 + "="])
def test_what_is_no_pin_is_refused_with_the_remedy(text: str) -> None:
    with pytest.raises(ValueError, match="SHA-256 of a public key"):
        check_pin(text)


class ConnectProxy:
    """An HTTP proxy that knows CONNECT only; it counts what passes."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.url = ""
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[ConnectProxy]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.requests.append(head.splitlines()[0])
        host, _, port = head.split()[1].partition(":")
        far, upstream = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            await asyncio.gather(_copy(reader, upstream), _copy(far, writer))
        finally:
            for side in (writer, upstream):
                side.close()
            await asyncio.gather(writer.wait_closed(), upstream.wait_closed(), return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.write_eof()


def test_a_proxy_carries_the_tunnel_and_reads_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    centre, certificate = Centre(), write_certificate(tmp_path)
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # the environment's own is not asked
    with make(tmp_path) as outbox, serving(centre, certificate) as url:
        outbox.commit([reading(1)], [])

        async def run() -> list[str]:
            async with ConnectProxy().listening() as proxy:
                async with HttpsUplink(UplinkSettings(url, certificate, (), proxy.url)) as uplink:
                    await uplink.send(waiting(outbox, "readings"))
                return proxy.requests

        host = url.removeprefix("https://")
        assert asyncio.run(run()) == [f"CONNECT {host} HTTP/1.1"]
        assert send(outbox, UplinkSettings(url, certificate)) == 1
    assert centre.stored == [("readings", 1)]
