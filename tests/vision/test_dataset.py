"""Reading YOLO data sets: the layouts that exist, and clear words for those that do not work."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from vision.dataset import Dataset, DatasetError, label_file, read_picture


def write_set(folder: Path, text: dict[str, object], *, images: str = "test/images", label: str | None = None) -> Path:
    """One grey 40 x 20 picture below *images*, its label beside it, and the data.yaml."""
    picture = folder / images / "a.png"
    picture.parent.mkdir(parents=True)
    cv2.imwrite(str(picture), np.full((20, 40, 3), 99, np.uint8))
    if label is not None:
        label_file(picture).parent.mkdir(parents=True, exist_ok=True)
        label_file(picture).write_text(label)
    path = folder / "data.yaml"
    path.write_text(yaml.safe_dump(text))
    return path


@pytest.mark.parametrize("names", [["mask", "no_mask"], {0: "mask", 1: "no_mask"}, {"0": "mask", "1": "no_mask"}])
def test_names_may_be_a_list_or_a_table(tmp_path: Path, names: object) -> None:
    data = Dataset.load(write_set(tmp_path, {"test": "test/images", "names": names}), "test")
    assert data.names == {0: "mask", 1: "no_mask"}


@pytest.mark.parametrize("entry", ["test/images", ["test/images"], "list.txt"])
def test_a_split_may_be_a_folder_folders_or_a_list_of_pictures(tmp_path: Path, entry: object) -> None:
    (tmp_path / "list.txt").write_text("test/images/a.png\n\n")
    data = Dataset.load(write_set(tmp_path, {"test": entry, "names": ["mask"]}), "test")
    assert [path.name for path in data.pictures] == ["a.png"]


@pytest.mark.parametrize("root", [None, ".", "", "sub"])
def test_path_is_relative_to_the_file_itself(tmp_path: Path, root: str | None) -> None:
    text: dict[str, object] = {"test": "images", "names": ["mask"]} | ({} if root is None else {"path": root})
    images = "sub/images" if root == "sub" else "images"
    assert len(Dataset.load(write_set(tmp_path, text, images=images), "test").pictures) == 1


def test_boxes_come_in_pixels_cut_to_the_picture(tmp_path: Path) -> None:
    text = {"test": "test/images", "names": ["mask", "no_mask"]}
    path = write_set(tmp_path, text, label="1 0.5 0.5 0.5 0.5\n\n0 1 0 0.5 0.5\n")
    ((image, truth),) = Dataset.load(path, "test").samples()
    assert image.shape == (20, 40, 3)
    assert truth.class_id.tolist() == [1, 0]
    assert truth.xyxy.tolist() == [[10, 5, 30, 15], [30, 0, 40, 5]]


@pytest.mark.parametrize(
    "label",
    [
        "0 0.25 0.25 0.75 0.25 0.75 0.75 0.25 0.75",  # a polygon
        "0.0 0.5 0.5 0.5 0.5",
        "\ufeff0 0.5 0.5 0.5 0.5\r\n",
        "0 0.5 0.5 0.5 0.5\n0 0.5 0.5 0.5 0.5\n",
    ],
)
def test_labels_are_read_as_tools_write_them(tmp_path: Path, label: str) -> None:
    path = write_set(tmp_path, {"test": "test/images", "names": ["mask"]}, label=label)
    ((_, truth),) = Dataset.load(path).samples()
    assert truth.xyxy.tolist() == [[10, 5, 30, 15]]


def test_shares_that_were_rounded_beyond_the_picture_are_cut(tmp_path: Path) -> None:
    path = write_set(tmp_path, {"test": "test/images", "names": ["mask"]}, label="0 0.5 0.5 1.0000001 1\n")
    ((_, truth),) = Dataset.load(path).samples()
    assert truth.xyxy.tolist() == [[0, 0, 40, 20]]


def test_key_points_after_a_box_are_passed_over(tmp_path: Path) -> None:
    text = {"test": "test/images", "names": ["person"], "kpt_shape": [2, 2]}
    path = write_set(tmp_path, text, label="0 0.5 0.5 0.5 0.5 0.1 0.1 0.2 0.2\n")
    ((_, truth),) = Dataset.load(path).samples()
    assert truth.xyxy.tolist() == [[10, 5, 30, 15]]


@pytest.mark.parametrize(("text", "split"), [({"val": "v/images"}, "val"), ({"val": "x", "test": "v/images"}, "test")])
def test_without_a_choice_the_test_pictures_count_or_else_those_of_val(
    tmp_path: Path, text: dict[str, object], split: str
) -> None:
    data = Dataset.load(write_set(tmp_path, text | {"names": ["mask"]}, images="v/images"))
    assert (data.split, len(data.pictures)) == (split, 1)


@pytest.mark.parametrize("text", [{"val": "../val/images"}, {"val": "val/images", "path": "/content/elsewhere"}])
def test_paths_of_another_machine_are_found_beside_the_file(tmp_path: Path, text: dict[str, object]) -> None:
    path = write_set(tmp_path, text | {"names": ["mask"]}, images="val/images")
    assert [found.name for found in Dataset.load(path, "val").pictures] == ["a.png"]


def test_a_picture_without_labels_has_no_boxes(tmp_path: Path) -> None:
    ((_, truth),) = Dataset.load(write_set(tmp_path, {"test": "test/images", "names": ["mask"]}), "test").samples()
    assert len(truth) == 0


def test_only_the_last_folder_named_images_becomes_labels() -> None:
    assert label_file(Path("/images/set/images/deep/a.b.jpg")) == Path("/images/set/labels/deep/a.b.txt")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ({"test": "test/images"}, "names is missing"),
        ({"test": "test/images", "names": "mask"}, "names is missing"),
        ({"names": ["mask"]}, "no split 'test'; it has none"),
        ({"train": "test/images", "names": ["mask"]}, "it has train; choose one with --split"),
        ({"test": "elsewhere", "names": ["mask"]}, "neither a folder nor a .txt list"),
        ({"test": "empty", "names": ["mask"]}, "has no pictures"),
        ({"test": "test/images", "names": ["mask", "mask"]}, "one name twice"),
        ({"test": "test/images", "names": {"first": "mask"}}, "no class number"),
    ],
)
def test_a_wrong_data_yaml_is_explained(tmp_path: Path, text: dict[str, object], complaint: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match=complaint.replace(".", r"\.")) as refused:
        Dataset.load(write_set(tmp_path, text), "test")
    assert "data.yaml" in str(refused.value)


@pytest.mark.parametrize("content", [b"names: [", b"\xff\xfe\x00", b"just words"])
def test_what_is_no_yaml_is_explained(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "data.yaml"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"data\.yaml"):
        Dataset.load(path, "test")


def test_a_missing_data_yaml_is_explained(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="give a YOLO"):
        Dataset.load(tmp_path / "data.yaml", "test")


@pytest.mark.parametrize(
    ("label", "complaint"),
    [
        ("0 0.5 0.5 0.1\n", r"a\.txt:1: .* is not `class x y width height`"),
        ("0 0.5 0.5 0.1 0.1\n0 0.1 0.1 0.2 0.2 0.3\n", r"a\.txt:2: "),
        ("mask 0.5 0.5 0.1 0.1\n", r"a\.txt:1: "),
        ("0 50 50 10 10\n", "outside 0 to 1"),
        ("0 nan 0.5 0.1 0.1\n", "outside 0 to 1"),
        ("7 0.5 0.5 0.1 0.1\n", r"class numbers \[7\] have no name"),
    ],
)
def test_a_wrong_label_is_explained_with_its_line(tmp_path: Path, label: str, complaint: str) -> None:
    path = write_set(tmp_path, {"test": "test/images", "names": ["mask"]}, label=label)
    with pytest.raises(DatasetError, match=complaint):
        list(Dataset.load(path, "test").samples())


@pytest.mark.parametrize("content", [b"", b"text", b"\xff\xd8\xff\xe0 cut off"])
def test_what_is_no_picture_is_explained(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match="not a picture"):
        read_picture(path)


def test_an_enormous_picture_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    with path.open("wb") as file:
        file.truncate(51_000_000)
    with pytest.raises(DatasetError, match="larger than"):
        read_picture(path)
