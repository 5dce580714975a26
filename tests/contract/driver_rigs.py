"""One simulated device for each driver, behind one face: what it measures, whether it damages its messages, its loss.

A rig's sensor is called "s", is calibrated by +0.5 and plausible from -40 to 60.
"""

from __future__ import annotations

import contextlib
import json
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from paho.mqtt.client import Client
from pydantic import TypeAdapter

from edge.config_ports import Broker, ModbusTcpPort, OneWireBus, Port, ReplayFile, SerialPort
from edge.config_sensors import AnySensor
from edge.drivers.port import Driver
from edge.drivers.port_counts import PortCounts
from edge.sensing import Source, make_driver
from firmware_sim.ds18b20 import OneWireFolder, kernel_text, scratchpad
from firmware_sim.line_device import stx_frame
from firmware_sim.modbus_slave import Line, Slave
from firmware_sim.modbus_tcp import TcpServer
from tests.edge.drivers.mosquitto import Mosquitto, publisher
from tests.edge.drivers.serial_device import SerialDevice

DEVICE = "28-0316a2794fff"


class Rig(ABC):
    """`value` is what the device measures now; `damaged` spoils its messages."""

    kind: str
    sensor: dict[str, Any]
    damage = "decode_errors"  # where a damaged message is counted

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.value = 3.5
        self.damaged = False
        self.counts = PortCounts()

    @property
    @abstractmethod
    def port(self) -> Port: ...

    def make(self) -> Driver:
        return make_driver(self.source(), lambda: True, {}, self.counts)

    def source(self) -> Source:
        values = {"type": self.kind, "id": "s", "name": "s", "calibration_offset": 0.5}
        values |= {"plausible": {"min": -40, "max": 60}} | self.sensor
        sensor = TypeAdapter(AnySensor).validate_python(values)
        return Source(self.kind, self.port, (sensor,))

    def tick(self) -> None:
        """Called again and again: devices that talk by themselves do so here."""
        return

    @abstractmethod
    def lose(self) -> None: ...

    @abstractmethod
    def restore(self) -> None: ...

    def close(self) -> None:
        self.lose()


class ModbusRtuRig(Rig):
    kind = "modbus"
    damage = "frame_errors"
    sensor = {"port": "p", "unit": 1, "register": 0, "scale": 0.1, "poll_interval_s": 0.05}

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._line = Line({1: Slave(input_registers={0: lambda: round(self.value * 10) & 0xFFFF})})
        self.restore()

    def _answer(self, data: bytes) -> list[tuple[float, bytes]]:
        answer = self._line.feed(data)
        return [(0.0, answer[:-1] + bytes([answer[-1] ^ 0x55]) if self.damaged and answer else answer)]

    @property
    def port(self) -> Port:
        return SerialPort(id="p", device=self._device.path, timeout_s=0.2)

    def lose(self) -> None:
        self._device.unplug()

    def restore(self) -> None:
        self._device = SerialDevice(self._answer)


class ModbusTcpRig(Rig):
    kind = "modbus"
    damage = "timeouts"
    sensor = {"port": "p", "unit": 1, "register": 0, "scale": 0.1, "poll_interval_s": 0.05}

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        register = {0: lambda: round(self.value * 10) & 0xFFFF}
        self._lost = False
        self._server = TcpServer({1: Slave(input_registers=register)})
        self._server.__enter__()

    def tick(self) -> None:
        (self._server.mute.set if self.damaged or self._lost else self._server.mute.clear)()

    @property
    def port(self) -> Port:
        return ModbusTcpPort(id="p", host="127.0.0.1", port=self._server.port, timeout_s=0.3)

    def lose(self) -> None:
        self._lost = True
        self.tick()
        self._server.cut()

    def restore(self) -> None:
        self._lost = False
        self.tick()

    def close(self) -> None:
        self._server.__exit__(None, None, None)


class SerialLineRig(Rig):
    kind = "serial_line"
    damage = "frame_errors"
    sensor = {"port": "p", "field": "1", "silence_s": 1.0}

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.restore()

    @property
    def port(self) -> Port:
        line = {"framing": "stx_etx", "content": "csv", "checksum": "crc16", "checksum_encoding": "raw"}
        return SerialPort.model_validate({"id": "p", "device": self._device.path, "line": line})

    def tick(self) -> None:
        frame = stx_frame(b"P1,%.2f" % self.value, "crc16")
        if self._present:
            self._device.say(frame.replace(b"P1", b"P2") if self.damaged else frame)

    def lose(self) -> None:
        self._present = False
        self._device.unplug()

    def restore(self) -> None:
        self._device = SerialDevice(lambda _: [])
        self._present = True


class MqttRig(Rig):
    kind = "mqtt"
    sensor = {"broker": "p", "topic": "t", "field": "v", "silence_s": 1.0}

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._broker = Mosquitto(folder / "broker")
        self._stack = contextlib.ExitStack()
        self._client: Client | None = None
        self.restore()

    @property
    def port(self) -> Port:
        return Broker(id="p", host="127.0.0.1", port=self._broker.port, client_id="box", session_expiry_s=0)

    def tick(self) -> None:
        if self._client is not None:
            payload = b"\xff{" if self.damaged else json.dumps({"v": self.value}).encode()
            self._client.publish("t", payload, qos=1)

    def lose(self) -> None:
        self._client = None
        self._stack.close()
        self._broker.kill()

    def restore(self) -> None:
        self._broker.start()
        self._client = self._stack.enter_context(publisher(self._broker.port))


class OneWireRig(Rig):
    kind = "onewire"
    damage = "frame_errors"
    sensor = {"bus": "p", "device": DEVICE, "poll_interval_s": 0.05}

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._bus = OneWireFolder(folder / "w1")
        self.restore()

    @property
    def port(self) -> Port:
        return OneWireBus(id="p", folder=self._bus.folder, timeout_s=1.0)

    def tick(self) -> None:
        data = scratchpad(self.value)
        if self._present:
            self._bus.show(DEVICE, kernel_text(data[:8] + bytes([data[8] ^ 1]) if self.damaged else data))

    def lose(self) -> None:
        if self._present:
            self._present = False
            self._bus.remove(DEVICE)

    def restore(self) -> None:
        self._present = True
        self.tick()


class ReplayRig(Rig):
    kind = "replay"
    sensor = {"file": "p", "column": "t"}

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._file = folder / "day.csv"
        self._lock = threading.Lock()  # a tick that is under way must not bring the lost file back
        self._present = True
        self.tick()

    @property
    def port(self) -> Port:
        return ReplayFile(id="p", file=self._file, repeat=True)

    def tick(self) -> None:
        with self._lock:
            if self._present:
                part = self._file.with_suffix(".part")
                part.write_text(f"time,t\n2026-01-01T00:00:00Z,{'#' if self.damaged else self.value}\n", "utf-8")
                part.replace(self._file)

    def lose(self) -> None:
        with self._lock:
            self._present = False
            self._file.unlink(missing_ok=True)

    def restore(self) -> None:
        self._present = True
        self.tick()


RIGS: dict[str, Callable[[Path], Rig]] = {
    "modbus rtu": ModbusRtuRig,
    "modbus tcp": ModbusTcpRig,
    "serial_line": SerialLineRig,
    "mqtt": MqttRig,
    "onewire": OneWireRig,
    "replay": ReplayRig,
}


@contextlib.contextmanager
def rig(name: str, folder: Path) -> Iterator[Rig]:
    found = RIGS[name](folder)
    try:
        yield found
    finally:
        found.close()
