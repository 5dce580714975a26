"""What a program may rely on: pages, tags, keys against doing twice, the document and a client made of it."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from server import idempotency
from server.assets import register
from server.boxes import pages
from server.models_access import ApiToken, StoredAnswer
from tests.server.tenancy.district import District, Somebody

TOKEN = {"name": "once", "permissions": ["alert.read"]}


@pytest.fixture
def who(district: District) -> Somebody:
    return district.somebody("regulator", "")


def send(
    district: District, who: Somebody, method: str, path: str, said: dict[str, str], **more: Any
) -> httpx.Response:
    return district.client_.request(method, path, headers={**who.headers, **said}, **more)


def count(district: District, who: Somebody) -> int:
    with district.database() as db:
        query = select(func.count()).select_from(ApiToken).where(ApiToken.user_id == who.user_id)
        return db.scalar(query) or 0


def test_a_post_with_the_same_key_is_done_once_and_answered_alike(district: District, who: Somebody) -> None:
    make = partial(send, district, who, "POST", "/api/v1/tokens", {"idempotency-key": "k1"})
    first, again = make(json=TOKEN), make(json=TOKEN)
    assert (first.status_code, again.status_code, first.content) == (201, 201, again.content)
    assert ("idempotency-replayed" in first.headers, again.headers["idempotency-replayed"]) == (False, "true")
    assert again.headers["content-type"] == first.headers["content-type"]
    assert count(district, who) == 1
    other = make(json={**TOKEN, "name": "other"})
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_used")
    assert count(district, who) == 1
    files = b"".join(path.read_bytes() for path in Path(district.settings.data_dir).glob("record.sqlite*"))
    assert first.json()["token"].encode() not in files  # the kept answer is sealed


def test_a_key_is_its_senders_own_and_ends_in_time(
    district: District, who: Somebody, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = district.somebody("regulator", "")
    said = {"idempotency-key": "k2"}
    assert send(district, who, "POST", "/api/v1/tokens", said, json=TOKEN).status_code == 201
    answer = send(district, other, "POST", "/api/v1/tokens", said, json=TOKEN)
    assert (answer.status_code, "idempotency-replayed" in answer.headers) == (201, False)
    monkeypatch.setattr(idempotency, "LIFE", -idempotency.LIFE)
    for _ in range(2):
        send(district, other, "POST", "/api/v1/tokens", {"idempotency-key": "k3"}, json=TOKEN)
    assert (count(district, who), count(district, other)) == (1, 3)


def test_a_refusal_leaves_the_key_free_and_a_cut_off_request_takes_it(district: District, who: Somebody) -> None:
    said = {"idempotency-key": "k4"}
    assert send(district, who, "POST", "/api/v1/tokens", said, json={**TOKEN, "days": 999}).status_code == 422
    assert send(district, who, "POST", "/api/v1/tokens", said, json=TOKEN).status_code == 201
    with district.database() as db:
        db.scalars(select(StoredAnswer).order_by(StoredAnswer.expires_at.desc())).first().status = None  # type: ignore[union-attr]
    cut = send(district, who, "POST", "/api/v1/tokens", said, json=TOKEN)
    assert (cut.status_code, cut.json()["code"]) == (409, "idempotency_in_progress")
    assert count(district, who) == 1
    assert send(district, who, "POST", "/api/v1/tokens", {"idempotency-key": "a b"}, json=TOKEN).status_code == 400


def test_a_form_sent_twice_with_a_key_is_one_move_though_its_boundary_is_drawn_anew(district: District) -> None:
    staff = district.somebody("staff", "B")
    path = f"/api/v1/alerts/{district.places['B'].alert_id}/moves/acknowledge"
    move = partial(send, district, staff, "POST", path, files={"note": (None, "seen")})
    assert [move({"idempotency-key": "form"}).status_code for _ in range(2)] == [200, 200]
    assert move({}).status_code == 409  # what a second one is without the key


def test_pages_lead_on_by_their_links_without_holes_or_doubles(district: District, who: Somebody) -> None:
    found: list[int] = []
    path: str | None = "/api/v1/alerts?limit=2&state=open"
    whole = [alert["id"] for alert in district.ask(who, "GET", "/api/v1/alerts?state=open").json()["alerts"]]
    while path:
        answer = district.ask(who, "GET", path)
        found += [alert["id"] for alert in answer.json()["alerts"]]
        path = answer.json()["next"]
        assert answer.headers.get("link") == (f'<{path}>; rel="next"' if path else None)
    assert found == whole
    assert district.ask(who, "GET", "/api/v1/alerts?limit=200").json()["next"] is None


def walked(district: District, who: Somebody, path: str, name: str) -> list[str]:
    """The ids of a list that is followed by its ``Link``."""
    found: list[str] = []
    while path:
        answer = district.ask(who, "GET", path)
        found += [str(item["id"]) for item in answer.json()[name]]
        path = answer.headers.get("link", "").partition(">")[0].removeprefix("<")
    return found


def test_boxes_and_sites_lead_on_by_their_links_too(
    district: District, who: Somebody, monkeypatch: pytest.MonkeyPatch
) -> None:
    boxes = [item["id"] for item in district.ask(who, "GET", "/api/v1/boxes").json()["boxes"]]
    assert len(boxes) == len(set(boxes)) == 3
    assert walked(district, who, "/api/v1/boxes?limit=1", "boxes") == boxes
    sites = [str(item["id"]) for item in district.ask(who, "GET", "/api/v1/sites").json()["sites"]]
    monkeypatch.setattr(register, "SITES_PER_PAGE", 1)
    assert walked(district, who, "/api/v1/sites", "sites") == sites
    assert {str(place.site_id) for place in district.places.values()} == set(sites)
    own = district.somebody("site_head", "A")
    beyond = f"/api/v1/boxes?after={district.places['B'].box_id}"  # of a site that they do not see
    assert district.ask(own, "GET", beyond).json() == {"boxes": [], "next": None}
    monkeypatch.setattr(pages, "BOXES_PER_PAGE", 2)
    page = district.ask(who, "GET", "/boxes").text
    assert [f'href="/boxes/{box_id}"' in page for box_id in boxes] == [True, True, False]
    assert f'href="/boxes?after={boxes[1]}" id="more"' in page
    assert f'href="/boxes/{boxes[2]}"' in district.ask(who, "GET", f"/boxes?after={boxes[1]}").text


def test_what_is_unchanged_is_not_sent_again(district: District, who: Somebody) -> None:
    for path in ("/api/v1/alerts", f"/api/v1/alerts/{district.places['A'].alert_id}", "/api/v1/reports"):
        tag = district.ask(who, "GET", path).headers["etag"]
        same = send(district, who, "GET", path, {"if-none-match": f'"x", W/{tag}'})
        assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
        assert send(district, who, "GET", path, {"if-none-match": '"x"'}).status_code == 200
    assert "brightline-version" not in same.headers


def test_a_change_is_made_only_to_what_the_caller_has_seen(district: District) -> None:
    staff = district.somebody("staff", "N")
    path = f"/api/v1/alerts/{district.places['N'].alert_id}"
    seen = district.ask(staff, "GET", path).headers["etag"]
    move = partial(send, district, staff, "POST", f"{path}/moves/acknowledge")
    stale = move({"if-match": '"99.0"'})
    assert (stale.status_code, stale.json()["code"]) == (412, "changed")
    assert move({"if-match": seen}).status_code == 200
    assert move({"if-match": seen}).status_code == 412
    assert district.ask(staff, "GET", path).headers["etag"] != seen


def test_the_document_names_who_may_how_often_and_what_goes_wrong(district: District) -> None:
    document = district.ask(None, "GET", "/api/openapi.json").json()
    operations = [item for path in document["paths"].values() for item in path.values()]
    assert set(document["components"]["securitySchemes"]) == {"token", "session"}
    for operation in operations:
        assert {"4XX", "5XX"} <= set(operation["responses"]), operation["operationId"]
        assert "security" in operation
    make = document["paths"]["/api/v1/tokens"]["post"]
    assert "Idempotency-Key" in [item["name"] for item in make["parameters"]]
    assert "RateLimit-Remaining" in make["responses"]["201"]["headers"]
    assert make["responses"]["4XX"]["content"]["application/problem+json"]["example"]["code"] == "not_allowed"


def test_a_client_generated_from_the_document_works(
    district: District, who: Somebody, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openapi_python_client", reason="openapi-python-client is not installed")
    document = district.ask(None, "GET", "/api/openapi.json").json()
    (tmp_path / "openapi.json").write_text(json.dumps(document), "utf-8")
    (tmp_path / "config.yaml").write_text("post_hooks: []\n", "utf-8")
    command = [
        "generate",
        "--path",
        "openapi.json",
        "--meta",
        "none",
        "--output-path",
        "centre_client",
        "--config",
        "config.yaml",
    ]
    made = subprocess.run(
        [sys.executable, "-m", "openapi_python_client", *command], cwd=tmp_path, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stdout + made.stderr
    monkeypatch.syspath_prepend(tmp_path)
    secret = district.ask(who, "POST", "/api/v1/tokens", json=TOKEN).json()["token"]
    client = importlib.import_module("centre_client").AuthenticatedClient("http://centre", token=secret)
    client.set_async_httpx_client(
        httpx.AsyncClient(
            transport=district.client_.client._transport, base_url="http://centre",
            headers={"authorization": f"Bearer {secret}"},
        )
    )  # fmt: skip
    alerts = importlib.import_module("centre_client.api.alerts.alerts_api_v1_alerts_get")
    answer = district.client_._portal.call(partial(alerts.asyncio_detailed, client=client))
    assert answer.status_code == 200
    assert {alert["site"] for alert in answer.parsed.to_dict()["alerts"]} == {"A", "B", "N"}
