"""`brightline-sim`: simulated devices at real doors, and the demo that ties everything together."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from pathlib import Path

from firmware_sim.device_commands import DEVICES, add_device_commands, run_device


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit status (0 stopped, 1 fault, 2 wrong arguments)."""
    args = _parser().parse_args(argv)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        if args.command in DEVICES:
            return run_device(args, stop)
        if args.command == "camera":
            return _camera(args, stop)
        from firmware_sim.demo import run_demo

        return run_demo(Path(args.folder), args.duration, args.camera, stop)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"brightline-sim: {error}\n")
        return 2 if isinstance(error, ValueError) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="brightline-sim", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    add_device_commands(commands)
    camera = commands.add_parser("camera", help="a kitchen camera that streams H.264")
    camera.add_argument("--door", default="auto", choices=("auto", "rtsp", "http", "file"))
    camera.add_argument("--port", type=int, default=0, help="port on 127.0.0.1 (0 = a free one)")
    camera.add_argument("--out", type=Path, help="with --door file: the video file to write")
    camera.add_argument("--seconds", type=float, default=60, help="with --door file: its length")
    camera.add_argument("--schedule", default="mask:15,no_mask:45,mask:30", help="who is seen when, repeated")
    camera.add_argument("--fps", type=int, default=5)
    camera.add_argument("--width", type=int, default=640)
    camera.add_argument("--height", type=int, default=360)
    demo = commands.add_parser("demo", help="server, box, probes and camera on this machine")
    demo.add_argument("--folder", default=".demo", help="working folder, emptied first")
    demo.add_argument("--duration", type=float, help="end by itself after so many seconds and print a JSON summary")
    demo.add_argument(
        "--camera", help="your own camera instead of the simulated one (rtsp://, http://, file, /dev/video0)"
    )
    return parser


def _say(source: str) -> None:
    sys.stdout.write(json.dumps({"source": source}) + "\n")
    sys.stdout.flush()


def _camera(args: argparse.Namespace, stop: threading.Event) -> int:
    from firmware_sim.camera import HttpCamera, RtspCamera, Schedule, stream, write_file

    schedule = Schedule(args.schedule)
    if args.fps < 1 or args.width % 2 or args.height % 2:
        raise ValueError("--fps must be at least 1, --width and --height even (H.264 in 4:2:0)")
    size = {"fps": args.fps, "width": args.width, "height": args.height}
    if args.door == "file":
        if args.out is None:
            raise ValueError("--door file needs --out FILE")
        write_file(schedule, args.out, args.seconds, **size)
        _say(str(args.out))
        return 0
    rtsp = args.door == "rtsp" or (args.door == "auto" and RtspCamera.available())
    with RtspCamera(args.port) if rtsp else HttpCamera(args.port) as camera:
        _say(camera.url)
        stream(schedule, camera, stop, **size)
    return 0


if __name__ == "__main__":
    sys.exit(main())
