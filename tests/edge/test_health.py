"""A box does its work when it read a probe and the centre took something, both since its start."""

from __future__ import annotations

import pytest

from edge.health import Health
from telemetry.messages import Reading
from tests.server.centre import reading

BAD = [reading(None)]
GOOD = [reading(None), reading(4.0)]


@pytest.mark.parametrize(
    ("readings", "reached", "lacks"),
    [
        ([], True, "no sensor could be read"),
        (BAD, True, "no sensor could be read"),
        (GOOD, False, "the centre could not be reached"),
        (GOOD, True, ""),
    ],
)
def test_what_does_not_work_yet_is_named(readings: list[Reading], reached: bool, lacks: str) -> None:
    health = Health(has_sensors=True, reached=lambda: reached)
    health.take(readings)
    assert health.lacks() == lacks


def test_box_without_probes_needs_the_centre_alone() -> None:
    assert Health(has_sensors=False, reached=lambda: True).lacks() == ""
