"""A centre in this process with one canteen: a box that has sent a day's readings, and people of every role."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from anyio.from_thread import start_blocking_portal

from server.app import create_app
from server.settings import Settings
from tests.server.self_control.canteen import Canteen
from tests.server.tenancy.district import District, InProcess


@pytest.fixture(scope="module")
def canteen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Canteen]:
    settings = Settings(data_dir=tmp_path_factory.mktemp("canteen") / "data", secure_cookies=False)
    app = create_app(settings)
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(app.router.lifespan_context(app)):
        district = District(InProcess(app, portal), settings)
        yield Canteen.furnished(district)
        portal.call(district.client_.client.aclose)
