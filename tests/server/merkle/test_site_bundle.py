"""The export of a site's days holds what people signed, kept and entered; what is left out or changed is found."""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from server.cli import main
from server.merkle.bundle_check import verify_bundle
from server.merkle.public_keys import PublicKeys, read_public_keys
from tests.server.centre import Box, Centre
from tests.server.merkle.test_bundle import changed
from tests.server.self_control.canteen import DAY, QUIET_DAY, Canteen
from tests.server.tenancy.district import new_sample, settled


@pytest.fixture(scope="module")
def canteen(tmp_path_factory: pytest.TempPathFactory, jpeg: Callable[..., bytes]) -> Iterator[Canteen]:
    """Canteen A with a report, a record of two editions, one of before, two samples of which one ended, a register."""
    with settled(tmp_path_factory.mktemp("papers") / "data", jpeg, ["A"], people=()) as district:
        people = {role: district.somebody(role, "A") for role in ("staff", "safety_officer", "site_head", "regulator")}
        made = Canteen(district, Box(cast(Centre, district), "A"), district.places["A"].site_id, people)
        number = made.signed("daily", DAY)
        made.signed("daily", QUIET_DAY)
        correction = {"target": "item.D04.action", "corrected": "更换门封", "reason": "写错"}
        path = f"/api/v1/self-control/records/{number}/corrections"
        assert made.ask("safety_officer", "POST", path, data=correction).status_code == 201
        sample = made.ask("staff", "POST", f"/api/v1/self-control/samples?site={made.site_id}", json=new_sample())
        gone = f"/api/v1/self-control/samples/{sample.json()['id']}/removed"
        assert made.ask("staff", "POST", gone, data={"reason": "x"}).status_code == 200
        for number_ in ("备-1", "备-2"):
            row: dict[str, Any] = {"name": "一号库", "filing_number": number_}
            put = made.ask("site_head", "PUT", f"/api/v1/sites/{made.site_id}/assets/cold_rooms", json=row)
            assert put.status_code == 200, put.text
        yield made


@pytest.fixture(scope="module")
def exported(canteen: Canteen, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, PublicKeys]:
    folder = tmp_path_factory.mktemp("exported")
    data = str(canteen.district.settings.data_dir)
    until = (datetime.now(UTC) + timedelta(days=2)).date().isoformat()
    span = ["--from", DAY.isoformat(), "--to", until]
    assert main(["export", str(folder / "days.zip"), "--site", "A", *span, "--data", data]) == 0
    with pytest.MonkeyPatch.context() as patch, (folder / "keys.txt").open("w") as out:
        patch.setattr("sys.stdout", out)
        assert main(["keys", "--data", data]) == 0
    return folder / "days.zip", read_public_keys(folder / "keys.txt")


def without(kind: str, place: int) -> Callable[[str, bytes], bytes]:
    """Leaves one item of a kind out of the list, the one at *place* among them."""

    def edit(name: str, data: bytes) -> bytes:
        if name != "bundle.json":
            return data
        listed = json.loads(data)
        mine = [item for item in listed["items"] if item["kind"] == kind]
        listed["items"].remove(mine[place])
        return json.dumps(listed).encode()

    return edit


def test_the_days_come_with_records_samples_and_the_register(exported: tuple[Path, PublicKeys]) -> None:
    bundle, keys = exported
    found = verify_bundle(bundle, keys)
    assert (found.problems, found.gaps) == ([], [])
    with zipfile.ZipFile(bundle) as archive:
        kinds = Counter(item["kind"] for item in json.loads(archive.read("bundle.json"))["items"])
        assert [json.loads(archive.read(name)) for name in archive.namelist() if name.startswith("assets/")] == [
            ["cold_rooms", 1, {"filing_number": "备-2", "name": "一号库"}]
        ]
    papers = {"self_control": 2, "sample": 2, "sample_end": 1, "asset": 2, "report": 1, "report_file": 1}
    assert {kind: kinds[kind] for kind in papers} == papers
    assert (found.documents, found.samples, found.assets) == (3, 2, 1)


@pytest.mark.parametrize("folder", ["records/", "assets/", "reports/"])
def test_a_changed_word_is_found(exported: tuple[Path, PublicKeys], tmp_path: Path, folder: str) -> None:
    def edit(name: str, data: bytes) -> bytes:
        return data.replace(b"A", b"B") + b" " if name.startswith(folder) else data

    problems = verify_bundle(changed(exported[0], tmp_path / "x.zip", edit), exported[1]).problems
    assert problems
    assert all("its bytes are not those of its digest" in line for line in problems)


@pytest.mark.parametrize(
    ("kind", "place", "said"),
    [
        ("self_control", 0, "1 of 2 editions are in the bundle"),
        ("sample", 1, "its end is in the bundle without it"),
    ],
)
def test_what_is_left_out_is_found(
    exported: tuple[Path, PublicKeys], tmp_path: Path, kind: str, place: int, said: str
) -> None:
    found = verify_bundle(changed(exported[0], tmp_path / "x.zip", without(kind, place)), exported[1])
    assert any(said in line for line in found.problems), found.problems


def test_a_document_without_its_bytes_is_found(exported: tuple[Path, PublicKeys], tmp_path: Path) -> None:
    bundle = changed(exported[0], tmp_path / "x.zip", lambda name, data: None if name.startswith("records/") else data)
    problems = verify_bundle(bundle, exported[1]).problems
    assert [line.partition(": ")[2] for line in problems] == ["its bytes are not in the bundle"] * 2


def test_a_list_that_makes_no_sense_is_told_and_breaks_nothing(
    exported: tuple[Path, PublicKeys], tmp_path: Path
) -> None:
    def edit(name: str, data: bytes) -> bytes:
        if name != "bundle.json":
            return data
        listed = json.loads(data)
        for item in listed["items"]:
            item["leaf"] = item["leaf"][: 1 + item["position"] % 3]
        return json.dumps(listed).encode()

    found = verify_bundle(changed(exported[0], tmp_path / "x.zip", edit), exported[1])
    assert sum("does not lead to the root" in line for line in found.problems) == found.items
