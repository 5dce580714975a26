"""What all tests share: the order of their files, Hypothesis's settings, and a small font for reports.

The longest files begin first, so that no worker is left alone with one at the end. A file that is not named keeps its
place behind them; a wrong figure costs time and nothing else.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

# how long an example takes tells of the machine, which several share, and nothing of what is tested
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")
SECONDS = {  # of one worker on two cores, about
    "scenario/test_power_cut_and_outage": 120,
    "scenario/test_demo": 110,  # the demo as it is, in its own time
    "browser/test_phone_widths": 55,
    "browser/test_closed_loop": 50,
    "server/series/test_carrier": 45,
    "server/reports/test_sign_off": 40,
    "server/reports/test_verify_reports": 40,
    "chaos/test_kills": 40,
    "contract/test_record_store": 35,
    "vision/test_rtsp_faults": 35,
    "chaos/test_lines": 33,
    "server/tenancy/test_matrix": 32,
    "edge/test_stop": 29,
    "structure/test_readme": 28,
    "server/reports/test_haccp": 25,
    "server/test_schema": 22,
    "server/boxes/test_revocation": 20,
    "server/test_verify": 20,
    "chaos/test_clock": 20,
    "chaos/test_slaves": 21,
    "chaos/test_broker": 17,
    "vision/test_replay": 15,
    "browser/test_push": 19,  # after the other browser: two at once are slow
    "edge/test_camera_child": 18,
    "load/test_outage": 15,
    "browser/test_zones_page": 1,
}


@pytest.fixture(scope="session")
def font_settings(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Lines of a centre.yaml with which a PDF costs little; none without an installed font."""
    from tests.small_font import make_small_font  # it imports the server, which most workers do without

    font = make_small_font(tmp_path_factory.mktemp("font"))
    return f"report_font: {font.model_dump_json()}\n" if font else ""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Longest files first; the sort is stable, so the tests of a file stay in their order."""
    items.sort(key=lambda item: -SECONDS.get(item.nodeid.partition(".py")[0].removeprefix("tests/"), 0))
