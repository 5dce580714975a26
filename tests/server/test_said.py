"""Findings in the reader's language: whatever a box says, the page shows a sentence and never breaks."""

from __future__ import annotations

import re
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.i18n import LANGUAGES, catalogue, translate
from server.policy import PERMISSIONS, ROLES
from server.said import causes, sentence
from telemetry.coldchain.wording import TEXTS, phrase

SHANGHAI = ZoneInfo("Asia/Shanghai")
NAMES = re.compile(r"{(\w+)}")


def test_the_centre_knows_every_phrase_with_its_arguments_in_both_languages() -> None:
    for key, text in TEXTS.items():
        entry = catalogue()[f"said_{key}"]
        assert entry["en"] == text
        assert sorted(NAMES.findall(entry["zh-CN"])) == sorted(NAMES.findall(text)), key


def test_a_sentence_is_written_in_the_language_and_the_zone_of_the_site() -> None:
    said = [
        phrase("rising", rate_c_per_s=0.01, since_at=1_767_229_200.0).encoded(),
        phrase("door_closed").encoded(),
        phrase("inside_for", lasting_s=9_000.0).encoded(),
    ]
    data = {"said": said, "reason": "rising"}
    assert sentence(data, "zh-CN", SHANGHAI) == "自 09:00 起以 0.6 °C/分钟 上升；门已关闭；已连续 2.5 小时 回到限值之内"
    assert sentence(data, "en", ZoneInfo("UTC")) == "rising 0.6 °C/min since 01:00; door closed; inside for 2.5 h"


def test_causes_are_named_and_say_what_they_rest_on() -> None:
    data = {
        "causes": ["door_open: the door has been open since 09:00"],
        "causes_said": [phrase("door_open_since", since_at=1_767_229_200.0).encoded()],
    }
    assert causes(data, "zh-CN", SHANGHAI) == ["门开着: 门自 09:00 起一直开着"]
    assert causes({"causes": data["causes"]}, "zh-CN", SHANGHAI) == data["causes"]


@pytest.mark.parametrize(
    "item",
    ["", "[]", "1", '["rising",{}]', '["rising",{"rate_c_per_s":"x"}]', '["nothing",{}]', '["rising",[1]]',
     '["rising",{"rate_c_per_s":1e999,"since_at":0}]', '["rising",{"rate_c_per_s":1,"since_at":1e300}]',
     '["rising",{"rate_c_per_s":true,"since_at":0}]'],
)  # fmt: skip
def test_what_the_centre_cannot_read_falls_back_to_the_boxs_own_words(item: str) -> None:
    assert sentence({"said": [item], "reason": "warm"}, "zh-CN", SHANGHAI) == "warm"


@given(st.lists(st.text(max_size=60)), st.sampled_from(LANGUAGES))
def test_no_words_of_a_box_break_a_page(coded: list[str], language: str) -> None:
    assert sentence({"said": coded}, language, SHANGHAI) is None or coded
    causes({"causes": coded, "causes_said": coded}, language, SHANGHAI)


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("covered", "镜头被遮挡"),
        ("offline: timed out", "摄像头离线: timed out"),
        ("its process died", "its process died"),
    ],
)
def test_a_blind_camera_says_why_in_the_readers_language(reason: str, text: str) -> None:
    assert sentence({"kind": "camera_blind", "reason": reason}, "zh-CN", SHANGHAI) == text


@pytest.mark.parametrize(("reason", "text"), [("recovered", "违规情形已消失"), ("period_over", "检查时段结束")])
def test_an_ended_violation_says_why_in_the_readers_language(reason: str, text: str) -> None:
    assert sentence({"kind": "no_hat", "reason": reason}, "zh-CN", SHANGHAI) == text


def test_every_permission_and_role_has_a_name_and_an_unknown_field_of_the_audit_log_keeps_its_own() -> None:
    keys = {f"may_{name.replace('.', '_')}" for name in PERMISSIONS} | {f"role_{role}" for role in ROLES}
    assert keys <= catalogue().keys()
    assert translate("zh-CN", "audit_field_dish") == "菜品"
    assert translate("zh-CN", "audit_field_new_thing") == "new thing"
