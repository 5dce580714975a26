"""Our detections beside ultralytics' own `predict` on the same ONNX and the same pictures: differences, and a record.

    python -m tests.vision.ultralytics_parity record                      # tests/vision/data/ultralytics_mask_v1.json
    python -m tests.vision.ultralytics_parity compare MODEL.onnx PICTURE...   # figures as JSON

Both need ultralytics and torch. What was recorded are numbers only, from our own model on our own drawn pictures, with
the versions that gave them; the ordinary suite compares with it where ultralytics is not installed.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from firmware_sim.scene import Kitchen
from vision.detections import Detections, iou_matrix
from vision.detector import DEFAULT_MODEL, OnnxDetector
from vision.frame import Image
from vision.heads import IOU_MAX

RECORD = Path(__file__).with_name("data") / "ultralytics_mask_v1.json"
FLOOR = 0.05  # low, so that the suppression has something to do
SIZES = ((640, 360), (1280, 720), (320, 320), (499, 333), (454, 449))
BOX_PX_MAX = 0.01  # of the picture; what is left is float32 arithmetic (seen: 0.0012 px, 2e-6)
CONFIDENCE_MAX = 1e-4


@dataclass(frozen=True)
class Difference:
    """``unmatched``: boxes that only one of the two has; the rest is of the boxes that both have."""

    boxes: int
    unmatched: int
    box_px_max: float
    confidence_max: float


def pictures() -> dict[str, Image]:
    """Drawn pictures by name: five sizes, with and without a mask, and one of four people."""
    found: dict[str, Image] = {}
    for width, height in SIZES:
        kitchen = Kitchen(width, height)
        for look in ("no_mask", "mask"):
            found[f"{look} {width}x{height}"] = kitchen.frame(3, look)  # type: ignore[arg-type]
    wide = found["no_mask 1280x720"]
    found["four in one"] = np.vstack([np.hstack([wide, wide[:, ::-1]]), np.hstack([wide[:, ::-1], wide])])[::2, ::2]
    return {name: np.ascontiguousarray(image) for name, image in found.items()}


def predict(model: Any, image: Image, side: int, *, per_class: bool) -> Detections:
    """What ultralytics finds, by the settings that ours correspond to."""
    boxes = model.predict(
        image, imgsz=side, conf=FLOOR, iou=IOU_MAX, agnostic_nms=not per_class, rect=True, verbose=False
    )[0].boxes  # fmt: skip
    return Detections.of(boxes.xyxy.numpy(), boxes.conf.numpy(), boxes.cls.numpy())


def difference(ours: Detections, theirs: Detections) -> Difference:
    """Pairs of the same class are the ones that overlap most; what has no partner of IoU 0.9 is unmatched."""
    if not len(ours) or not len(theirs):
        return Difference(len(theirs), len(ours) + len(theirs), 0.0, 0.0)
    overlap = iou_matrix(theirs.xyxy, ours.xyxy) * (theirs.class_id[:, None] == ours.class_id[None])
    partner = overlap.argmax(axis=1)
    same = np.flatnonzero(overlap.max(axis=1) >= 0.9)
    matched = partner[same]
    unmatched = len(theirs) - len(same) + len(ours) - len(set(matched.tolist()))
    if not len(same):
        return Difference(len(theirs), unmatched, 0.0, 0.0)
    return Difference(
        len(theirs),
        unmatched,
        float(np.abs(theirs.xyxy[same] - ours.xyxy[matched]).max()),
        float(np.abs(theirs.confidence[same] - ours.confidence[matched]).max()),
    )


def as_rows(found: Detections) -> list[list[float]]:
    """Left, top, right, bottom, confidence, class."""
    rows = zip(found.xyxy.tolist(), found.confidence.tolist(), found.class_id.tolist(), strict=True)
    return [[*(round(v, 3) for v in box), round(sure, 6), kind] for box, sure, kind in rows]


def from_rows(rows: list[list[float]]) -> Detections:
    table = np.array(rows, np.float64).reshape(-1, 6)
    return Detections.of(table[:, :4], table[:, 4], table[:, 5])


def _record() -> dict[str, Any]:
    import onnxruntime
    import torch
    import ultralytics

    model = ultralytics.YOLO(str(DEFAULT_MODEL), task="detect")
    detector = OnnxDetector(confidence=FLOOR)
    side = detector.manifest.input_px
    return {
        "versions": {
            "ultralytics": ultralytics.__version__, "torch": torch.__version__,
            "onnxruntime": onnxruntime.__version__, "opencv": cv2.__version__, "numpy": np.__version__,
        },
        "model_sha256": detector.sha256,
        "settings": f"imgsz={side} conf={FLOOR} iou={IOU_MAX} agnostic_nms=True rect=True",
        "pictures": {
            name: as_rows(predict(model, image, side, per_class=False)) for name, image in pictures().items()
        },
    }  # fmt: skip


def _compare(path: Path, names: list[str]) -> dict[str, Any]:
    import ultralytics

    model, detector = ultralytics.YOLO(str(path), task="detect"), OnnxDetector(path, confidence=FLOOR)
    manifest = detector.manifest
    images = {name: cv2.imread(name) for name in names} or pictures()
    found = {
        name: difference(
            detector.detect(np.asarray(image, np.uint8)),
            predict(model, np.asarray(image, np.uint8), manifest.input_px, per_class=manifest.per_class),
        )
        for name, image in images.items()
    }
    return {
        "model": path.name, "input_px": manifest.input_px, "pictures": len(found),
        "boxes": sum(item.boxes for item in found.values()),
        "unmatched": sum(item.unmatched for item in found.values()),
        "box_px_max": max(item.box_px_max for item in found.values()),
        "confidence_max": max(item.confidence_max for item in found.values()),
        "unequal": [name for name, item in found.items() if item.unmatched],
    }  # fmt: skip


def main(argv: list[str]) -> int:
    if argv[:1] == ["record"]:
        RECORD.parent.mkdir(exist_ok=True)
        RECORD.write_text(json.dumps(_record(), indent=1) + "\n", "utf-8")
        return 0
    if argv[:1] == ["compare"] and len(argv) > 1:
        sys.stdout.write(json.dumps(_compare(Path(argv[1]), argv[2:])) + "\n")
        return 0
    sys.stderr.write(f"{__doc__}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
