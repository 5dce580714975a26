"""Several cameras in one process: drops by cause, CPU, capture to verdict, fairness at twice the capacity, memory.

    python -m tests.load.vision_streams --streams 8 --seconds 60        one JSON object on standard output
    python -m tests.load.vision_streams --model yolo11n --judges 2      another model: a path, or YOLO11n at 320 px
    python -m tests.load.vision_streams --soak-s 600                    growth of the real process over so many seconds
    python -m tests.load.vision_streams --soak-s 3600 --cameras 2 --rate-fps 1    the same, cheaply
    python -m tests.load.vision_streams --soak-s 3600 --cameras 2 --rate-fps 12 --record    24 hours' pictures at 1 fps

Cameras are films (H.264, a keyframe every two seconds) that play in real time, each a different part of an interval
behind the first. Capture is the moment a picture was decoded. The load of the machine stands beside the figures.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from edge.camera_task import CameraTask, WatchTask
from edge.config_cameras import Camera
from firmware_sim.scene import Kitchen
from telemetry.signing import Signer
from tests.load.coco_model import find_model
from tests.load.processes import cpu_s, memory_mb
from vision.camera_statistics import CameraStatistics
from vision.detector import DEFAULT_MODEL
from vision.manifest import ModelManifest
from vision.model_shelf import ModelShelf
from vision.pipeline import Watch
from vision.watch_settings import ModelUse, Watched, WatchSettings
from vision.watchroom import watch_cameras

WIDTH, HEIGHT, FPS = 640, 360, 5.0
FILM_S = 20
WARM_UP_S = 5.0
CLOCK_HZ = 90_000  # of a film
SETTLED_S = 300.0  # of a soak: arenas, caches and the reference of the view are made by then


@dataclass
class AgeStatistics(CameraStatistics):
    """Keeps the age and the cost of every verdict after the warm-up."""

    from_s: float = 0.0
    ages_ms: list[float] = field(default_factory=list)
    costs_ms: list[float] = field(default_factory=list)

    def judged_one(self, begun_s: float, done_s: float, taken_s: float) -> None:
        super().judged_one(begun_s, done_s, taken_s)
        if taken_s >= self.from_s:
            self.ages_ms.append(1000 * (done_s - taken_s))
            self.costs_ms.append(1000 * (done_s - begun_s))


def write_films(folder: Path, streams: int, fps: float) -> list[Path]:
    """A film for each stream, its pictures the stream's share of an interval later."""
    import av

    kitchen = Kitchen(WIDTH, HEIGHT)
    paths = [folder / f"{fps:.2f}-{number}.mp4" for number in range(streams)]
    for number, path in enumerate(paths):
        with av.open(str(path), "w") as container:
            video = container.add_stream("libx264", rate=round(fps))
            video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            video.codec_context.time_base = Fraction(1, CLOCK_HZ)
            video.gop_size = round(2 * fps)
            video.options = {"preset": "ultrafast", "crf": "24"}
            for index in range(round(FILM_S * fps)):
                frame = av.VideoFrame.from_ndarray(kitchen.frame(index / fps, "mask"), format="bgr24")
                late = number / streams if index else 0
                frame.pts, frame.time_base = round((index + late) * CLOCK_HZ / fps), Fraction(1, CLOCK_HZ)
                container.mux(video.encode(frame))
            container.mux(video.encode(None))
    return paths


