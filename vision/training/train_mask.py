"""Train the mask / no_mask detector and export it to ONNX.

    python -m vision.training.train_mask --set DIR/facemask --weights yolo11n.pt --out runs/mask

Needs the ``train`` extra (torch, ultralytics). The figures of the held-out test split are printed as JSON;
copy them into the model card.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from vision.training.prepare import prepare

CLASS_MAP: dict[str, str | None] = {"mask": "mask", "no_mask": "no_mask", "mask_incorrect": None}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set", type=Path, required=True, help="image set with data.yaml, files.csv, images/, labels/")
    parser.add_argument("--weights", type=Path, required=True, help="COCO weights to start from (.pt)")
    parser.add_argument("--out", type=Path, required=True, help="folder for the prepared set, the run and the model")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--fraction", type=float, default=1.0, help="share of the training images")
    parser.add_argument("--size", type=int, default=320, help="input side, pixels")
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    from ultralytics import YOLO

    data = prepare(args.set, args.out / "set", CLASS_MAP)
    model = YOLO(args.weights)
    model.train(
        data=str(data), epochs=args.epochs, fraction=args.fraction, imgsz=args.size, seed=args.seed, device="cpu",
        batch=32, workers=1, project=str(args.out.resolve()), name="run", exist_ok=True, cos_lr=True, warmup_epochs=1,
        close_mosaic=2, optimizer="AdamW", lr0=0.001, scale=0.9, degrees=8, plots=False, amp=False, cache="ram",
        save_period=1,
    )  # fmt: skip
    best = YOLO(args.out / "run" / "weights" / "best.pt")
    scores = best.val(data=str(data), split="test", imgsz=args.size, device="cpu", workers=0, plots=False)
    exported = Path(best.export(format="onnx", imgsz=args.size, dynamic=True, simplify=True, opset=17))
    report = {
        "model": str(exported),
        "test_map50": round(float(scores.box.map50), 4),
        "test_map50_95": round(float(scores.box.map), 4),
        "classes": {
            scores.names[int(index)]: {
                "precision": round(float(scores.box.p[row]), 4),
                "recall": round(float(scores.box.r[row]), 4),
                "ap50": round(float(scores.box.ap50[row]), 4),
            }
            for row, index in enumerate(scores.box.ap_class_index)
        },
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
