"""`brightline-vision`: watch a camera, play a film to the rules, ask a model about a picture, measure it."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from vision.evidence_cli import add_evidence_commands, make_regulator_key, unseal_evidence, verify_evidence
from vision.shadow_cli import add_shadow_commands, run_shadow
from vision.zones_cli import add_zones_arguments, run_zones

if TYPE_CHECKING:
    from vision.detector import Detector
    from vision.watch_settings import WatchSettings


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit status (0 done, 1 fault, 2 wrong arguments, model, picture or data)."""
    args = _parser().parse_args(argv)
    from vision.detector import DEFAULT_MODEL
    from vision.manifest import ModelError

    args.model = getattr(args, "model", None) or DEFAULT_MODEL
    commands = {
        "run": _run,
        "replay": _replay,
        "detect": _detect,
        "evaluate": _evaluate,
        "bench": _bench,
        "verify": verify_evidence,
        "unseal": unseal_evidence,
        "keygen": make_regulator_key,
        "shadow": run_shadow,
        "zones": run_zones,
    }
    try:
        return commands[args.command](args)
    except (ModelError, ValueError) as error:
        sys.stderr.write(f"brightline-vision: {error}\n")
        return 2
    except OSError as error:
        sys.stderr.write(f"brightline-vision: {error}\n")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="brightline-vision", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="watch a camera and print what happens as JSON lines")
    run.add_argument("--source", required=True, help="rtsp://, http://, a video file or /dev/videoN")
    run.add_argument("--once", action="store_true", help="play a file once instead of for ever")
    run.add_argument("--save", type=Path, help="folder for the annotated snapshots")
    replay = commands.add_parser("replay", help="say what a recorded film would have raised, and when")
    replay.add_argument("video", type=Path)
    replay.add_argument("--start", default="", help="when the film begins, as 2026-03-02T11:30+08:00 (default: now)")
    detect = commands.add_parser("detect", help="print what the model sees in a picture as JSON")
    detect.add_argument("image", type=Path)
    evaluate = commands.add_parser("evaluate", help="measure the model on labelled pictures (YOLO layout)")
    evaluate.add_argument("--data", type=Path, required=True, help="data.yaml of the set")
    evaluate.add_argument("--split", help="train, val or test (default: test, or val of a set without a test)")
    bench = commands.add_parser("bench", help="measure what a picture costs on this machine")
    bench.add_argument("--pictures", type=int, default=100, help="how many to time")
    bench.add_argument("--size", default="640x360", help="of the pictures (default: 640x360)")
    bench.add_argument("--threads", type=int, default=1, help="of one inference")
    checking = add_evidence_commands(commands)
    add_shadow_commands(commands.add_parser("shadow", help="a candidate model beside the live one: report, decide"))
    add_zones_arguments(commands.add_parser("zones", help="draw zones and masks on a live picture, in the browser"))
    for command in (run, replay, detect, evaluate, bench):
        command.add_argument("--model", type=Path, help="ONNX model with its manifest (default: the packaged one)")
    for command in (replay, evaluate, bench, *checking):
        command.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    for command in (run, replay):
        command.add_argument(
            "--violation", action="append", help="code of the catalogue, repeatable (default: no_mask)"
        )
        command.add_argument("--dwell-s", type=float, help="seconds until a violation is confirmed")
        command.add_argument("--catalogue", type=Path, help="folder of the catalogue (default: configs/violations)")
        command.add_argument("--confidence", type=float, help="least confidence of a verdict, 0.15 to 1")
    detect.add_argument("--confidence", type=float, default=0.4, help="least confidence, 0 to 1")
    evaluate.add_argument(
        "--confidence", type=float, help="where to give precision and recall (default: where mean F1 is highest)"
    )
    for command in (detect, evaluate):
        command.add_argument("--close-look", action="store_true", help="look twice at every small head, as `run` does")
    return parser


@contextmanager
def _stopped_by_signal() -> Iterator[threading.Event]:
    """An event that SIGTERM and Ctrl-C set; the handlers before are put back."""
    stop = threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _settings(args: argparse.Namespace, source: str) -> WatchSettings:
    from vision.catalogue import DEFAULT_FOLDER
    from vision.watch_settings import ModelUse, Watched, WatchSettings

    given = {"dwell_s": args.dwell_s, "confidence": args.confidence}
    changes = {name: value for name, value in given.items() if value is not None}
    return WatchSettings(
        "camera",
        source,
        models=(ModelUse(args.model),),
        violations=tuple(Watched(code, changes=changes) for code in dict.fromkeys(args.violation or ["no_mask"])),
        catalogue=args.catalogue or DEFAULT_FOLDER,
        loop=not getattr(args, "once", True),
    )