def measure_streams(
    films: list[Path], *, model: Path, fps: float, seconds: float, threads: int, judges: int, close_look: bool
) -> dict[str, Any]:
    """Watch the films in this process."""
    shelf = ModelShelf(threads)
    watches = []
    knows_masks = "no_mask" in ModelManifest.load(model).names.values()
    watched = (Watched("no_mask") if knows_masks else Watched("intruder", changes={"active": ("always",)}),)
    for number, film in enumerate(films):
        use = ModelUse(model, close_look=close_look)
        settings = WatchSettings(f"cam-{number}", str(film), models=(use,), violations=watched, rate_fps=fps)
        watch = Watch(settings, shelf=shelf)
        watch.statistics = AgeStatistics(f"cam-{number}")
        watches.append(watch)
    figures = [watch.statistics for watch in watches]
    stop = threading.Event()
    used_s: list[float] = []  # at the two ends, by timers: items come seconds apart

    def note(*, last: bool) -> None:
        used_s.append(cpu_s(os.getpid()))
        if last:
            stop.set()

    for after_s in (WARM_UP_S, WARM_UP_S + seconds):
        threading.Timer(after_s, note, kwargs={"last": after_s > WARM_UP_S}).start()
    begun_s = time.monotonic() + WARM_UP_S
    for statistics in figures:
        statistics.from_s = begun_s
    drops: dict[str, Counter[str]] = {}
    for item in watch_cameras(watches, stop, judges=judges):
        if hasattr(item, "drops"):
            drops[item.camera_id] = Counter(item.drops)
    return _summary(figures, drops, fps=fps, seconds=seconds, used_s=used_s[1] - used_s[0])


def _summary(
    figures: list[AgeStatistics], drops: dict[str, Counter[str]], *, fps: float, seconds: float, used_s: float
) -> dict[str, Any]:
    judged = [len(statistics.ages_ms) for statistics in figures]
    ages = np.concatenate([statistics.ages_ms for statistics in figures])
    mean = float(np.mean(judged))
    total = sum(drops.values(), Counter())
    due = sum(statistics.judged for statistics in figures) + total.total()
    return {
        "streams": len(figures), "fps": round(fps, 2), "seconds": seconds, "judged": judged,
        "drops_by_cause": dict(total), "drops_pct": round(100 * total.total() / max(1, due), 3),
        "unfairness_pct": round(100 * max(abs(count - mean) for count in judged) / max(1.0, mean), 1),
        "capture_to_verdict_ms": {f"p{q}": round(float(np.percentile(ages, q)), 1) for q in (50, 95, 100)},
        "cost_ms_p50": round(float(np.median(np.concatenate([s.costs_ms for s in figures]))), 2),
        "cpu_pct_of_one_core": round(100 * used_s / seconds, 1),
        "cpu_ms_per_picture": round(1000 * used_s / max(1, sum(judged)), 1), "load": os.getloadavg()[0],
    }  # fmt: skip


def in_child(folder: Path, **options: Any) -> dict[str, Any]:
    """`measure_streams` in a fresh process, so that nothing is left over from a run before."""
    command = [
        sys.executable,
        "-m",
        "tests.load.vision_streams",
        "--child",
        json.dumps({"folder": str(folder), **options}),
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=options["seconds"] + 120)
    return dict(json.loads(done.stdout))


