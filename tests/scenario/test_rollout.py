"""A release goes from a real centre to a real box: proved there, or taken back by the box itself, over any kill."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.scenario.rollout_site import Site, running_site

CONFIG = """
box: {{name: b, data_dir: data}}
server: {{url: "{url}"}}
remote: {{allow: [apply], trial_s: 0.5}}
replays: [{{id: day, file: day.csv}}]
sensors: [{{type: replay, id: cold-1, name: 冷库, file: day, column: cold}}]
limits: [{{sensor: cold-1, high_c: 8, delay_s: 600}}]
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("rollout")
    begun = datetime(2026, 1, 2, tzinfo=UTC)
    rows = [f"{(begun + timedelta(seconds=second)).isoformat()},4.0" for second in range(600)]
    (folder / "day.csv").write_text("time,cold\n" + "\n".join(rows))
    with running_site(folder, CONFIG) as made:
        yield made


def roll_out(site: Site, high_c: float) -> int:
    document = f"limits: [{{sensor: cold-1, high_c: {high_c}, delay_s: 600}}]".encode()
    return site.begin(site.post("/api/v1/releases", params={"name": f"{high_c} C"}, content=document))


def test_release_is_proved_over_a_kill_and_one_that_kills_the_box_is_taken_back_by_itself(site: Site) -> None:
    site.kill.write_text("rename")
    good = roll_out(site, 6)
    site.wait_for(good, "running", "applied")
    assert not site.kill.exists()
    site.take_back(good)
    bad = roll_out(site, 5)
    shown = site.wait_for(bad, "rolled_back", "failed")
    assert "started 3 times and did not stay up" in shown["boxes"][0]["reason"]
    assert site.box.poll() is None


@pytest.mark.slow
@pytest.mark.parametrize("step", ["start", "confirmation"])
def test_kill_after_the_release_is_on_the_disk_is_made_good_by_the_next_start(site: Site, step: str) -> None:
    site.kill.write_text(step)
    rollout = roll_out(site, 6)
    site.wait_for(rollout, "running", "applied")
    assert not site.kill.exists()
    site.take_back(rollout)


@pytest.mark.slow
def test_kill_before_the_release_is_on_the_disk_pauses_the_rollout_until_a_person_goes_on(site: Site) -> None:
    site.kill.write_text("download")
    rollout = roll_out(site, 7)
    shown = site.wait_for(rollout, "paused", "refused")
    assert shown["boxes"][0]["reason"] == "the box was interrupted"
    assert not site.kill.exists()
    site.post(f"/api/v1/rollouts/{rollout}/resume")
    site.wait_for(rollout, "running", "applied")
    site.take_back(rollout)
