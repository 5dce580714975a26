"""The API by its own document: whatever fits it, or nearly fits it, is answered as documented, never with a fault."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from server import live
from server.app import create_app
from server.limits import Limits
from tests.server.tenancy.district import District, Somebody, settled

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES, EXAMPLES_SLOW = 2, 150
FREE = Limits(caller_per_s=1e9, caller_burst=10**9, address_per_s=1e9, address_burst=10**9)


@pytest.fixture(scope="module")
def open_district(tmp_path_factory: pytest.TempPathFactory, jpeg: Callable[..., bytes]) -> Iterator[District]:
    with settled(tmp_path_factory.mktemp("schema") / "data", jpeg, places=("A",), limits=FREE) as made:
        yield made


@pytest.fixture(autouse=True)
def short_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "STREAM_LIFE_S", 0.0)


def operations(district: District) -> list[APIOperation[Any, Any, Any]]:
    document = create_app(district.settings).openapi()
    found = [result.ok() for result in schemathesis.openapi.from_dict(document).get_all_operations()]
    assert len(found) > 25
    return found


def ask(district: District, who: Somebody, case: Case) -> httpx.Response:
    """Send a case exactly as its bytes would travel."""
    place = district.places["A"]
    real = {
        "alert_id": place.alert_id,
        "sha256": place.picture,
        "box_id": place.box_id,
        "sensor_id": "cold-1",
        "number": place.number,
    }
    if case.meta and case.meta.generation.mode is GenerationMode.POSITIVE:  # else hardly one names what there is
        case.path_parameters = {**case.path_parameters, **{k: v for k, v in real.items() if k in case.path_parameters}}
    said = case.as_transport_kwargs(base_url="http://centre", headers=who.headers)
    request = requests.Request(**{key: value for key, value in said.items() if key in REQUEST}).prepare()
    body = request.body.encode() if isinstance(request.body, str) else request.body or b""
    # as RFC 9110, 5.5 lets them be, beyond ASCII too: by itself this client refuses to send those
    headers = {key: _header_bytes(value) for key, value in request.headers.items() if key.lower() != "content-length"}
    return district.client_.request(str(request.method), str(request.url), content=body, headers=headers)


def _header_bytes(value: str | bytes) -> bytes:
    return value.encode("latin-1") if isinstance(value, str) else value


REQUEST = {"method", "url", "headers", "files", "data", "params", "auth", "cookies", "json"}


def try_out(district: District, examples: int) -> None:
    people = itertools.cycle(
        who for who in district.people if who.role in ("staff", "regulator", "administrator") and who.place in ("A", "")
    )
    wrong = []
    answered: Counter[int] = Counter()
    for operation in operations(district):
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

            @settings(
                max_examples=examples, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )  # fmt: skip
            @given(case=operation.as_strategy(generation_mode=mode))
            def answers(case: Case) -> None:
                answer = ask(district, next(people), case)
                answered[answer.status_code] += 1
                case.validate_response(answer, checks=CHECKS)

            try:
                answers()
            except Unsatisfiable:
                assert mode is GenerationMode.NEGATIVE, operation.label  # nothing in it can be wrong
            except FailureGroup as failures:
                wrong += [f"{operation.label}: {failure}" for failure in failures.exceptions]
    assert not wrong, "\n\n".join(wrong)
    assert {200, 401, 403, 404, 422} <= set(answered), answered  # it got past the first door
    assert answered[200] > examples * 5, answered


def test_no_request_makes_a_fault_and_every_answer_is_as_documented(open_district: District) -> None:
    try_out(open_district, EXAMPLES)


@pytest.mark.slow
def test_no_request_makes_a_fault_among_very_many(open_district: District) -> None:
    try_out(open_district, EXAMPLES_SLOW)
