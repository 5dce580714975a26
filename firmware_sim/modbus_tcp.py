"""A Modbus TCP server, read from "MODBUS Messaging on TCP/IP Implementation Guide V1.0b". Bytes in, bytes out.

MBAP header (3.1.3): transaction, protocol (0), length of what follows, unit; integers big-endian. The units behind it
are those of the serial simulator. Like that one it shares no code with the box's driver.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Mapping
from types import TracebackType

from firmware_sim.modbus_slave import Slave

_MBAP = struct.Struct(">HHHB")
LENGTH_MAX = 254  # unit and PDU
GATEWAY_NO_ANSWER = 0x0B


class TcpUnits:
    """Several units behind one connection; feed it what arrives, send what it returns."""

    def __init__(self, slaves: Mapping[int, Slave]) -> None:
        self._slaves = slaves
        self._buffer = b""
        self.functions: list[int] = []

    def feed(self, data: bytes) -> bytes:
        """Answers to the complete requests so far; an unknown unit gets exception 0x0B, as gateways give it."""
        self._buffer += data
        answers = b""
        while len(self._buffer) >= _MBAP.size:
            transaction, protocol, length, unit = _MBAP.unpack_from(self._buffer)
            if protocol != 0 or not 2 <= length <= LENGTH_MAX:
                self._buffer = b""
                break
            if len(self._buffer) < 6 + length:
                break
            pdu, self._buffer = self._buffer[7 : 6 + length], self._buffer[6 + length :]
            self.functions.append(pdu[0])
            answer = self._answer(unit, pdu)
            answers += _MBAP.pack(transaction, 0, len(answer) + 1, unit) + answer
        return answers

    def _answer(self, unit: int, pdu: bytes) -> bytes:
        slave = self._slaves.get(unit)
        if slave is None:
            return bytes([pdu[0] | 0x80, GATEWAY_NO_ANSWER])
        if len(pdu) != 5:
            return bytes([pdu[0] | 0x80, 3])
        function, address, count = struct.unpack(">BHH", pdu)
        return slave.answer(function, address, count)


class TcpServer:
    """Serves *slaves* at 127.0.0.1:*port* (0 takes a free one), one thread for each connection, until left."""

    def __init__(self, slaves: Mapping[int, Slave], port: int = 0) -> None:
        self._slaves = slaves
        self._socket = socket.create_server(("127.0.0.1", port))
        self.port = int(self._socket.getsockname()[1])
        self.functions: list[int] = []
        self.mute = threading.Event()  # set: requests are taken and never answered
        self._connections: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> TcpServer:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self.cut()
        for thread in self._threads:
            thread.join()
        self._socket.close()

    def cut(self) -> None:
        """End the open connections; new ones are taken."""
        for connection in self._connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # the client was faster

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self._connections.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        units = TcpUnits(self._slaves)
        units.functions = self.functions
        with connection:
            while True:
                try:
                    data = connection.recv(4096)
                    answer = units.feed(data)
                    if not data:
                        return
                    if not self.mute.is_set():
                        connection.sendall(answer)
                except OSError:
                    return
