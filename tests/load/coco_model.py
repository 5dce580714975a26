"""The COCO model that figures are stated for, exported afresh: YOLO11n at 320 px from the weights beside the checkout.

Its height and width are free, as those of the packaged model, so that a wide picture costs what it shows.
The export needs ultralytics and torch (extra `train`), in this Python or in that of BRIGHTLINE_TRAIN_PYTHON; it is made
in a folder of the caller's and nothing of it is kept.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("BRIGHTLINE_SHARED") or ROOT.parent / "shared")
WEIGHTS = SHARED / "data" / "vision" / "weights" / "yolo11n_dequant.pt"
INPUT_PX = 320
EXPORT_S_MAX = 300
EXPORT = """
import json, sys, ultralytics
model = ultralytics.YOLO(sys.argv[1])
path = model.export(format="onnx", imgsz=int(sys.argv[2]), dynamic=True, simplify=True, opset=17)
print(json.dumps({"path": str(path), "names": model.names}))
"""


def find_model(name: str, folder: Path) -> Path:
    """The ONNX of *name*: a path, or ``yolo11n``, which is exported to *folder* with its manifest."""
    return export_yolo11n(folder) if name == "yolo11n" else Path(name)


def export_yolo11n(folder: Path) -> Path:
    """The model with its manifest; raises subprocess.CalledProcessError when the export fails."""
    weights = folder / "yolo11n.pt"
    weights.write_bytes(WEIGHTS.read_bytes())  # the export is written beside the weights
    done = subprocess.run(
        [os.environ.get("BRIGHTLINE_TRAIN_PYTHON") or sys.executable, "-c", EXPORT, str(weights), str(INPUT_PX)],
        stdout=subprocess.PIPE, text=True, check=True, timeout=EXPORT_S_MAX, cwd=folder,
    )  # fmt: skip
    said = json.loads(done.stdout.strip().splitlines()[-1])
    model = Path(said["path"])
    manifest = {
        "sha256": hashlib.sha256(model.read_bytes()).hexdigest(), "input_px": INPUT_PX, "names": said["names"],
        "licence": "AGPL-3.0", "head": "yolo", "per_class": True,
    }  # fmt: skip
    model.with_suffix(".json").write_text(json.dumps(manifest))
    return model
