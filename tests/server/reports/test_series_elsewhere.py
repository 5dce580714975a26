"""A report says the same wherever the series is kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from server.database import make_engine
from server.models import Box
from server.reports.builder import build_temperature
from server.reports.sensors import sensor_ids
from server.series.settings import Influx1Series, RecordSeries
from server.series.stores import open_store
from server.settings import Settings
from tests.series_servers import DATABASE, PASSWORD, USER, InfluxServer
from tests.server.reports.kitchen import END, START, Kitchen


@pytest.fixture
def engine(kitchen: Kitchen) -> Iterator[Engine]:
    engine = make_engine(Settings(data_dir=kitchen.centre.data))
    yield engine
    engine.dispose()


def test_a_report_over_points_in_influxdb_is_that_over_points_in_the_record(
    kitchen: Kitchen, engine: Engine, tmp_path: Path
) -> None:
    server = InfluxServer(tmp_path)
    try:
        settings = Influx1Series(
            type="influxdb1", url=server.url, database=DATABASE, username=USER, password=SecretStr(PASSWORD)
        )
        here, there = open_store(RecordSeries(), engine), open_store(settings, engine)
        with closing(here), closing(there), Session(engine) as db:
            box = db.get_one(Box, kitchen.box.box_id)
            for key in here.keys(box.id):
                there.write(list(here.range(key, 0, 2**42)))
            assert sensor_ids(there, box.id) == sensor_ids(here, box.id)
            assert "cold-1" in sensor_ids(there, box.id)
            mine = build_temperature(db, here, box, "cold-1", START, END)
            assert mine.assets[0].statistics.readings > 100
            assert build_temperature(db, there, box, "cold-1", START, END) == mine
    finally:
        server.stop()