def _replay(args: argparse.Namespace) -> int:
    from vision.pipeline import Watch
    from vision.replay import replay, summary

    start = datetime.fromisoformat(args.start) if args.start else datetime.now(UTC)
    if start.tzinfo is None:
        raise ValueError(f"--start is {args.start}; give its offset too, such as 2026-03-02T11:30+08:00")
    if not args.video.is_file():
        raise ValueError(f"{args.video}: no such video file")
    report = replay(Watch(_settings(args, str(args.video))), args.video, start)
    sys.stdout.write(json.dumps(report) + "\n" if args.json else summary(report))
    return 0


def _bench(args: argparse.Namespace) -> int:
    from vision.bench import bench

    width, _, height = args.size.partition("x")
    sizes = [int(part) if part.isdecimal() else 0 for part in (width, height)]
    if not all(16 <= size <= 4096 for size in sizes) or not 1 <= args.pictures <= 10_000 or not 1 <= args.threads <= 64:
        raise ValueError("give --size as 640x360 (16 to 4096), --pictures 1 to 10000 and --threads 1 to 64")
    report = bench(args.model, pictures=args.pictures, width=sizes[0], height=sizes[1], threads=args.threads)
    text = "".join(f"{name:<22} {value}\n" for name, value in report.items())
    sys.stdout.write(json.dumps(report) + "\n" if args.json else text)
    return 0


def _run(args: argparse.Namespace) -> int:
    from vision.address import CameraAddress
    from vision.happenings import ViolationOpened
    from vision.pipeline import Watch
    from vision.watchroom import watch_cameras

    address = CameraAddress(args.source)
    if address.is_file and not Path(args.source).is_file():
        raise ValueError(f"{args.source}: no such video file; give a file, rtsp://, http:// or /dev/videoN")
    settings = _settings(args, args.source)
    with _stopped_by_signal() as stop:
        for item in watch_cameras([Watch(settings)], stop):
            shown = asdict(item)
            if isinstance(item, ViolationOpened) and args.save:
                args.save.mkdir(parents=True, exist_ok=True)
                (args.save / f"{item.incident_id}.jpg").write_bytes(item.annotated_jpeg)
            line = {name: value for name, value in shown.items() if not isinstance(value, bytes)}
            sys.stdout.write(json.dumps({"type": type(item).__name__, **line}, default=str) + "\n")
            sys.stdout.flush()
    return 0


def _detector(args: argparse.Namespace, confidence: float) -> Detector:
    from vision.close_look import CloseLookDetector
    from vision.detector import OnnxDetector

    detector = OnnxDetector(args.model, confidence=confidence)
    return CloseLookDetector(detector) if args.close_look else detector


def _detect(args: argparse.Namespace) -> int:
    from vision.dataset import read_picture

    image = read_picture(args.image)
    detector = _detector(args, args.confidence)
    found = detector.detect(image)
    rows = [
        {
            "class": detector.names[int(class_id)],
            "confidence": round(float(score), 4),
            "xyxy": [round(float(v), 1) for v in box],
        }
        for box, score, class_id in zip(found.xyxy, found.confidence, found.class_id, strict=True)
    ]
    sys.stdout.write(json.dumps({"image": str(args.image), "model_sha256": detector.sha256, "detections": rows}) + "\n")
    return 0


def _evaluate(args: argparse.Namespace) -> int:
    from vision.close_look import FIRST_LOOK_CONFIDENCE
    from vision.dataset import Dataset
    from vision.evaluation import FLOOR_CONFIDENCE, evaluate

    if args.confidence is not None and not 0 < args.confidence < 1:
        raise ValueError(f"--confidence is {args.confidence}; it must be between 0 and 1")
    data = Dataset.load(args.data, args.split)
    detector = _detector(args, FIRST_LOOK_CONFIDENCE if args.close_look else FLOOR_CONFIDENCE)
    result = evaluate(detector, data, at_confidence=args.confidence)
    report = {
        "model": str(args.model), "model_sha256": detector.sha256, "data": str(args.data), "split": data.split,
        "close_look": args.close_look, **asdict(result),
    }  # fmt: skip
    sys.stdout.write(json.dumps(_rounded(report)) + "\n" if args.json else _table(report))
    return 0


def _rounded(value: object) -> object:
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    return round(value, 4) if isinstance(value, float) else value


def _table(report: dict[str, object]) -> str:
    def figure(value: object) -> str:
        return f"{value:9.3f}" if isinstance(value, float) else f"{'-' if value is None else value!s:>9}"

    columns = ("boxes", "ap50", "ap50_95", "precision", "recall")
    lines = [f"{'class':<20}" + "".join(f"{name:>10}" for name in columns)]
    classes = report["classes"]
    assert isinstance(classes, dict)
    for name, row in classes.items():
        lines.append(f"{name:<20}" + "".join(f" {figure(row[column])}" for column in columns))
    for name in ("pictures", "map50", "map50_95", "confidence"):
        lines.append(f"{name:<20} {figure(report[name])}")
    for name in ("only_in_model", "only_in_data"):
        if left_out := report[name]:
            assert isinstance(left_out, tuple)
            lines.append(f"not compared, {name.replace('_', ' ')}: {', '.join(left_out)}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
