"""The official client of InfluxDB 2 writes to a centre that runs, as a gateway would."""

from __future__ import annotations

from datetime import timedelta

import pytest
from influxdb_client import InfluxDBClient, Point
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.rest import ApiException

from tests.server.centre import AT, Centre


def test_the_official_client_writes_and_is_told_what_is_wrong(centre: Centre) -> None:
    administrator, auditor = centre.person("administrator"), centre.person("auditor")
    centre.enrol_code("Gateway site")  # makes the site, the first of this record
    wanted = {"name": "telegraf", "permissions": ["readings.write"], "site_id": 1}
    made = administrator.post("/api/v1/tokens", json=wanted, headers=administrator.csrf)
    assert made.status_code == 201, made.text
    points = [
        Point("temperature").tag("sensor_id", "cold-1").field("value", 4.0 + n).time(AT + timedelta(seconds=n))
        for n in range(500)
    ]
    with InfluxDBClient(centre.url, token=made.json()["token"], org="any", enable_gzip=True) as client:
        writer = client.write_api(write_options=SYNCHRONOUS)
        writer.write(bucket="any", record=points)
        with pytest.raises(ApiException) as refused:
            writer.write(bucket="any", record=Point("door").field("state", "open"))
        assert refused.value.status == 400
        assert refused.value.message.startswith("line_protocol: nothing was stored: line 1: a text field")
    sensors = auditor.get("/api/v1/reports/sensors").json()["sensors"]
    assert [sensor["sensor_id"] for sensor in sensors if sensor["box_id"].startswith("gateway-")] == ["cold-1"]
