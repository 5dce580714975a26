"""The catalogue as shipped says what the domain says, and a wrong one is refused with the place."""

from __future__ import annotations

from pathlib import Path

import pytest

from vision.catalogue import Catalogue, CatalogueError

# DOMAIN: code, Chinese name, tiers
EXPECTED = {
    "rodent": ("老鼠", "I"),
    "cockroach": ("蟑螂", "I"),
    "unattended_flame": ("动火离人", "I"),
    "intruder": ("陌生人闯入", "I"),
    "raw_cooked_mixed": ("生熟混放", "I-II"),
    "smoking": ("抽烟", "II"),
    "bare_torso": ("赤膊", "II"),
    "no_mask": ("未戴口罩", "II"),
    "no_hat": ("未戴厨师帽", "II"),
    "no_uniform": ("未穿工作服", "II"),
    "open_bin": ("垃圾桶未盖", "II"),
    "phone_use": ("玩手机", "III"),
    "no_gloves": ("未戴手套", "III"),
    "absent_post": ("离岗/睡岗", "III"),
    "camera_blind": ("画面遮挡/离线", "II"),
    "licence_expiry": ("许可证/健康证到期", "II"),
    "temperature_excursion": ("温度异常", "I-II"),
}
GOOD = """
violations:
  - code: rodent
    zh: 老鼠
    en: Rodent
    zones: [all]
    tiers: [I]
    rectify: {fix_within_h: 24}
    rule: {kind: present, classes: [rat]}
"""


def test_the_shipped_catalogue_is_the_domains() -> None:
    shipped = Catalogue.load().violations
    assert {code: (item.zh, "-".join(item.tiers)) for code, item in shipped.items()} == EXPECTED
    rodent, flame = shipped["rodent"], shipped["unattended_flame"]
    assert (rodent.rectify.check_within_h, rodent.rectify.fix_within_h) == (2, 24)
    assert flame.rectify.fix_within_h == 0.25
    assert flame.rule is not None
    assert set(flame.rule.needs) == {"fire", "person"}


def test_all_five_kinds_of_rules_are_in_use() -> None:
    kinds = {item.rule.kind for item in Catalogue.load().violations.values() if item.rule is not None}
    assert kinds == {"present", "worn", "state", "presence", "absence"}


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("code: rodent", "code: Rodent!", "violations.0.code"),
        ("tiers: [I]", "tiers: [IV]", "violations.0.tiers.0"),
        ("{fix_within_h: 24}", "{}", "give fix_within_h, same_day"),
        ("kind: present", "kind: guessed", "violations.0.rule"),
        ("classes: [rat]", "classes: []", "classes"),
        ("classes: [rat]", "classes: [rat], dwell_s: 0", "dwell_s"),
        ("classes: [rat]", "classes: [rat], dwell_s: .nan", "dwell_s"),
        ("classes: [rat]", "classes: [rat], keep_confidence: 0.9", "must not be above confidence"),
        ("classes: [rat]", "classes: [rat], colour: red", "colour"),
        (
            "kind: present, classes: [rat]",
            "kind: worn, violating: [a]",
            "give violating and compliant, or wearer and item",
        ),
        ("kind: present, classes: [rat]", "kind: worn, wearer: [a], item: [b], violating: [c]", "or wearer and item"),
        ("violations:", "violations: [", "cannot be read as YAML"),
        ("en: Rodent", "", "violations.0.en"),
    ],
)
def test_a_wrong_catalogue_is_refused_with_file_and_place(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    assert old in GOOD
    (tmp_path / "a.yaml").write_text(GOOD.replace(old, new), "utf-8")
    with pytest.raises(CatalogueError, match=r"a\.yaml: ") as caught:
        Catalogue.load(tmp_path)
    assert complaint in str(caught.value)


def test_a_code_in_two_files_is_refused(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text(GOOD, "utf-8")
    with pytest.raises(CatalogueError, match=r"b\.yaml: rodent stands in the catalogue twice"):
        Catalogue.load(tmp_path)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="holds 0 catalogue files"):
        Catalogue.load(tmp_path)


def test_a_camera_may_change_values_of_a_rule_but_not_invent_any() -> None:
    shipped = Catalogue.load()
    rule = shipped.rule("no_mask", {"dwell_s": 7})
    assert (rule.dwell_s, rule.recover_s, rule.needs) == (7, 10, ("no_mask", "mask"))
    with pytest.raises(CatalogueError, match="no_mask: colour"):
        shipped.rule("no_mask", {"colour": "red"})


@pytest.mark.parametrize(
    ("code", "complaint"), [("juggling", "no such violation"), ("licence_expiry", "no detector supports it")]
)
def test_what_no_camera_can_watch_for_is_refused_with_what_it_can(code: str, complaint: str) -> None:
    with pytest.raises(CatalogueError, match=f"{code}: {complaint}.*; a camera can watch for absent_post, bare_torso"):
        Catalogue.load().rule(code)
