"""How many faces stay visible in shared pictures: labelled heads that are not hidden, and faces that YuNet still finds.

`python tests/load/face_hiding.py [--pictures 300]` prints one JSON object. Heads: the held-out split of the face-mask
set, hidden by the packaged model, with and without YuNet beside it; a head counts as hidden when 90 % of its box is.
Faces: the COCO pictures with people, hidden by the labelled person boxes alone; what YuNet finds at its
usual score of 0.9 before and after. Needs ../shared (or BRIGHTLINE_SHARED).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from vision.close_look import FIRST_LOOK_CONFIDENCE  # noqa: E402 - the repository comes first
from vision.dataset import Dataset  # noqa: E402
from vision.detector import OnnxDetector  # noqa: E402
from vision.faces import FaceHider, pixelate  # noqa: E402
from vision.scene import sightings_of  # noqa: E402
from vision.training.prepare import prepare  # noqa: E402
from vision.training.train_mask import CLASS_MAP  # noqa: E402

SHARED = Path(os.environ.get("BRIGHTLINE_SHARED") or ROOT.parent / "shared") / "data" / "vision"
YUNET = SHARED / "weights" / "face_detection_yunet_2026may.onnx"
YUNET_SCORE = 0.9
HIDDEN_SHARE_MIN = 0.9


def hidden_share(places: Sequence[np.ndarray], box: np.ndarray, shape: tuple[int, ...]) -> float:
    """The share of *box* that one of *places* covers."""
    mask = np.zeros(shape[:2], bool)
    for place in places:
        left, top, right, bottom = (max(0, int(value)) for value in place)
        mask[top:bottom, left:right] = True
    left, top, right, bottom = (max(0, round(float(value))) for value in box)
    part = mask[top:bottom, left:right]
    return float(part.mean()) if part.size else 1.0


def measure_heads(pictures: int) -> dict[str, Any]:
    model = OnnxDetector(confidence=FIRST_LOOK_CONFIDENCE)
    hiders = {"models": FaceHider(checked=True), "models_and_yunet": FaceHider(checked=True, face_model=YUNET)}
    hidden = dict.fromkeys(hiders, 0)
    heads = 0
    with tempfile.TemporaryDirectory() as folder:
        data = Dataset.load(prepare(SHARED / "facemask", Path(folder) / "set", CLASS_MAP), "test")
        for image, truth in islice(data.samples(), pictures):
            seen = sightings_of(model.detect(image), model.names)
            heads += len(truth)
            for name, hider in hiders.items():
                places = hider.places(image, seen)
                hidden[name] += sum(hidden_share(places, box, image.shape) >= HIDDEN_SHARE_MIN for box in truth.xyxy)
    return {"heads": heads, **{f"hidden_by_{name}": count for name, count in hidden.items()}}


def measure_faces(pictures: int) -> dict[str, Any]:
    yunet = cv2.FaceDetectorYN.create(str(YUNET), "", (320, 320), YUNET_SCORE)

    def faces(image: np.ndarray) -> int:
        yunet.setInputSize((image.shape[1], image.shape[0]))
        rows = yunet.detect(image)[1]
        return 0 if rows is None else len(rows)

    people = Dataset.load(SHARED / "coco_person_phone" / "data.yaml", "train")
    hider = FaceHider(checked=True)
    before = after = 0
    for image, truth in islice(people.samples(), pictures):
        before += faces(image)
        after += faces(pixelate(image, hider.places(image, sightings_of(truth, people.names))))
    return {"faces_before": before, "faces_after": after}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=300, help="of each set at most")
    args = parser.parse_args()
    if not YUNET.exists():
        sys.stderr.write(f"{YUNET}: is not there; give BRIGHTLINE_SHARED\n")
        return 2
    report = {"pictures_max": args.pictures, **measure_heads(args.pictures), **measure_faces(args.pictures)}
    sys.stdout.write(json.dumps(report) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
