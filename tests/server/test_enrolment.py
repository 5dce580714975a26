"""A box becomes known by a code that works once, and by nothing else."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from telemetry.signing import Signer
from tests.server.centre import Centre, is_problem

KEY = Signer.generate().public_key_b64


def enrol(centre: Centre, code: str, key: str = KEY) -> httpx.Response:
    with centre.client() as client:
        return client.post("/api/v1/enrol", json={"code": code, "public_key": key, "name": "box"})


def test_a_code_works_once(centre: Centre) -> None:
    code = centre.enrol_code()
    first, second = enrol(centre, code), enrol(centre, code)
    assert first.status_code == 201
    assert first.json()["site"] == "Canteen A"
    assert first.json()["time_zone"] == "Asia/Shanghai"
    assert second.status_code == 403
    assert is_problem(second)


def test_a_code_used_by_many_at_once_makes_one_box(centre: Centre) -> None:
    code = centre.enrol_code()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: enrol(centre, code).status_code, range(8)))
    assert sorted(answers) == [201] + [403] * 7


def test_an_unknown_code_is_refused(centre: Centre) -> None:
    answer = enrol(centre, "000000-000000-000000")
    assert answer.status_code == 403
    assert is_problem(answer)


def test_an_expired_code_is_refused_in_the_same_words(centre: Centre) -> None:
    code = centre.enrol_code()
    with sqlite3.connect(centre.data / "record.sqlite") as db:
        db.execute("UPDATE enrolment_code SET expires_at = '2020-01-01 00:00:00.000000' WHERE used_at IS NULL")
    db.close()
    answer = enrol(centre, code)
    assert answer.status_code == 403
    assert answer.json() == enrol(centre, "unknown").json()


@pytest.mark.parametrize("key", ["", "AAAA", "not base64!", "密钥", "A" * 65])
def test_a_bad_key_is_refused_and_does_not_use_up_the_code(centre: Centre, key: str) -> None:
    code = centre.enrol_code()
    answer = enrol(centre, code, key)
    assert answer.status_code == 422
    assert is_problem(answer)
    assert enrol(centre, code).status_code == 201


def test_codes_are_kept_as_digests_only(centre: Centre) -> None:
    code = centre.enrol_code()
    files = b"".join(path.read_bytes() for path in centre.data.glob("record.sqlite*"))
    assert code.encode() not in files
