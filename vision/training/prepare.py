"""Turn YOLO-format image sets into a leak-free train/val/test folder for one detector.

Near-duplicate photos share a ``group`` in ``files.csv``; the split hashes the group, so that a photo
and its near-duplicate never stand on both sides. Images are linked, never copied.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Mapping
from pathlib import Path

import yaml

SPLITS = (("test", 15), ("val", 10), ("train", 75))  # percent of groups


def split_of(group: str) -> str:
    """The split of a group: a stable hash of its name, so that a re-run gives the same sets."""
    bucket = int(hashlib.sha256(group.encode()).hexdigest()[:8], 16) % 100
    for name, percent in SPLITS:
        if bucket < percent:
            return name
        bucket -= percent
    raise AssertionError("the percentages of SPLITS add up to 100")


def prepare(source: Path, target: Path, class_map: Mapping[str, str | None]) -> Path:
    """Write a data set for ultralytics at *target* from the set at *source*; returns its data.yaml.

    *class_map* maps each class of the source to a class of the model; an image that holds a class mapped
    to ``None`` (ambiguous for this model) is left out whole. What an earlier call put into *target* is removed first: a
    picture whose group has changed shall not stay in its old split too. Raises ValueError for a class or label that
    cannot be mapped.
    """
    names = yaml.safe_load((source / "data.yaml").read_text())["names"]
    source_names = dict(enumerate(names)) if isinstance(names, list) else names
    unknown = set(source_names.values()) - set(class_map)
    if unknown:
        raise ValueError(f"{source}/data.yaml: classes {sorted(unknown)} are not in the class map; map or drop them")
    targets = sorted({name for name in class_map.values() if name})
    _remove_earlier(target)
    with (source / "files.csv").open(newline="") as handle:
        for row in csv.DictReader(handle):
            image = source / row["file"]
            if not image.resolve().is_relative_to(source.resolve()) or not image.is_file():
                raise ValueError(f"{source}/files.csv: {row['file']} is no picture inside the set")
            label = source / "labels" / f"{image.stem}.txt"
            lines = [line.split() for line in label.read_text().splitlines() if line.strip()] if label.exists() else []
            numbers = [int(line[0]) for line in lines]
            if unnamed := sorted(set(numbers) - set(source_names)):
                raise ValueError(f"{label}: classes {unnamed} have no name in data.yaml")
            mapped = [class_map[source_names[number]] for number in numbers]
            if None in mapped:
                continue
            folder = target / split_of(f"{source.name}/{row['group']}")
            (folder / "images").mkdir(parents=True, exist_ok=True)
            (folder / "labels").mkdir(exist_ok=True)
            link = folder / "images" / image.name
            link.unlink(missing_ok=True)
            link.symlink_to(image.resolve())
            text = "".join(
                f"{targets.index(name)} {' '.join(line[1:5])}\n"
                for name, line in zip(mapped, lines, strict=True)
                if name
            )
            (folder / "labels" / f"{image.stem}.txt").write_text(text)
    data: dict[str, object] = {"path": str(target.resolve()), **{name: f"{name}/images" for name, _ in SPLITS}}
    data["names"] = dict(enumerate(targets))
    path = target / "data.yaml"
    path.write_text(yaml.safe_dump(data, allow_unicode=True))
    return path


def _remove_earlier(target: Path) -> None:
    """Remove the links and labels of an earlier call, and nothing else."""
    for name, _ in SPLITS:
        for link in (target / name / "images").glob("*"):
            if link.is_symlink():
                link.unlink()
        for label in (target / name / "labels").glob("*.txt"):
            label.unlink()
