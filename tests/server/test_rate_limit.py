"""How often somebody may ask: buckets that empty and fill, and what a caller is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
import pytest

from server import rate_limit
from server.limits import Limits
from server.rate_limit import Buckets
from tests.server.centre import PASSWORD, is_problem
from tests.server.tenancy.district import District, settled


@pytest.fixture
def tight(tmp_path_factory: pytest.TempPathFactory, jpeg: Callable[..., bytes]) -> Iterator[District]:
    """Nothing comes back in the time of a test."""
    slow = 0.001
    limits = Limits(
        caller_per_s=slow, caller_burst=3, address_per_s=slow, address_burst=8, failed_logins_per_minute=slow,
        failed_logins_burst=2,
    )  # fmt: skip
    with settled(tmp_path_factory.mktemp("tight") / "data", jpeg, places=(), limits=limits) as made:
        yield made


def test_a_bucket_empties_fills_with_time_and_holds_no_more_than_its_burst() -> None:
    now = [0.0]
    buckets = Buckets(2.0, 3, lambda: now[0])
    assert [buckets.spend("a").allowed for _ in range(4)] == [True, True, True, False]
    assert buckets.spend("b").allowed
    now[0] = 0.5
    assert [buckets.spend("a").allowed for _ in range(2)] == [True, False]
    now[0] = 1000.0
    assert [buckets.spend("a").remaining for _ in range(3)] == [2, 1, 0]
    refused = buckets.spend("a")
    assert refused.headers["retry-after"] == "1"
    buckets.refund("a")
    assert buckets.spend("a").allowed


def test_the_longest_unused_bucket_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limit, "BUCKETS_MAX", 2)
    buckets = Buckets(0.001, 1, lambda: 0.0)
    for name in ("a", "b", "a", "c"):
        buckets.spend(name)
    assert not buckets.spend("a").allowed
    assert buckets.spend("b").allowed


def ask(district: District, **headers: str) -> httpx.Response:
    return district.client_.request("GET", "/api/v1/alerts", headers=headers)


def test_a_caller_has_a_bucket_and_so_has_the_address_behind_made_up_callers(tight: District) -> None:
    who = tight.somebody("regulator", "")
    left = [tight.ask(who, "GET", "/api/v1/alerts") for _ in range(4)]
    assert [answer.status_code for answer in left] == [200, 200, 200, 429]
    assert [answer.headers["ratelimit-remaining"] for answer in left] == ["2", "1", "0", "0"]
    assert is_problem(left[3])
    assert int(left[3].headers["retry-after"]) > 0
    made_up = [ask(tight, authorization=f"Bearer {number}").status_code for number in range(6)]
    assert made_up == [401] * 4 + [429] * 2
    assert tight.client_.request("GET", "/api/v1/health").status_code == 200
    assert tight.client_.post("/api/v1/batches", content=b"x").status_code == 400
    picture = f"/api/v1/evidence/{'a' * 64}"
    assert tight.client_.request("PUT", picture, content=b"x").status_code == 400
    assert tight.ask(who, "GET", picture).status_code == 429


def test_an_address_fails_only_so_many_log_ins_whatever_names_it_tries(tight: District) -> None:
    who = tight.somebody("regulator", "")

    def log_in(name: str, password: str) -> httpx.Response:
        return tight.client_.post("/api/v1/login", data={"username": name, "password": password})

    assert log_in(who.name, PASSWORD).status_code == 200  # does not count
    assert [log_in(name, "wrong").json()["code"] for name in ("a", "b", "c")] == ["wrong_login"] * 2 + [
        "too_many_logins"
    ]
    refused = log_in(who.name, PASSWORD)
    assert (refused.status_code, is_problem(refused)) == (429, True)
    assert int(refused.headers["retry-after"]) > 0
