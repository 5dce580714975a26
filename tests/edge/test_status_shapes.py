"""The shapes that others rely on: Frigate's events and Home Assistant's discovery, and the section for them."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from edge.config import ConfigurationError, EdgeConfig, load
from edge.config_status import StatusMqttSection
from edge.status_events import OPEN_MAX, IncidentStory
from edge.status_topics import StatusTopics
from telemetry.messages import Event

AT = datetime(2026, 1, 2, tzinfo=UTC)
AT_S = AT.timestamp()
# frigate/events as Frigate documents it; boxes, areas and motion counts have no meaning for an incident of ours
FRIGATE = {
    "id", "camera", "frame_time", "label", "sub_label", "top_score", "false_positive", "start_time", "end_time",
    "score", "current_zones", "entered_zones", "has_snapshot", "has_clip",
}  # fmt: skip


def event(kind: str, at_s: float, incident: str = "i1", **data: Any) -> Event:
    return Event(
        event_id=f"{incident}.{kind}.{at_s}", incident_id=incident, type=kind, severity="warning",
        source_id="kitchen-1", at=AT + timedelta(seconds=at_s),
        data={"kind": "no_mask", "camera_name": "备餐间 1", "place": "备餐间", **data},
    )  # fmt: skip


def test_a_violation_is_told_as_new_update_and_end_of_one_tracked_object() -> None:
    story = IncidentStory()
    new = story.tell(event("violation_opened", 0, zone="prep", confidence=0.8, evidence=["a", "b"], duration_s=5.0))
    update = story.tell(event("violation_updated", 9, zone="prep", evidence=["a", "b", "film"]))
    end = story.tell(event("violation_closed", 60, zone="prep", reason="recovered"))
    assert new is not None
    assert update is not None
    assert end is not None
    assert [item["type"] for item in (new, update, end)] == ["new", "update", "end"]
    for message in (new, update, end):
        assert set(message["before"]) >= FRIGATE
        assert set(message["after"]) >= FRIGATE
    assert (new["before"]["false_positive"], new["before"]["current_zones"]) == (True, [])
    assert update["before"] == new["after"]
    assert end["before"] == update["after"]
    after = end["after"]
    assert {key: after[key] for key in sorted(FRIGATE)} == {
        "id": "i1", "camera": "kitchen-1", "frame_time": AT_S + 60, "label": "no_mask", "sub_label": None,
        "top_score": 0.8, "false_positive": False, "start_time": AT_S, "end_time": AT_S + 60, "score": 0.8,
        "current_zones": [], "entered_zones": ["prep"], "has_snapshot": True, "has_clip": True,
    }  # fmt: skip
    assert (new["after"]["has_snapshot"], new["after"]["has_clip"], new["after"]["end_time"]) == (True, False, None)
    assert (after["severity"], after["name"], after["place"]) == ("warning", "备餐间 1", "备餐间")
    assert after["data"] == {"duration_s": 5.0, "reason": "recovered"}


def test_an_incident_from_before_the_start_has_no_start_time_that_nobody_knows() -> None:
    message = IncidentStory().tell(event("violation_closed", 60))
    assert message is not None
    assert (message["type"], message["after"]["start_time"], message["after"]["end_time"]) == ("end", None, AT_S + 60)


@pytest.mark.parametrize(
    "kind", ["camera_blind", "sensor_fault", "sensor_recovered", "coverage", "box_status", "defrost"]
)
def test_what_is_no_incident_of_a_rule_is_no_event(kind: str) -> None:
    assert IncidentStory().tell(event(kind, 0)) is None


def test_incidents_that_never_end_do_not_fill_the_memory() -> None:
    story = IncidentStory()
    for number in range(OPEN_MAX + 10):
        story.tell(event("violation_opened", number, f"i{number}"))
    assert len(story._open) == OPEN_MAX
    gone = story.tell(event("violation_closed", 1, "i0"))
    assert gone is not None
    assert gone["after"]["start_time"] is None


def whole(**status: Any) -> EdgeConfig:
    def sensor(name: str, quantity: str, unit: str) -> dict[str, Any]:
        return {
            "type": "mqtt", "id": name, "name": name, "broker": "m", "topic": name, "field": "t", "quantity": quantity,
            "unit_of_measure": unit,
        }  # fmt: skip

    return EdgeConfig.model_validate(
        {
            "box": {"name": "canteen-1", "data_dir": "x"},
            "server": {"url": "https://centre.example"},
            "sensors": [
                sensor("air", "temperature", "°C"),
                sensor("a.b", "door", ""),
                sensor("a_b", "humidity", "permille"),
            ],
            "cameras": [{"id": "kitchen-1", "name": "备餐间", "source": "rtsp://camera/1"}],
            "status_mqtt": {"host": "broker.example", "home_assistant": True, **status},
        }
    )


def discovered() -> dict[str, dict[str, Any]]:
    config = whole(topic_prefix="site/kitchens")
    assert config.status_mqtt is not None
    topics = StatusTopics(config.status_mqtt, "box:1")
    return {topic: json.loads(payload) for topic, payload in topics.discovery(config)}


def test_every_sensor_and_every_alarm_is_an_entity_of_one_device() -> None:
    found = discovered()
    assert len(found) == 3 * 3 + 2
    assert len({entity["unique_id"] for entity in found.values()}) == len(found)
    for topic, entity in found.items():
        assert re.fullmatch(r"homeassistant/(binary_)?sensor/[A-Za-z0-9_-]+/[A-Za-z0-9_-]+/config", topic), topic
        assert entity["availability_topic"] == "site/kitchens/box:1/available"
        assert entity["state_topic"].startswith("site/kitchens/box:1/")
        assert entity["device"]["identifiers"] == ["brightline_box:1"]
        assert entity["device"]["name"] == "canteen-1"


def test_values_get_home_assistants_class_only_with_a_unit_that_it_takes() -> None:
    by_name = {
        entity["name"]: (topic.split("/")[1], entity.get("device_class"), entity.get("unit_of_measurement"))
        for topic, entity in discovered().items()
    }
    assert by_name["air"] == ("sensor", "temperature", "°C")
    assert by_name["a.b"] == ("binary_sensor", "door", None)
    assert by_name["a_b"] == ("sensor", None, "permille")
    assert by_name["air 超限 alarm"] == by_name["备餐间 违规 violation"] == ("binary_sensor", "problem", None)


@pytest.mark.parametrize("prefix", ["", "#", "a/+/b", "/a", "a/", "$SYS", "a\0b", "x" * 65])
def test_a_prefix_that_is_no_topic_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError):
        StatusMqttSection(host="b", topic_prefix=prefix)


FILE = """\
box: {name: b, data_dir: box}
server: {url: https://centre.example}
brokers: [{id: m, host: b, port: 1883, client_id: box}]
status_mqtt:
  host: b
"""


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("password: secret", "status_mqtt.password: must not stand in this file"),
        ("tls: {ca_file: gone.pem}", "status_mqtt.tls.ca_file: is no file"),
        ("client_id: box", "status_mqtt.client_id: is the session of a broker already"),
        ("qos: 2", "status_mqtt.qos: "),
        ("topic: x", "status_mqtt.topic: unknown key"),
    ],
)
def test_a_wrong_status_section_is_told_with_its_line(tmp_path: Path, line: str, problem: str) -> None:
    path = tmp_path / "box.yaml"
    path.write_text(f"{FILE}  {line}\n", "utf-8")
    with pytest.raises(ConfigurationError, match=re.escape(f"{path}:6: {problem}")):
        load(path)


def test_without_the_section_there_is_no_status() -> None:
    assert (
        EdgeConfig.model_validate(
            {"box": {"name": "b", "data_dir": "x"}, "server": {"url": "https://c.example"}}
        ).status_mqtt
        is None
    )
