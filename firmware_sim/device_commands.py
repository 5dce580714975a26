"""`brightline-sim probes | modbus-tcp | line | onewire | mqtt | numbered`: each simulated device alone, at a real door.

What always holds: when a device is there it says so in one JSON line: ``source`` is its door, ``config`` the ports and
sensors with which a box reads it, ready to be put into the box's file.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from firmware_sim import line_device
from firmware_sim.ds18b20 import OneWireFolder, kernel_text, scratchpad
from firmware_sim.modbus_tcp import TcpServer
from firmware_sim.mqtt_station import STATIONS, serve_station
from firmware_sim.numbered_publisher import NumberedPublisher, topic_of
from firmware_sim.probes import SCENARIOS, SPEED_DEMO, ProbePair, pseudo_terminal, serve

LINES: dict[str, tuple[Callable[[float], bytes], dict[str, str], dict[str, str]]] = {
    # format → what is sent, the port's ``line``, the sensor's keys
    "text": (line_device.text_line, {}, {"field": r"T=([-+]\d+\.\d+)"}),
    "csv": (lambda c: line_device.csv_line("P1", c, 72.0), {"content": "csv"}, {"key": "P1", "field": "1"}),
    "json": (line_device.json_line, {"content": "json"}, {"field": "probe.t"}),
    "nmea": (
        lambda c: line_device.nmea_line(b"P1,%.2f" % c),
        {"content": "csv", "checksum": "xor"},
        {"key": "P1", "field": "1"},
    ),
    "stx": (
        lambda c: line_device.stx_frame(b"P1,%.2f" % c, "crc16"),
        {"framing": "stx_etx", "content": "csv", "checksum": "crc16", "checksum_encoding": "raw"},
        {"key": "P1", "field": "1"},
    ),
}
ONEWIRE_DEVICE = "28-0316a2794fff"
Say = Callable[[str, dict[str, Any]], None]


def add_device_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """One command for each device."""
    room = argparse.ArgumentParser(add_help=False)
    room.add_argument("--scenario", default="demo", choices=tuple(SCENARIOS))
    room.add_argument("--seed", type=int, default=1, help="seed of the measurement noise")
    room.add_argument("--speed", type=float, default=SPEED_DEMO, help="how many times faster than real heat flows")
    talking = argparse.ArgumentParser(add_help=False)
    talking.add_argument("--interval", type=float, default=1.0, help="seconds between two messages")
    line = argparse.ArgumentParser(add_help=False)
    line.add_argument("--link", type=Path, required=True, help="where the serial device shall appear")
    broker = argparse.ArgumentParser(add_help=False)
    broker.add_argument("--port", type=int, default=1883, help="the broker's port on 127.0.0.1")
    commands.add_parser(
        "probes", parents=[room, line], help="a cold room's probe pair: Modbus RTU on a pseudo-terminal"
    )
    tcp = commands.add_parser("modbus-tcp", parents=[room], help="the same probe pair as a Modbus TCP server")
    tcp.add_argument("--port", type=int, default=0, help="port on 127.0.0.1 (0 = a free one)")
    talker = commands.add_parser("line", parents=[room, line, talking], help="a probe that talks by itself")
    talker.add_argument("--format", default="text", choices=tuple(LINES), help="nmea and stx have a checksum")
    onewire = commands.add_parser("onewire", parents=[room, talking], help="a DS18B20 as the kernel shows it")
    onewire.add_argument(
        "--folder", type=Path, required=True, help="the bus: a folder that stands for /sys/bus/w1/devices"
    )
    mqtt = commands.add_parser("mqtt", parents=[room, talking, broker], help="a probe that publishes to a broker")
    mqtt.add_argument("--device", default="zigbee2mqtt", choices=tuple(STATIONS))
    mqtt.add_argument("--name", default="cold-room", help="its name in its topics")
    numbered = commands.add_parser("numbered", parents=[broker], help="sensors that number their readings, for load")
    numbered.add_argument("--sensors", type=int, default=8)
    numbered.add_argument("--rate", type=float, default=100.0, help="readings per second, over all sensors")


def run_device(args: argparse.Namespace, stop: threading.Event, say: Say | None = None) -> int:
    """Run the device of *args* until *stop*; raises ValueError or OSError."""
    if getattr(args, "interval", 1.0) <= 0 or getattr(args, "rate", 1.0) <= 0 or getattr(args, "sensors", 1) < 1:
        raise ValueError("--interval and --rate must be above 0, --sensors at least 1")
    DEVICES[args.command](args, stop, say or _say)
    return 0


def _say(source: str, config: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps({"source": source, "config": config}, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def _pair(args: argparse.Namespace) -> ProbePair:
    return ProbePair(args.scenario, seed=args.seed, speed=args.speed)


def _sensor(kind: str, **values: Any) -> dict[str, Any]:
    return {"type": kind, "id": "cold-room", "name": "cold room", **values}


def _modbus(port: dict[str, Any], section: str) -> dict[str, Any]:
    sensor = _sensor("modbus", port=port["id"], unit=1, register=0, scale=0.1, poll_interval_s=1)
    return {section: [port], "sensors": [sensor]}


def _probes(args: argparse.Namespace, stop: threading.Event, say: Say) -> None:
    pair = _pair(args)
    config = _modbus({"id": "sim", "device": str(args.link.absolute())}, "serial_ports")
    serve(args.link, pair, stop, ready=lambda: say(str(args.link), config))
    sys.stdout.write(json.dumps({"reads": pair.reads}) + "\n")


def _modbus_tcp(args: argparse.Namespace, stop: threading.Event, say: Say) -> None:
    pair = _pair(args)
    with TcpServer({unit: pair.slave(unit) for unit in (1, 2)}, args.port) as server:
        port = {"id": "sim", "host": "127.0.0.1", "port": server.port}
        say(f"127.0.0.1:{server.port}", _modbus(port, "modbus_tcp"))
        while not stop.wait(1):  # a signal that another thread took does not end a wait without end
            pass


def _line(args: argparse.Namespace, stop: threading.Event, say: Say) -> None:
    pair, (make, line, keys) = _pair(args), LINES[args.format]
    with pseudo_terminal(args.link) as near:
        os.set_blocking(near, False)
        port = {"id": "sim", "device": str(args.link.absolute()), "line": line}
        say(str(args.link), {"serial_ports": [port], "sensors": [_sensor("serial_line", port="sim", **keys)]})
        while not stop.is_set():
            with contextlib.suppress(BlockingIOError):  # nobody reads: as on a real line, it is lost
                os.write(near, make(pair.air_c()))
            stop.wait(args.interval)


def _onewire(args: argparse.Namespace, stop: threading.Event, say: Say) -> None:
    pair, bus = _pair(args), OneWireFolder(args.folder)
    bus.show(ONEWIRE_DEVICE, kernel_text(scratchpad(pair.air_c())))
    try:
        port = {"id": "sim", "folder": str(args.folder.absolute())}
        sensor = _sensor("onewire", bus="sim", device=ONEWIRE_DEVICE, poll_interval_s=1)
        say(str(args.folder), {"onewire": [port], "sensors": [sensor]})
        while not stop.wait(args.interval):
            bus.show(ONEWIRE_DEVICE, kernel_text(scratchpad(pair.air_c())))
    finally:
        bus.remove(ONEWIRE_DEVICE)


def _broker(port: int, sensors: list[dict[str, Any]]) -> dict[str, Any]:
    return {"brokers": [{"id": "sim", "host": "127.0.0.1", "port": port, "client_id": "box"}], "sensors": sensors}


def _mqtt(args: argparse.Namespace, stop: threading.Event, say: Say) -> None:
    pair, station = _pair(args), STATIONS[args.device](args.name)
    sensor = _sensor("mqtt", broker="sim", silence_s=60, **station.sensor)
    source = f"mqtt://127.0.0.1:{args.port}/{station.sensor['topic']}"
    serve_station(
        station, args.port, pair.air_c, args.interval, stop, lambda: say(source, _broker(args.port, [sensor]))
    )


def _numbered(args: argparse.Namespace, stop: threading.Event, say: Say) -> None:
    publisher = NumberedPublisher(args.port, sensors=args.sensors, timed=True, rate_per_s=args.rate)
    sensors = [
        {"type": "mqtt", "id": f"s{number}", "name": f"number {number}", "broker": "sim", "topic": topic_of(number),
         "field": "temperature", "time_field": "time"}
        for number in range(args.sensors)
    ]  # fmt: skip
    say(f"mqtt://127.0.0.1:{args.port}", _broker(args.port, sensors))
    publisher.run(give_up=stop.is_set)
    sys.stdout.write(json.dumps({"sent": publisher.sent, "acknowledged": len(publisher.acknowledged())}) + "\n")


DEVICES: dict[str, Callable[[argparse.Namespace, threading.Event, Say], None]] = {
    "probes": _probes,
    "modbus-tcp": _modbus_tcp,
    "line": _line,
    "onewire": _onewire,
    "mqtt": _mqtt,
    "numbered": _numbered,
}
