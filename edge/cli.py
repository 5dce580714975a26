"""`brightline-edge`: check, enrol and run a box, give it a new key, look into its outbox.

Exit status 0 well, 1 fault, 2 configuration.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from edge.config import ConfigurationError, EdgeConfig
from edge.config_file import problem_at, read_yaml
from edge.evidence_cli import add_evidence_commands, manage_evidence
from edge.outbox_cli import add_outbox_commands, inspect_outbox
from edge.released_config import give_up_trial, load_in_force, start_in_force

STOP_S_MAX = 13.0  # from the signal to the end of the process, whatever hangs
GROUPS = ("outbox", "evidence")  # commands with actions of their own
THREADS_END_S = 2.0  # from the closed outbox to the end of the process


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    args = _parser().parse_args(argv)
    if args.command == "replay":
        from edge.replay import replay

        return replay(args.readings, args.config, args.rules, args.json)
    try:
        load = start_in_force if args.command == "run" else load_in_force
        return _act(load(args.config), args)
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        if args.command == "run" and give_up_trial(args.config, error):
            return 1  # another start will do: 2 would keep the service manager from it
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="brightline-edge", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("check", help="say what is wrong with a configuration, as file:line: path: problem")
    enrol = commands.add_parser("enrol", help="make this box known at the centre with a one-time code")
    enrol.add_argument("--code", required=True, help="the code that the centre's operator gave you")
    commands.add_parser("run", help="run the box until SIGTERM")
    commands.add_parser("rotate-key", help="give the box a new key, also while it runs; what waits stays valid")
    read = commands.add_parser("read", help="read one sensor once, to commission it; needs no enrolment")
    read.add_argument("sensor", help="the sensor's id in the configuration")
    read.add_argument("--timeout", type=float, default=30.0, help="seconds to wait for it (default 30)")
    read.add_argument("--json", action="store_true", help="print one JSON object")
    actions = add_outbox_commands(commands.add_parser("outbox", help="look into what waits for the centre"))
    keeping = commands.add_parser("evidence", help="hold, release or list the originals that stay on the box")
    actions += add_evidence_commands(keeping)
    for command in (*(item for name, item in commands.choices.items() if name not in GROUPS), *actions):
        command.add_argument("config", type=Path, help="the box's YAML file")
    replay = commands.add_parser("replay", help="judge a CSV of readings as the box would have")
    replay.add_argument("readings", type=Path, help="wide CSV: time, then one column per sensor in °C")
    replay.add_argument("--config", type=Path, required=True, help="limits and sensors; see configs/replay-*.yaml")
    replay.add_argument("--rules", choices=("plain", "smart"), default="smart", help="plain is a bare threshold")
    replay.add_argument("--json", action="store_true", help="one JSON object a line")
    return parser


def _act(config: EdgeConfig, args: argparse.Namespace) -> int:
    actions: dict[str, Callable[[], int]] = {
        "check": lambda: _check(config, args.config),
        "enrol": lambda: _enrol(config, args.code),
        "rotate-key": lambda: _rotate_key(config),
        "read": lambda: _read(config, args.sensor, args.timeout, as_json=args.json),
        "outbox": lambda: inspect_outbox(config, args),
        "evidence": lambda: manage_evidence(config, args),
        "run": lambda: _run(config),
    }
    return actions[args.command]()


def _check(config: EdgeConfig, path: Path) -> int:
    from edge.camera_check import check_cameras

    if problems := check_cameras(config.cameras):
        _, lines = read_yaml(path)
        places = [problem_at(path, lines, ("cameras", number, "models"), text) for number, text in problems]
        raise ConfigurationError("\n".join(places))
    sys.stdout.write(f"{path}: ok ({len(config.sensors)} sensors, {len(config.cameras)} cameras)\n")
    return 0


def _enrol(config: EdgeConfig, code: str) -> int:
    from edge.enrolment import EnrolmentError, enrol

    try:
        identity = enrol(config, code)
    except EnrolmentError as error:
        sys.stderr.write(f"brightline-edge: {error}\n")
        return 1
    sys.stdout.write(f"enrolled as box {identity.box_id} of {identity.site}\n")
    return 0


def _rotate_key(config: EdgeConfig) -> int:
    from edge.key_rotation import RotationError, rotate_key

    try:
        key = rotate_key(config)
    except RotationError as error:
        sys.stderr.write(f"brightline-edge: {error}\n")
        return 1
    sys.stdout.write(f"the box has a new key, {key.b64}; if it runs, it starts anew with it\n")
    return 0


def _read(config: EdgeConfig, sensor_id: str, timeout_s: float, *, as_json: bool) -> int:
    from edge.commissioning import NoReading, read_sensor

    logging.getLogger("pymodbus").setLevel(logging.CRITICAL)
    try:
        found = asyncio.run(read_sensor(config, sensor_id, timeout_s))
    except NoReading as error:
        sys.stderr.write(f"brightline-edge: {error}\n")
        return 1
    sys.stdout.write(found.as_json() if as_json else found.as_text())
    return 1 if found.reading.quality == "bad" else 0


def _run(config: EdgeConfig) -> int:
    from edge.gateway import Gateway
    from telemetry.outbox import OutboxError

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL)  # the driver tells a loss once, as a reading

    async def run() -> None:
        gateway = Gateway(config)
        task = asyncio.create_task(gateway.run(lambda: _notify("READY=1")))
        loop = asyncio.get_running_loop()

        def stop() -> None:  # a second signal does not cut the orderly stop short; its bound does
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, lambda: None)
            _notify("STOPPING=1")
            bounds.append(_leave_within(STOP_S_MAX, 1))
            task.cancel()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)
        watchdog = asyncio.create_task(_watchdog())
        stopped = 1
        try:
            await task
        except asyncio.CancelledError:
            stopped = 0
            raise
        finally:
            watchdog.cancel()
            bounds.append(_leave_within(THREADS_END_S, stopped))

    bounds: list[threading.Timer] = []
    try:
        asyncio.run(run())
    except asyncio.CancelledError:
        return 0
    except OutboxError as error:
        sys.stderr.write(f"brightline-edge: {error}\n")
        return 1
    finally:
        for bound in bounds:
            bound.cancel()
    return 0


def _leave_within(seconds: float, status: int) -> threading.Timer:
    """End the process hard after *seconds* unless the timer is cancelled.

    `asyncio.run` waits without a bound for its threads, and one of them may hang in a name look-up or on a dead disk.
    """
    timer = threading.Timer(seconds, os._exit, (status,))
    timer.daemon = True
    timer.start()
    return timer


def _notify(message: str) -> None:
    """Tell systemd (sd_notify protocol) if it listens."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifier:
            notifier.connect("\0" + address[1:] if address.startswith("@") else address)
            notifier.send(message.encode())


async def _watchdog() -> None:
    """Tell systemd's watchdog twice per period that the event loop turns."""
    period_s = int(os.environ.get("WATCHDOG_USEC", "0")) / 1e6
    while period_s:
        _notify("WATCHDOG=1")
        await asyncio.sleep(period_s / 2)


if __name__ == "__main__":
    sys.exit(main())
