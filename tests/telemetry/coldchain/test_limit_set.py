"""Limit sets: every file that ships loads, each value names its source, and loosening leaves a trace."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from telemetry.coldchain.limit_set import LimitError, LimitSet, adapt

FOLDER = Path(__file__).resolve().parents[3] / "configs" / "limits"
FRIDGE = LimitSet.model_validate(yaml.safe_load((FOLDER / "canteen-refrigerator.yaml").read_text("utf-8")))


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_set_that_ships_loads_and_is_named_as_its_file(path: Path) -> None:
    limits = LimitSet.model_validate(yaml.safe_load(path.read_text("utf-8")))
    assert limits.id == path.stem
    assert all(value is None or value.source for value in (limits.high, limits.low))


def test_the_sets_that_the_law_and_practice_ask_for_are_there() -> None:
    ids = {path.stem for path in FOLDER.glob("*.yaml")}
    assert ids >= {
        "storage-frozen", "storage-chilled", "transport-frozen", "transport-chilled", "canteen-refrigerator",
        "canteen-freezer", "hot-holding", "sample-retention", "receiving-frozen", "receiving-chilled",
        "us-food-code-cold", "us-food-code-hot", "eu-quick-frozen",
    }  # fmt: skip


def test_tightening_is_free_and_recorded() -> None:
    site = adapt(FRIDGE, high_c=5.0)
    assert (site.high_c, site.low_c) == (5.0, 0.0)
    assert site.changes == ("high limit tightened from 8 °C to 5 °C",)
    assert adapt(FRIDGE).changes == ()


def test_loosening_needs_a_reason_and_records_it() -> None:
    with pytest.raises(LimitError, match="loosen_reason"):
        adapt(FRIDGE, high_c=10.0)
    with pytest.raises(LimitError, match="loosen_reason"):
        adapt(FRIDGE, low_c=-2.0, reason="  ")
    site = adapt(FRIDGE, high_c=10.0, reason="fruit only")
    assert site.changes == ("high limit loosened from 8 °C to 10 °C: fruit only",)


def test_limits_that_cross_are_refused() -> None:
    with pytest.raises(LimitError, match="below"):
        adapt(FRIDGE, low_c=9.0)
    with pytest.raises(ValidationError):
        LimitSet.model_validate({"id": "x-y", "title": {"zh": "x", "en": "x"}, "use": "storage"})
