"""`brightline-vision zones`: serve the drawing page for one camera until Ctrl-C."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

PORT_MAX = 65_535


def add_zones_arguments(zones: argparse.ArgumentParser) -> None:
    """The arguments of ``zones``."""
    zones.add_argument("--config", type=Path, help="the box's YAML file, to begin with the zones that are in it")
    zones.add_argument("--camera", default="", help="id of the camera in it (default: the first one)")
    zones.add_argument(
        "--source", default="", help="rtsp://, http://, a file or /dev/videoN (default: as --config says)"
    )
    zones.add_argument("--save", type=Path, help="the one file that the page may write (default: none, copy the text)")
    zones.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    zones.add_argument("--port", type=int, default=0, help="0 takes a free one")


def run_zones(args: argparse.Namespace) -> int:
    """Serve the page until SIGTERM or SIGINT, which the process then leaves blocked.

    Raises ValueError for arguments that cannot work, OSError when the port is taken.
    """
    from vision.zones_draft import read_draft
    from vision.zones_page import ZonesServer

    if not 0 <= args.port <= PORT_MAX:
        raise ValueError(f"--port is {args.port}, not 0 to {PORT_MAX}")
    source, draft = read_draft(args.config, args.camera)
    if not (source := args.source or source):
        raise ValueError("give --source; a secret reference in the configuration is not followed here")
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)  # for the threads too: one that took a signal would not wake this
    with ZonesServer(source, draft, args.save, args.host, args.port) as server:
        sys.stdout.write(f"{server.address}\n")
        sys.stdout.flush()
        signal.sigwait(ends)
    return 0