def measure_memory(
    folder: Path, cameras: int, *, fps: float, rate_fps: float, seconds: float, every_s: float, record: bool = False
) -> dict[str, Any]:
    """Resident memory of the box's own camera process: films of *fps* of which *rate_fps* are judged, and all kept on
    the disk if it shall *record*."""
    films = write_films(folder, cameras, fps)
    Signer.generate().save(folder / f"{cameras}.key")
    tasks = tuple(
        CameraTask(
            box_id="b", key_file=folder / f"{cameras}.key", spool_dir=folder / "spool", open_incidents={},
            camera=Camera.model_validate(
                {"id": f"cam-{number}", "name": "c", "source": str(film), "rate_fps": rate_fps, "hardware": "none"}
                | ({"recording": {"hours": 24}} if record else {})
            ),
        )
        for number, film in enumerate(films)
    )  # fmt: skip
    task = WatchTask(cameras=tasks, crumbs_file=folder / "crumbs")
    child = subprocess.Popen(
        [sys.executable, "-m", "edge.camera"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdin is not None
    assert child.stdout is not None
    reports: list[dict[str, Any]] = []
    output = child.stdout
    reading = threading.Thread(target=lambda: reports.extend(json.loads(line) for line in output))
    reading.start()
    try:
        child.stdin.write(task.model_dump_json(by_alias=True) + "\n")
        child.stdin.flush()
        samples, until_s = [], time.monotonic() + seconds
        while time.monotonic() < until_s:
            time.sleep(every_s)
            samples.append(memory_mb(child.pid))
        peak_mb, used_s = memory_mb(child.pid, "VmHWM"), cpu_s(child.pid)
    finally:
        child.stdin.close()
        child.wait(20)
        reading.join(20)
    judged = {report["camera"]: report["judged"] for report in reports if report["type"] == "stats"}
    return {
        "cameras": cameras, "fps": fps, "rate_fps": rate_fps, "seconds": seconds, "recorded": record,
        "judged": sum(judged.values()),
        "rss_mb_max": round(peak_mb, 1), "bound_mb": 250 + 65 * cameras, **_growth(samples, every_s),
        "cpu_s": round(used_s, 1), "cpu_pct_of_one_core": round(100 * used_s / seconds, 1), "load": os.getloadavg(),
    }  # fmt: skip


def _growth(samples_mb: list[float], every_s: float) -> dict[str, Any]:
    """From the fifth minute, or the first fifth, to the end: medians of two minutes each, or of a fifth."""
    fifth = len(samples_mb) // 5
    begin = min(fifth, round(SETTLED_S / every_s))
    width = max(1, min(fifth, round(120 / every_s)))
    tenths = np.array_split(samples_mb, min(10, len(samples_mb)))
    early, late = (float(np.median(part)) for part in (samples_mb[begin : begin + width], samples_mb[-width:]))
    return {
        "rss_mb": round(late, 1), "rss_mb_early": round(early, 1), "growth_pct": round(100 * (late / early - 1), 2),
        "rss_mb_tenths": [round(float(np.median(part)), 1) for part in tenths],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--threads", type=int, default=1, help="of one inference")
    parser.add_argument("--judges", type=int, default=1, help="pictures that are judged at once")
    parser.add_argument("--model", default=str(DEFAULT_MODEL), help="an ONNX with its manifest, or yolo11n")
    parser.add_argument("--soak-s", type=float, default=0, help="only the growth of the real process over this time")
    parser.add_argument("--cameras", type=int, default=4, help="of the soak")
    parser.add_argument("--rate-fps", type=float, default=10, help="of the soak: judged pictures a second and camera")
    parser.add_argument("--record", action="store_true", help="in the soak: keep what the cameras send")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        given = json.loads(args.child)
        films = sorted(Path(given.pop("folder")).glob(f"{given['fps']:.2f}-*.mp4"))
        print(json.dumps(measure_streams(films, **{**given, "model": Path(given["model"])})))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if args.soak_s:
            fps = max(FPS, args.rate_fps)
            report = {
                "model": DEFAULT_MODEL.name,
                "soak": measure_memory(
                    folder,
                    args.cameras,
                    fps=fps,
                    rate_fps=args.rate_fps,
                    seconds=args.soak_s,
                    every_s=5,
                    record=args.record,
                ),
            }
        else:
            report = _measure_all(folder, find_model(args.model, folder), args)
    print(json.dumps({"cores": os.cpu_count(), "threads": args.threads, "judges": args.judges, **report}, indent=1))


def _measure_all(folder: Path, model: Path, args: argparse.Namespace) -> dict[str, Any]:
    options = {
        "model": str(model), "seconds": args.seconds, "threads": args.threads, "judges": args.judges,
        "close_look": False,
    }  # fmt: skip
    write_films(folder, args.streams, FPS)
    normal = in_child(folder, fps=FPS, **options)
    double_fps = round(max(FPS, 2 * 1000 * args.judges / normal["cost_ms_p50"] / args.streams), 2)
    write_films(folder, args.streams, double_fps)
    report = {
        "model": model.name,
        "normal": normal,
        "twice_the_capacity": in_child(folder, fps=double_fps, **options),
    }
    if model != DEFAULT_MODEL:
        return report  # heads and memory are measured with the packaged model
    return {
        **report,
        "close_look": in_child(folder, fps=FPS, **{**options, "close_look": True}),
        "memory": [
            measure_memory(folder, cameras, fps=FPS, rate_fps=FPS, seconds=25, every_s=1) for cameras in (1, 4, 8)
        ],
    }


if __name__ == "__main__":
    main()
