"""The audit log in the reader's language: codes become words, what people wrote stays."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from server.assets.sheets import SHEETS
from server.audit_words import VOCABULARIES, tell
from server.i18n import catalogue
from server.life_cycle.recheck import Result
from server.life_cycle.rules import REASONS
from server.life_cycle.state import STATES
from server.models_audit import AuditEntry
from server.policy import PERMISSIONS, ROLES


@pytest.mark.parametrize(
    ("about", "detail", "told"),
    [
        ("alert", {"from": "open", "to": "closed", "note": "open"}, ["原为: 待处理", "说明: open", "变为: 已关闭"]),
        ("alert", {"result": "violating", "evidence": None}, ["复查结果: 仍不合规"]),
        ("box", {"kind": "restart", "state": "refused"}, ["种类: 重启边缘盒", "结果: 已拒绝"]),
        ("user", {"role": "auditor", "username": "auditor"}, ["角色: 审计人员", "用户名: auditor"]),
        ("token", {"permissions": "alert.read alert.hold"}, ["权限: 查看预警, 设置和解除证据保全"]),
        ("record", {"kind": "daily"}, ["种类: 日管控"]),
        ("channel", {"kind": "mail", "tiers": 1}, ["种类: 邮件", "提醒范围: 仅 Ⅰ 级"]),
        ("sample", {"early": False, "dish": ""}, ["提前取出: 否"]),
        (
            "contacts",
            {"changed": {"role": ["chef", "site_head"], "phone": ["", "138****0000"]}},
            ["变更: 职务: 厨师长 → 单位负责人; 电话: – → 138****0000"],
        ),
        ("contacts", {"changed": "role: chef → site_head"}, ["变更: role: chef → site_head"]),  # as it was noted once
        ("box", {"kind": "dance", "colour": "red"}, ["亮牌: red", "种类: dance"]),
    ],
)
def test_the_audit_log_tells_codes_by_their_words_and_leaves_what_people_wrote(
    about: str, detail: dict[str, Any], told: list[str]
) -> None:
    entry = AuditEntry(object_type=about, detail=detail)
    assert [": ".join(item) for item in tell(entry, "zh-CN")] == told


def test_every_code_that_the_audit_log_notes_has_a_word() -> None:
    codes: dict[tuple[str, str], tuple[str, ...]] = {
        ("alert", "from"): STATES, ("alert", "to"): STATES, ("user", "role"): ROLES,
        ("token", "permissions"): PERMISSIONS,
        ("alert", "colour"): ("yellow", "red"), ("alert", "result"): get_args(Result),
        ("interview", "reason"): REASONS,
    }  # fmt: skip
    words = catalogue()
    for place, known in codes.items():
        assert [code for code in known if VOCABULARIES[place] + code.replace(".", "_") not in words] == []
    for sheet in SHEETS.values():
        for column in sheet.columns:
            assert {f"asset_{column.name}", *map(column.label, column.choices)} <= words.keys()
