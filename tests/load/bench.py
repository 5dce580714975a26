"""`make bench`: every figure that the project promises, measured now on this machine, as one JSON document.

What is compared is measured in the same run, one after the other. Progress goes to standard error. Where it matters
(throughput) the measured programs are pinned to one core, broker and publisher to another; the document says so.
`python tests/load/bench.py NAME …` measures only what is named; ``--outage-hours 6`` shortens the longest one.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.load import thingsboard  # noqa: E402 - run as a file, the tests are found only now
from tests.load.footprint import measure_footprint  # noqa: E402
from tests.load.latency import measure_latency  # noqa: E402
from tests.load.many_boxes import measure_many_boxes  # noqa: E402
from tests.load.outage import measure_outage  # noqa: E402
from tests.load.parts import measure_parts  # noqa: E402
from tests.load.processes import cores  # noqa: E402
from tests.load.throughput import SAVE_EACH_CHANGE, measure_ours, measure_thingsboard  # noqa: E402

READINGS, READINGS_THINGSBOARD, READINGS_EACH_CHANGE = 200_000, 40_000, 4_000
EVENTS, EVENTS_BACKFILL, BACKLOG = 300, 200, 2_000_000
IDLE_S = 120.0
VENVS = Path(os.environ.get("BRIGHTLINE_BENCH_VENVS", str(ROOT / "build" / "bench")))


def throughput(folder: Path) -> dict[str, Any]:
    """Ours, ThingsBoard Gateway with each of its storages, and what a broker that saves each change leaves of ours."""
    work, other = cores()
    document: dict[str, Any] = {
        "path": "PUBLISH at QoS 1 -> mosquitto -> box (fsync, then PUBACK) -> HTTP -> centre (fsync) -> series store",
        "pinned": {"box and centre, or ThingsBoard Gateway": work, "mosquitto, publisher, counter": other},
        "broker": "configs/mosquitto.conf as shipped; `broker_saves_each_change` shows what that setting costs",
        "ours": measure_ours(made(folder / "ours"), READINGS),
    }
    command = thingsboard.install(VENVS / f"thingsboard-{thingsboard.VERSION}")
    for storage in thingsboard.STORAGES:
        name = f"thingsboard_gateway_{thingsboard.VERSION}_{storage}"
        document[name] = measure_thingsboard(folder / storage, command, READINGS_THINGSBOARD, storage)
    each_change = measure_ours(made(folder / "each_change"), READINGS_EACH_CHANGE, broker_more=SAVE_EACH_CHANGE)
    document["broker_saves_each_change"] = each_change
    document["times_thingsboard"] = compare(document)
    return document


def compare(document: dict[str, Any]) -> dict[str, Any]:
    """Ours over theirs; ``box_alone`` leaves our centre out, as theirs ends at the platform's door."""
    ours = document["ours"]
    box_alone = ours["readings"] / max(ours["cpu_s"]["box"], 1e-9)
    found = {}
    for storage in thingsboard.STORAGES:
        theirs = document[f"thingsboard_gateway_{thingsboard.VERSION}_{storage}"]
        found[storage] = {
            "readings_per_s": round(ours["readings_per_s"] / theirs["readings_per_s"], 1),
            "per_core": round(ours["readings_per_s_per_core"] / theirs["readings_per_s_per_core"], 1),
            "per_core_box_alone": round(box_alone / theirs["readings_per_s_per_core"], 1),
        }
    return found


def made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def machine() -> dict[str, Any]:
    """What it was measured on."""
    model = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    mosquitto = subprocess.run(["mosquitto", "-h"], capture_output=True, text=True, check=False)
    return {
        "cpu": model[0].partition(": ")[2] if model else platform.machine(),
        "cores": os.cpu_count(),
        "load_before": os.getloadavg(),
        "python": platform.python_version(),
        "kernel": platform.release(),
        "mosquitto": mosquitto.stdout.splitlines()[0] if mosquitto.stdout else "unknown",
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--outage-hours", type=float, default=72.0)
    parser.add_argument("names", nargs="*", metavar="NAME")
    args = parser.parse_args()
    measurements: dict[str, Callable[[Path], dict[str, Any]]] = {
        "throughput": throughput,
        "latency": lambda folder: measure_latency(folder, EVENTS),
        "latency_during_backfill": lambda folder: measure_latency(folder, EVENTS_BACKFILL, backlog_readings=BACKLOG),
        "footprint": lambda folder: measure_footprint(folder, IDLE_S),
        "outage": lambda folder: measure_outage(folder, args.outage_hours),
        "many_boxes": measure_many_boxes,
        "parts": measure_parts,
    }
    unknown = set(args.names) - set(measurements)
    if unknown:
        parser.error(f"unknown {', '.join(sorted(unknown))}; there are {', '.join(measurements)}")
    document: dict[str, Any] = {"machine": machine()}
    with tempfile.TemporaryDirectory(prefix="brightline-bench-") as name:
        Path(name).chmod(0o755)  # mosquitto drops its privileges and reads its configuration from here
        for title in args.names or measurements:
            sys.stderr.write(f"measuring {title} ...\n")
            document[title] = measurements[title](made(Path(name) / title))
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
