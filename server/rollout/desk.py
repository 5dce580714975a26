"""Releases and roll-outs in the record: made, begun, moved, told of by boxes; all in the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.orm import Session

from server.audit import SYSTEM, Actor, note
from server.boxes.commands import CommandRefused, issue, waiting
from server.models import Box, Region, Site, User
from server.models_boxes import BoxCommand, BoxSilence
from server.models_notification import VendorSource
from server.rollout.models import Release, Rollout, RolloutBox
from server.rollout.standing import in_force
from server.rollout.state import AFTER_MOVE, UNDER_WAY, BoxState, Move, Standing, State, next_step, stage_of_each
from server.scope import WHOLE, reach_of, region_within, within
from telemetry.messages import Event
from telemetry.released_model import Mode
from telemetry.releases import KIND

BOXES_MAX = 1_000
LISTED_MAX = 100
VALID_S = 86_400  # of a command to apply: a box that is off for longer than a day is looked at by a person


class RolloutRefused(Exception):
    """A release or a roll-out that cannot be made; the message says why."""


@dataclass(frozen=True)
class Wanted:
    """A roll-out as somebody asks for it; the boxes are those of the sites, under the region, and those named."""

    release_id: int
    sites: Sequence[int] = ()
    region_id: int | None = None
    boxes: Sequence[str] = ()
    stages: Sequence[int | str] = (1, "10%", "100%")
    soak_s: int = 3600
    mode: Mode = "live"


@dataclass(frozen=True)
class Kept:
    """What is to be released, its bytes in the blob store already: a configuration, or with a *slot* a model."""

    name: str
    sha256: str
    size_bytes: int
    slot: str = ""
    model_sha256: str = ""


def make_release(db: Session, kept: Kept, user: User, actor: Actor) -> Release:
    """Note the release of what is *kept*."""
    row = Release(
        name=kept.name, sha256=kept.sha256, size_bytes=kept.size_bytes, slot=kept.slot, model_sha256=kept.model_sha256,
        kind="model" if kept.slot else "configuration", region_path=reach_of(user).region_path or WHOLE,
        made_by=actor.name, made_at=datetime.now(UTC),
    )  # fmt: skip
    db.add(row)
    db.flush()
    detail = {"name": kept.name, "sha256": kept.sha256, "slot": kept.slot, "model_sha256": kept.model_sha256}
    note(db, actor, "release.make", ("release", row.id), {key: value for key, value in detail.items() if value})
    return row


def usable(user: User) -> ColumnElement[bool]:
    """The releases made at, above or below the place of this person."""
    path = reach_of(user).region_path or ""
    above = [path[: index + 1] for index, char in enumerate(path) if char == "/"]
    return or_(Release.region_path.in_(above), Release.region_path.startswith(path, autoescape=True))


def releases_of(db: Session, user: User) -> list[Release]:
    """The newest first."""
    return list(db.scalars(select(Release).where(usable(user)).order_by(Release.id.desc()).limit(LISTED_MAX)))


def visible(user: User) -> ColumnElement[bool]:
    """The roll-outs of which this person may see every box."""
    strange = select(RolloutBox.rollout_id).join(Box, Box.id == RolloutBox.box_id).where(~within(user, Box.site_id))
    return Rollout.id.not_in(strange)


def rollouts_of(db: Session, user: User) -> list[Rollout]:
    """The newest first."""
    return list(db.scalars(select(Rollout).where(visible(user)).order_by(Rollout.id.desc()).limit(LISTED_MAX)))


def find_rollout(db: Session, user: User, rollout_id: int) -> Rollout | None:
    """The roll-out, if this person may see all its boxes."""
    return db.scalar(select(Rollout).where(Rollout.id == rollout_id, visible(user)))


def begin_rollout(db: Session, wanted: Wanted, user: User, actor: Actor, now: datetime) -> Rollout:
    """Begin; the first boxes are offered the release by the next turn of the worker. Raises RolloutRefused."""
    release = db.scalar(select(Release).where(Release.id == wanted.release_id, usable(user)))
    if release is None:
        raise RolloutRefused("there is no such release for you")
    if wanted.mode == "shadow" and release.kind != "model":
        raise RolloutRefused("only a model can look along as a shadow")
    boxes = _boxes(db, wanted, user)
    try:
        stages = stage_of_each(len(boxes), wanted.stages)
    except ValueError as error:
        raise RolloutRefused(str(error)) from error
    row = Rollout(
        release_id=release.id, stages=list(wanted.stages), soak_s=wanted.soak_s, mode=wanted.mode,
        state="running", stage=0, begun_by=actor.name, begun_at=now, changed_at=now,
    )  # fmt: skip
    db.add(row)
    db.flush()
    db.add_all(
        RolloutBox(
            rollout_id=row.id, box_id=box.id, position=position, stage=stage, state="waiting",
            previous_id=in_force(db, box.id, release), changed_at=now,
        )
        for position, (box, stage) in enumerate(zip(boxes, stages, strict=True))
    )  # fmt: skip
    note(
        db, actor, "rollout.begin", ("rollout", row.id), {"release": release.id, "boxes": len(boxes), "mode": row.mode}
    )
    db.flush()
    db.refresh(row)
    return row


def _boxes(db: Session, wanted: Wanted, user: User) -> list[Box]:
    """The boxes of a wish, by id; raises RolloutRefused when one is not there for this person or is taken."""
    places: list[ColumnElement[bool]] = [Box.id.in_(wanted.boxes), Box.site_id.in_(wanted.sites)]
    if wanted.region_id is not None:
        region = db.get(Region, wanted.region_id)
        if region is None:
            raise RolloutRefused("there is no such region")
        sites = select(Site.id).join(Region, Region.id == Site.region_id).where(region_within(region.path))
        places.append(Box.site_id.in_(sites))
    real = and_(Box.revoked_at.is_(None), Box.id.not_in(select(VendorSource.box_id)))
    query = select(Box).where(or_(*places), real, within(user, Box.site_id)).order_by(Box.id).limit(BOXES_MAX + 1)
    found = list(db.scalars(query).unique())
    if not found or (strange := set(wanted.boxes) - {box.id for box in found}):
        raise RolloutRefused(f"no such box for you: {', '.join(sorted(strange)[:5])}" if found else "no box is meant")
    if len(found) > BOXES_MAX:
        raise RolloutRefused(f"at most {BOXES_MAX} boxes")
    taken = _taken(db, [box.id for box in found])
    if taken is not None:
        raise RolloutRefused(f"{taken} is in a roll-out that is not over")
    return found


def move_rollout(db: Session, row: Rollout, move: Move, actor: Actor, now: datetime) -> None:
    """Pause, resume, or roll back by hand; raises RolloutRefused where that is not possible now."""
    after = AFTER_MOVE.get((cast(State, row.state), move))
    if after is None:
        raise RolloutRefused(f"a roll-out that is {row.state} cannot do that")
    latest = [in_force(db, item.box_id, row.release, ("live", "shadow")) for item in row.boxes]
    if row.state == "done" and set(latest) != {row.release_id}:
        raise RolloutRefused("a later roll-out changed one of its boxes")
    if row.state == "done" and _taken(db, [item.box_id for item in row.boxes]):
        raise RolloutRefused("one of its boxes is in a roll-out that is not over")
    if move == "resume":  # what was not taken is offered once more
        for item in row.boxes:
            if item.state == "refused":
                item.state, item.changed_at, item.reason = "waiting", now, ""
    row.state, row.reason, row.changed_at = after, "", now
    note(db, actor, f"rollout.{move}", ("rollout", row.id))


def _taken(db: Session, box_ids: Sequence[str]) -> str | None:
    """One of these boxes that is in a roll-out under way, if any is."""
    query = select(RolloutBox.box_id).join(Rollout, Rollout.id == RolloutBox.rollout_id)
    return db.scalar(query.where(Rollout.state.in_(UNDER_WAY), RolloutBox.box_id.in_(box_ids)).limit(1))


def turn(db: Session, now: datetime) -> list[str]:
    """One look at all that is under way; gives the boxes for which a command waits now."""
    rung: list[str] = []
    for row in db.scalars(select(Rollout).where(Rollout.state.in_(UNDER_WAY)).order_by(Rollout.id)).unique():
        _hear_commands(db, row, now)
        ids = [item.box_id for item in row.boxes]
        silent = set(db.scalars(select(BoxSilence.box_id).where(BoxSilence.box_id.in_(ids))))
        while step := next_step(
            cast(State, row.state), row.stage, row.soak_s, 1 + max(item.stage for item in row.boxes),
            [_standing(item, item.box_id in silent) for item in row.boxes], now,
        ):  # fmt: skip
            for item in row.boxes:
                if item.box_id in step.offer:
                    rung += _offer(db, item, row.release, "offered", now)
                elif item.box_id in step.take_back:
                    rung += _offer(db, item, _previous(db, item), "going_back", now)
            if (step.state, step.stage) != (row.state, row.stage):
                row.state, row.stage, row.changed_at = step.state, step.stage, now
                row.reason = (step.reason or row.reason)[:500]
                detail = {"stage": row.stage, "reason": row.reason}
                note(db, SYSTEM, f"rollout.{step.state}", ("rollout", row.id), detail)
    db.flush()
    return rung


def _standing(item: RolloutBox, silent: bool) -> Standing:
    return Standing(item.box_id, item.stage, cast(BoxState, item.state), item.changed_at, silent)


def _previous(db: Session, item: RolloutBox) -> Release | None:
    return db.get(Release, item.previous_id) if item.previous_id is not None else None


def _offer(db: Session, item: RolloutBox, release: Release | None, state: BoxState, now: datetime) -> list[str]:
    """Give the box the command; where too many wait already it stands as refused, or is tried again when going back."""
    said = {"release": str(release.id) if release else "", "sha256": release.sha256 if release else ""}
    if item.rollout.release.slot:
        mode = item.rollout.mode if state == "offered" else "live"
        digest = release.model_sha256 if release else ""
        said |= {"slot": item.rollout.release.slot, "mode": mode, "model_sha256": digest}
    item.state, item.changed_at = state, now
    try:
        item.command_id = issue(db, item.box, "apply", dict(said), SYSTEM, VALID_S).id
    except CommandRefused as error:
        item.command_id, item.reason = None, str(error)[:500]
        if state == "offered":
            item.state = "refused"
        return []
    return [item.box_id]


def _hear_commands(db: Session, row: Rollout, now: datetime) -> None:
    """What became of the commands; how a release fared is told apart, by `take_word`."""
    waits = [item for item in row.boxes if item.state in ("offered", "going_back")]
    ids = [item.command_id for item in waits if item.command_id]
    commands = {item.id: item for item in db.scalars(select(BoxCommand).where(BoxCommand.id.in_(ids)))}
    for item in waits:
        command = commands.get(item.command_id or "")
        if command is not None and command.state == "queued":
            continue
        if command is not None and command.state == "done":
            at_once = bool((command.result or {}).get("in_force"))
            if item.state == "going_back":
                item.state = "back" if at_once else "going_back"
            else:
                item.state = "applied" if at_once else "installed"
            item.changed_at = now
        elif item.state == "going_back":  # it must not keep the release because it was off, or busy
            _offer(db, item, _previous(db, item), "going_back", now)
        else:
            item.state, item.changed_at = "refused", now
            told = str((command.result or {}).get("reason", "")) if command is not None else ""
            item.reason = (told or "no answer")[:500]


def take_word(db: Session, box: Box, event: Event) -> None:
    """The box told how a release fared that it tried; only the command that is on record for it counts."""
    if event.type != "box_status" or event.data.get("kind") != KIND:
        return
    status = event.data.get("status")
    query = select(RolloutBox).where(
        RolloutBox.box_id == box.id, RolloutBox.command_id == str(event.data.get("command_id"))
    )
    item = db.scalar(query)
    if item is None or status not in ("applied", "failed"):
        return
    came_back = item.state == "going_back"
    if came_back:
        item.state = "back" if status == "applied" else "failed"
    elif item.state in ("offered", "installed") or (item.state == "refused" and item.rollout.state in UNDER_WAY):
        item.state = str(status)  # refused before: the command expired while the box had it
    elif item.state == "applied" and status == "failed":
        item.state = "failed"  # a model that did worse than the one before, seen after its time of trial
    else:
        return
    item.changed_at, item.reason = datetime.now(UTC), str(event.data.get("reason") or "")[:500]
    note(db, Actor("box", box.id, box.name), "rollout.word", ("rollout", item.rollout_id),
         {"status": status, "reason": item.reason}, site_id=box.site_id)  # fmt: skip


def may_fetch(db: Session, box_id: str, digest: str) -> bool:
    """Whether the box was offered these bytes, by a command that it may still carry out."""
    queued = [row.arguments for row in waiting(db, box_id, datetime.now(UTC)) if row.kind == "apply"]
    return any(digest in (said.get("sha256"), said.get("model_sha256")) for said in queued)
