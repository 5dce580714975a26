"""What the page of the roll-outs says: each refusal and each reason has a sentence in the reader's language."""

from __future__ import annotations

import ast
from datetime import UTC, datetime
from pathlib import Path

import pytest

from server.i18n import LANGUAGES, translate
from server.rollout import desk, model_upload, pages
from server.rollout.state import Standing, next_step
from server.rollout.wording import refusal, rollout_reason, told_by_box

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def refusals() -> set[str]:
    """The words of every refusal in the sources, with an x where they name something."""
    found = set()
    for module in (desk, model_upload, pages):
        for node in ast.walk(ast.parse(Path(str(module.__file__)).read_text("utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args):
                continue
            said = node.args[0] if node.func.id == "RolloutRefused" else node.args[-1]
            branches = (said.body, said.orelse) if isinstance(said, ast.IfExp) else (said,)
            if node.func.id in ("RolloutRefused", "Problem"):
                found |= {text for branch in branches if (text := words(branch))}
    return found


def words(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    parts = node.values if isinstance(node, ast.JoinedStr) else []
    return "".join(str(part.value) if isinstance(part, ast.Constant) else "x" for part in parts)


# of programs alone: the form gives neither regions nor so many boxes
PROGRAMS_ONLY = {"there is no such region", "at most x boxes"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_refusal_of_the_sources_has_a_sentence_of_its_own(language: str) -> None:
    found = refusals() - PROGRAMS_ONLY
    assert len(found) > 10
    general = translate(language, "rollout_refused")
    # upload's parts are named manifest and model
    assert [
        text for text in found if refusal(text.replace("x has at most", "model has at most"), language)[0] == general
    ] == []
    assert refusal("out of the blue", language) == (general, "out of the blue")


def test_detail_is_shown_to_whoever_can_mend_the_files_with_it() -> None:
    digest = "the model's SHA-256 is 1, the manifest says 2"
    assert refusal(digest, "en") == ("The model is not the one that the manifest names.", digest)
    assert refusal("the manifest: names: missing", "zh-CN") == ("清单有误。", "the manifest: names: missing")
    assert refusal("no box is meant", "zh-CN") == ("请选择版本和边缘盒。", "")


@pytest.mark.parametrize(
    ("boxes", "text"),
    [
        (
            [Standing("box-1", 0, "failed", NOW), Standing("box-2", 0, "applied", NOW, silent=True)],
            "甲 失败; box-2 失联",
        ),
        ([Standing("box-1", 0, "refused", NOW), Standing("box-2", 0, "refused", NOW)], "甲, box-2 未接受"),
    ],
)
def test_reason_of_the_clockwork_names_the_boxes(boxes: list[Standing], text: str) -> None:
    step = next_step("running", 0, 900, 1, boxes, NOW)
    assert step is not None
    assert rollout_reason(step.reason, {"box-1": "甲"}, "zh-CN") == text


def test_words_of_a_box_stay_where_no_sentence_is_known() -> None:
    assert told_by_box("no answer", "zh-CN") == "没有应答"
    assert told_by_box("limits.yaml:3: high_c: not a number", "zh-CN") == "limits.yaml:3: high_c: not a number"
    assert rollout_reason("of another release of this program", {}, "zh-CN") == "of another release of this program"
