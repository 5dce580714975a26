"""`brightline-vision`: watch one camera, or ask the model about one picture, from the command line."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from dataclasses import fields
from pathlib import Path


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit status (0 done, 1 fault, 2 wrong arguments or model)."""
    parser = argparse.ArgumentParser(prog="brightline-vision", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="watch a camera and print what happens as JSON lines")
    run.add_argument("--source", required=True, help="rtsp://, http://, a video file or /dev/videoN")
    run.add_argument("--dwell-s", type=float, default=3.0, help="seconds until a violation is confirmed")
    run.add_argument("--once", action="store_true", help="play a file once instead of for ever")
    run.add_argument("--save", type=Path, help="folder for the annotated snapshots")
    detect = commands.add_parser("detect", help="print what the model sees in a picture as JSON")
    detect.add_argument("image", type=Path)
    for command in (run, detect):
        command.add_argument("--model", type=Path, help="ONNX model with its manifest (default: the packaged one)")
        command.add_argument("--confidence", type=float, default=0.4)
    args = parser.parse_args(argv)
    from vision.detector import DEFAULT_MODEL, ModelError

    args.model = args.model or DEFAULT_MODEL
    try:
        return _run(args) if args.command == "run" else _detect(args)
    except (ModelError, ValueError) as error:
        sys.stderr.write(f"brightline-vision: {error}\n")
        return 2


def _run(args: argparse.Namespace) -> int:
    from vision.pipeline import ViolationOpened, Watch, WatchSettings

    settings = WatchSettings(
        "camera", args.source, args.model, dwell_s=args.dwell_s, confidence=args.confidence, loop=not args.once
    )
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    for item in Watch(settings).run(stop):
        shown = {entry.name: getattr(item, entry.name) for entry in fields(item)}
        if isinstance(item, ViolationOpened) and args.save:
            args.save.mkdir(parents=True, exist_ok=True)
            (args.save / f"{item.incident_id}.jpg").write_bytes(item.annotated_jpeg)
        line = {name: value for name, value in shown.items() if not isinstance(value, bytes)}
        sys.stdout.write(json.dumps({"type": type(item).__name__, **line}, default=str) + "\n")
        sys.stdout.flush()
    return 0


def _detect(args: argparse.Namespace) -> int:
    import cv2
    import numpy as np

    from vision.detector import OnnxDetector

    image = cv2.imdecode(np.fromfile(args.image, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f"{args.image}: not a picture that can be read")
    detector = OnnxDetector(args.model, confidence=args.confidence)
    found = detector.detect(np.asarray(image, np.uint8))
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


if __name__ == "__main__":
    sys.exit(main())
