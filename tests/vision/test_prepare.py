"""Preparing a training set: no group on two sides, mapped classes, and nothing left of an earlier call."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import yaml

from vision.training.prepare import SPLITS, prepare, split_of

CLASS_MAP: dict[str, str | None] = {"mask": "mask", "no_mask": "no_mask", "mask_incorrect": None}


def make_set(folder: Path, labels: dict[str, str], groups: dict[str, str], names: object = None) -> Path:
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    classes = names or ["mask", "mask_incorrect", "no_mask"]
    (folder / "data.yaml").write_text(yaml.safe_dump({"path": ".", "train": "images", "names": classes}))
    with (folder / "files.csv").open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["file", "group"])
        for name, text in labels.items():
            (folder / "images" / f"{name}.jpg").write_bytes(b"picture")
            if text:
                (folder / "labels" / f"{name}.txt").write_text(text)
            writer.writerow([f"images/{name}.jpg", groups[name]])
    return folder


def placed(target: Path) -> dict[str, str]:
    """Picture → split."""
    return {link.stem: name for name, _ in SPLITS for link in (target / name / "images").glob("*")}


def test_pictures_of_one_group_are_always_in_one_split(tmp_path: Path) -> None:
    labels = {f"p{i}": "0 0.5 0.5 0.1 0.1\n" for i in range(300)}
    groups = {f"p{i}": f"g{i // 3}" for i in range(300)}
    prepare(make_set(tmp_path / "faces", labels, groups), tmp_path / "out", CLASS_MAP)
    splits = placed(tmp_path / "out")
    assert len(splits) == 300
    for group in set(groups.values()):
        assert len({splits[name] for name, its in groups.items() if its == group}) == 1
    assert set(splits.values()) == {"train", "val", "test"}


def test_the_split_of_a_group_never_changes_and_the_shares_are_as_stated() -> None:
    counts = {name: 0 for name, _ in SPLITS}
    for i in range(4000):
        counts[split_of(f"faces/{i}")] += 1
    assert {name: round(100 * count / 4000) for name, count in counts.items()} == {
        name: pytest.approx(percent, abs=2) for name, percent in SPLITS
    }
    assert [split_of(f"facemask/{group}") for group in (1589, 1117, 1, 2)] == ["test", "val", "test", "test"]


def test_classes_are_mapped_and_an_ambiguous_picture_is_left_out(tmp_path: Path) -> None:
    labels = {"a": "2 0.5 0.5 0.1 0.2\n\n0 0.1 0.1 0.1 0.1\n", "b": "1 0.5 0.5 0.1 0.1\n", "c": ""}
    groups = {"a": "1", "b": "2", "c": "3"}
    path = prepare(make_set(tmp_path / "faces", labels, groups), tmp_path / "out", CLASS_MAP)
    assert yaml.safe_load(path.read_text())["names"] == {0: "mask", 1: "no_mask"}
    splits = placed(tmp_path / "out")
    assert set(splits) == {"a", "c"}
    written = (tmp_path / "out" / splits["a"] / "labels" / "a.txt").read_text()
    assert written == "1 0.5 0.5 0.1 0.2\n0 0.1 0.1 0.1 0.1\n"
    assert (tmp_path / "out" / splits["c"] / "labels" / "c.txt").read_text() == ""


def test_two_classes_may_become_one(tmp_path: Path) -> None:
    source = make_set(tmp_path / "faces", {"a": "1 0.5 0.5 0.1 0.1\n"}, {"a": "1"})
    prepare(source, tmp_path / "out", {"mask": "mask", "no_mask": "no_mask", "mask_incorrect": "no_mask"})
    split = placed(tmp_path / "out")["a"]
    assert (tmp_path / "out" / split / "labels" / "a.txt").read_text().startswith("1 ")


def test_a_class_that_the_map_does_not_know_is_an_error(tmp_path: Path) -> None:
    source = make_set(tmp_path / "faces", {"a": ""}, {"a": "1"}, {0: "mask", 1: "visor"})
    with pytest.raises(ValueError, match=r"\['visor'\] are not in the class map"):
        prepare(source, tmp_path / "out", CLASS_MAP)


def test_a_label_without_a_class_name_is_an_error(tmp_path: Path) -> None:
    source = make_set(tmp_path / "faces", {"a": "9 0.5 0.5 0.1 0.1\n"}, {"a": "1"})
    with pytest.raises(ValueError, match=r"a\.txt: classes \[9\]"):
        prepare(source, tmp_path / "out", CLASS_MAP)


def test_a_picture_outside_the_set_is_refused(tmp_path: Path) -> None:
    source = make_set(tmp_path / "faces", {}, {})
    (tmp_path / "private.jpg").write_bytes(b"x")
    (source / "files.csv").write_text("file,group\n../private.jpg,1\n")
    with pytest.raises(ValueError, match="no picture inside the set"):
        prepare(source, tmp_path / "out", CLASS_MAP)


def test_a_second_call_leaves_no_picture_in_its_old_split(tmp_path: Path) -> None:
    labels = {f"p{i}": "0 0.5 0.5 0.1 0.1\n" for i in range(60)}
    prepare(make_set(tmp_path / "a" / "faces", labels, {n: n for n in labels}), tmp_path / "out", CLASS_MAP)
    regrouped = make_set(tmp_path / "b" / "faces", labels, {n: f"new {n}" for n in labels})
    prepare(regrouped, tmp_path / "out", CLASS_MAP)
    links = [link.stem for name, _ in SPLITS for link in (tmp_path / "out" / name / "images").glob("*")]
    texts = [text.stem for name, _ in SPLITS for text in (tmp_path / "out" / name / "labels").glob("*")]
    assert sorted(links) == sorted(texts) == sorted(labels)
