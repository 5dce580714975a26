"""The API as a whole: documented, one shape of error, headers on every answer, honest about its health."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import APIRouter
from fastapi.routing import APIRoute
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from server.app import PARTS, create_app
from server.deps import StateDep, in_thread, transaction
from server.settings import Settings
from tests.server.centre import Centre, Person, is_problem


@pytest.fixture(scope="module")
def client(centre: Centre) -> Iterator[httpx.Client]:
    with centre.client() as client:
        yield client


def has_headers(answer: httpx.Response) -> bool:
    return (
        "default-src 'self'" in answer.headers["content-security-policy"]
        and answer.headers["x-content-type-options"] == "nosniff"
        and answer.headers["referrer-policy"] == "same-origin"
    )


def test_a_healthy_centre_says_so(client: httpx.Client) -> None:
    answer = client.get("/api/v1/health")
    assert (answer.status_code, answer.json()["status"], answer.json()["database"]) == (200, "ok", "ok")


def test_every_error_is_a_problem_document_with_the_headers(client: httpx.Client) -> None:
    answers = {
        404: client.get("/nowhere"),
        405: client.delete("/api/v1/health"),
        401: client.get("/api/v1/alerts"),
        422: client.post("/api/v1/enrol", json={"code": 1}),
        400: client.post("/api/v1/batches", content=b"x"),
        413: client.post("/api/v1/enrol", content=bytes(70_000)),
        403: client.post("/api/v1/login", data={"username": "x", "password": "y"}),
    }
    for status, answer in answers.items():
        assert answer.status_code == status
        assert is_problem(answer), answer.text
        assert has_headers(answer)
    assert answers[405].headers["allow"] == "GET"
    assert client.post("/api/v1/enrol", content=b"{broken").status_code == 422
    assert client.get("/static/../cli.py").status_code == 404
    assert client.get("/static/%2e%2e/cli.py").status_code == 404


def test_every_answer_carries_the_security_headers(client: httpx.Client, staff: Person) -> None:
    for answer in (
        client.get("/login"),
        client.get("/"),
        client.get("/static/app.css"),
        client.get("/api/docs"),
        client.get("/api/v1/health"),
        staff.get("/"),
        staff.get("/api/v1/alerts"),
    ):
        assert has_headers(answer), answer.url
    assert staff.get("/api/v1/alerts").headers["cache-control"] == "no-store"


def test_the_openapi_document_lists_every_route_and_its_errors(client: httpx.Client, data: Path) -> None:
    document = client.get("/api/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    routes = [route for part in PARTS for route in part.router.routes if isinstance(route, APIRoute)]
    assert set(document["paths"]) == {route.path for route in routes if route.include_in_schema}
    assert len(document["paths"]) > 30
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    for operation in operations:
        kind = "application/json" if operation["tags"] == ["gateways"] else "application/problem+json"  # InfluxDB's own
        assert kind in operation["responses"]["4XX"]["content"]
        assert operation["description"]
    written = json.dumps(document)
    for reference in set(_references(document)):
        name = reference.removeprefix("#/components/schemas/")
        assert name in document["components"]["schemas"], reference
    assert "HTTPValidationError" not in written
    photo = document["paths"]["/api/v1/alerts/{alert_id}/rectifications"]["post"]["requestBody"]["content"]
    assert photo["multipart/form-data"]["schema"]["required"] == ["photo", "person", "matter", "scene"]


def _references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        for item in value.values():
            yield from _references(item)
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)


def test_the_api_page_can_be_read_without_scripts_from_elsewhere(client: httpx.Client) -> None:
    page = client.get("/api/docs")
    assert page.status_code == 200
    for path in client.get("/api/openapi.json").json()["paths"]:
        assert path in page.text
    assert "https://" not in page.text


async def ask(settings: Settings, routes: APIRouter, *requests: tuple[str, str]) -> list[httpx.Response]:
    """Answers of an application in this process, with routes of a test's own."""
    app = create_app(settings)
    app.include_router(routes)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client,
    ):
        return list(await asyncio.gather(*(client.request(method, path) for method, path in requests)))


def test_a_centre_without_its_database_says_503(data: Path) -> None:
    routes = APIRouter()

    @routes.get("/lose")
    def lose(state: StateDep) -> None:
        data.rename(data.with_name("lost"))  # at once: removing it races with what writes in the background
        state.engine.dispose()

    async def scene() -> list[httpx.Response]:
        first = await ask(Settings(data_dir=data), routes, ("GET", "/api/v1/health"))
        app = create_app(Settings(data_dir=data))
        app.include_router(routes)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client,
        ):
            await client.get("/lose")
            return [*first, await client.get("/api/v1/health"), await client.get("/api/v1/alerts", cookies=None)]

    well, ill, _ = asyncio.run(scene())
    assert (well.status_code, ill.status_code) == (200, 503)
    assert ill.json()["database"] == "failing"
    assert has_headers(ill)


def test_a_busy_database_is_503_and_a_fault_is_500_both_as_problems(
    data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    routes = APIRouter()

    @routes.get("/busy")
    def busy() -> None:
        raise OperationalError("SELECT", {}, Exception("database is locked"))

    @routes.get("/fault")
    def fault() -> None:
        raise RuntimeError("secret detail")

    locked, broken = asyncio.run(ask(Settings(data_dir=data), routes, ("GET", "/busy"), ("GET", "/fault")))
    assert (locked.status_code, locked.headers["retry-after"]) == (503, "5")
    assert broken.status_code == 500
    for answer in (locked, broken):
        assert is_problem(answer)
        assert has_headers(answer)
    assert "strict-transport-security" in broken.headers
    assert "secret detail" not in broken.text
    assert caplog.text.count("RuntimeError: secret detail") == 1


def test_a_waiting_writer_does_not_hold_the_event_loop(data: Path) -> None:
    """One request holds the write lock; another that wants it waits; a third is answered meanwhile."""
    routes, held, let_go = APIRouter(), threading.Event(), threading.Event()

    @routes.get("/hold")
    async def hold(state: StateDep) -> None:
        def work() -> None:
            with transaction(state) as db:
                db.execute(text("SELECT 1"))
                held.set()
                assert let_go.wait(30)

        await in_thread(work)

    @routes.get("/read")
    async def read() -> None:
        assert await in_thread(lambda: held.wait(30))

    async def scene() -> list[int]:
        app = create_app(Settings(data_dir=data))
        app.include_router(routes)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client,
        ):
            holding = asyncio.create_task(client.get("/hold"))
            await client.get("/read")
            body = {"code": "x", "public_key": "AAAA" * 10 + "AAA=", "name": "box"}
            waiting = asyncio.create_task(client.post("/api/v1/enrol", json=body))
            begun = time.monotonic()
            health = await client.get("/api/v1/health")
            assert time.monotonic() - begun < 10
            assert not holding.done()
            assert not waiting.done()
            let_go.set()
            return [health.status_code, (await holding).status_code, (await waiting).status_code]

    assert asyncio.run(scene()) == [200, 200, 403]
