"""The way out: an answer has an end in time and in bytes, whatever the other side does."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from server.notification.egress import Egress
from server.notification.port import Undelivered

WAIT_S = 30.0
HEAD = b"HTTP/1.1 200 OK\r\n"


@contextmanager
def answering(send: Callable[[socket.socket, threading.Event], None]) -> Iterator[tuple[str, list[bytes]]]:
    """One connection to a free port: its request is read, then *send* answers until the event; address and request."""
    over, requests = threading.Event(), [b""]

    def serve() -> None:
        connection = listener.accept()[0]
        with connection:
            while b"\r\n\r\n" not in requests[0]:
                requests[0] += connection.recv(65536) or b"\r\n\r\n"
            try:
                send(connection, over)
            except OSError:
                return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}", requests
        finally:
            over.set()
            thread.join(WAIT_S)
    assert not thread.is_alive()


def at_once(answer: bytes) -> Callable[[socket.socket, threading.Event], None]:
    return lambda connection, over: connection.sendall(answer)


def dripping(start: bytes) -> Callable[[socket.socket, threading.Event], None]:
    def send(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(start)
        while not over.wait(0.05):
            connection.sendall(b"x")

    return send


@pytest.mark.parametrize(
    "start",
    [pytest.param(HEAD + b"x-long: ", id="head"), pytest.param(HEAD + b"content-length: 9999\r\n\r\n", id="body")],
)
def test_an_answer_that_drips_ends_with_the_time_for_the_whole(start: bytes) -> None:
    with answering(dripping(start)) as (host, _):
        egress, began = Egress([host], timeout_s=0.5), time.monotonic()
        with pytest.raises(Undelivered, match="unreachable"):
            egress.fetch("GET", f"http://{host}/", b"", {}, bytes_max=10_000)
        assert time.monotonic() - began < WAIT_S / 3


@pytest.mark.parametrize(("size", "taken"), [(100, True), (101, False)])
def test_a_body_is_taken_up_to_its_limit(size: int, taken: bool) -> None:
    with answering(at_once(HEAD + b"connection: close\r\n\r\n" + b"x" * size)) as (host, _):
        if taken:
            assert Egress([host]).fetch("GET", f"http://{host}/", b"", {}, bytes_max=100).body == b"x" * size
        else:
            with pytest.raises(Undelivered, match="refused"):
                Egress([host]).fetch("GET", f"http://{host}/", b"", {}, bytes_max=100)


def test_a_packed_body_is_neither_asked_for_nor_unpacked() -> None:
    packed = gzip.compress(b"x" * 1_000_000)
    head = HEAD + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(packed)
    with answering(at_once(head + packed)) as (host, requests):
        answer = Egress([host]).fetch("GET", f"http://{host}/", b"", {}, bytes_max=len(packed))
    assert answer.body == packed
    assert b"accept-encoding: identity" in requests[0].lower()


def test_the_status_of_what_is_fetched_is_the_callers_to_judge() -> None:
    with answering(at_once(b"HTTP/1.1 302 Found\r\nlocation: /else\r\ncontent-length: 0\r\n\r\n")) as (host, _):
        assert Egress([host]).fetch("GET", f"http://{host}/", b"", {}, bytes_max=1).status == 302
