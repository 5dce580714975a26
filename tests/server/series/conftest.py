"""A real InfluxDB for each test module, and a centre that keeps its series there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.series_servers import PASSWORD, InfluxServer
from tests.server.centre import Centre


@pytest.fixture(scope="module")
def influxd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxServer]:
    server = InfluxServer(tmp_path_factory.mktemp("influx"))
    yield server
    server.stop()


@pytest.fixture
def influx_data(influxd: InfluxServer, tmp_path: Path) -> Path:
    """A record's folder whose series.yaml names the database; the database is empty."""
    influxd.query('DELETE FROM "reading"')
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    (data / "series.yaml").write_text(influxd.settings(), "utf-8")
    (data / "password").write_text(PASSWORD + "\n", "utf-8")
    return data


@pytest.fixture
def influx_centre(influx_data: Path) -> Iterator[Centre]:
    centre = Centre(influx_data)
    yield centre
    assert centre.stop() == 0
