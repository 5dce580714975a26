"""The page of one box: what it lacks, which models judge, and a form whose commands reach it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import httpx
import pytest
from sqlalchemy import select

from server.models_audit import AuditEntry
from server.models_boxes import BoxCommand
from telemetry.batch import sha256_hex
from tests.server.centre import Box, Centre, reading
from tests.server.tenancy.district import District, Somebody, settled

MODEL = "ab12" * 16


@pytest.fixture(scope="module")
def district(tmp_path_factory: pytest.TempPathFactory, jpeg: Callable[..., bytes]) -> Iterator[District]:
    with settled(tmp_path_factory.mktemp("boxes") / "data", jpeg, ()) as made:
        yield made


@pytest.fixture(scope="module")
def box(district: District) -> Box:
    """Its second batch of readings never comes; its camera has told of its model twice."""
    made = Box(cast(Centre, district), "A")
    batches = [made.seal("readings", [reading(4.0, float(number))]) for number in range(3)]
    assert [made.send(batches[number]).status_code for number in (0, 2)] == [200, 200]
    now = datetime.now(UTC)
    for minutes, models in ((30, ["0" * 64]), (15, [MODEL])):
        data = {"camera_name": "备餐间 <b>", "started_at": now.isoformat(), "rows": [], "models": models}
        made.send_event("coverage", source_id="cam-1", at=now - timedelta(minutes=minutes), severity="info", data=data)
    return made


@pytest.fixture(scope="module")
def regulator(district: District) -> Somebody:
    return district.somebody("regulator", "A")


def ask(district: District, who: Somebody, box: Box, **fields: Any) -> httpx.Response:
    data = {"csrf": who.csrf, **fields}
    return district.ask(who, "POST", f"/boxes/{box.box_id}/commands", data=data)


def commands(district: District, box: Box) -> list[BoxCommand]:
    with district.database() as db:
        query = select(BoxCommand).where(BoxCommand.box_id == box.box_id)
        return list(db.scalars(query.order_by(BoxCommand.created_at)))


def test_page_shows_the_gap_and_the_newest_model_of_each_camera(
    district: District, box: Box, regulator: Somebody
) -> None:
    page = district.ask(regulator, "GET", f"/boxes/{box.box_id}").text
    for told in ("Readings 2 ", "not explained", MODEL[:12], "备餐间 &lt;b&gt;", '<option value="cam-1">'):
        assert told in page, told
    assert "000000000000" not in page
    assert f'href="/boxes/{box.box_id}"' in district.ask(regulator, "GET", "/boxes").text
    gap = {"epoch": box.epoch, "lane": "readings", "first_seq": 2, "last_seq": 2, "reason": "evicted"}
    box.send_event("data_gap", severity="warning", data=gap)
    assert "explained by the box" in district.ask(regulator, "GET", f"/boxes/{box.box_id}").text


def test_form_gives_commands_in_the_sites_time_and_each_is_audited(
    district: District, box: Box, regulator: Somebody, jpeg: Callable[..., bytes]
) -> None:
    assert ask(district, regulator, box, kind="snapshot", camera="cam-1").status_code == 303
    clip = ask(
        district, regulator, box, kind="clip", camera="cam-1", at="2026-01-02T11:04:05", before_s="3", after_s="9"
    )
    assert clip.headers["location"] == f"/boxes/{box.box_id}#commands"
    assert ask(district, regulator, box, kind="restart", camera="ignored").status_code == 303
    snapshot, film, restart = commands(district, box)
    assert (snapshot.kind, snapshot.arguments, restart.arguments) == ("snapshot", {"camera": "cam-1"}, {})
    told = {"camera": "cam-1", "at": "2026-01-02T03:04:05+00:00", "before_s": 3.0, "after_s": 9.0}
    assert film.arguments == told, "11:04 in Shanghai is 03:04 UTC"
    with district.database() as db:
        entries = db.scalars(select(AuditEntry).where(AuditEntry.action == "box.command")).all()
        assert [(entry.actor_name, entry.detail["kind"]) for entry in entries] == [
            (regulator.name, kind) for kind in ("snapshot", "clip", "restart")
        ]
    result = {"kind": "command", "status": "refused", "reason": "this box has no camera cam-1"}
    box.send_event("box_status", data={**result, "command_id": film.id})
    blob = jpeg(5)
    sealed = box.evidence(blob, snapshot.id, role="snapshot", kind="snapshot")
    assert box.send_evidence(sealed, sha256_hex(blob)).status_code == 201
    page = district.ask(regulator, "GET", f"/boxes/{box.box_id}").text
    assert f"/api/v1/evidence/{sha256_hex(blob)}" in page
    assert "the box has no such camera" in page


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"kind": "snapshot"}, "Choose a camera"),
        ({"kind": "clip", "camera": "cam-1", "at": "yesterday"}, "Give a moment that has passed"),
        ({"kind": "clip", "camera": "cam-1", "at": "2200-01-01T00:00:00"}, "Give a moment that has passed"),
        ({"kind": "clip", "camera": "cam-1", "at": "2026-01-02T11:04:05", "after_s": "9000"}, "after_s"),
        ({"kind": "hold"}, "kind"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(
    district: District, box: Box, regulator: Somebody, fields: dict[str, str], text: str
) -> None:
    before = len(commands(district, box))
    answer = ask(district, regulator, box, **fields)
    assert (answer.status_code, text in answer.text) == (422, True), answer.text
    assert len(commands(district, box)) == before


def test_form_is_for_those_who_may_give_commands_within_their_reach(
    district: District, box: Box, regulator: Somebody
) -> None:
    before = len(commands(district, box))
    head = district.somebody("site_head", "A")
    page = district.ask(head, "GET", f"/boxes/{box.box_id}")
    assert (page.status_code, 'id="ask"' in page.text) == (200, False)
    assert ask(district, head, box, kind="restart").status_code == 403
    assert ask(district, regulator, box, kind="restart", csrf="forged").status_code == 403
    stranger = district.somebody("regulator", "B")
    assert district.ask(stranger, "GET", f"/boxes/{box.box_id}").status_code == 404
    assert ask(district, stranger, box, kind="restart").status_code == 404
    assert ask(district, stranger, box, kind="clip", camera="cam-1", at="2026-01-02T11:04:05").status_code == 404
    assert len(commands(district, box)) == before


def test_page_is_in_the_readers_language(district: District, box: Box, regulator: Somebody) -> None:
    headers = {**regulator.headers, "accept-language": "zh-CN"}
    page = district.client_.request("GET", f"/boxes/{box.box_id}", headers=headers).text
    for told in ("立即抓拍", "数据缺口", "摄像头与模型摘要", "最近指令"):
        assert told in page, told
