"""Puts together what watches one camera: its models, and a guard for every rule in every zone.

Here is refused what would watch for ever and find nothing: a violation whose classes no model of the camera knows is a
configuration error that names them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from vision.catalogue import DEFAULT_CONFIDENCE, Catalogue, Rule
from vision.detector import Detector
from vision.faces import FaceHider, SharedImage, tells_of_people
from vision.frame import Frame
from vision.guard import Guard
from vision.judgement import least_confidence
from vision.looker import STALE_INTERVALS, STALE_S, LoadedModel, Looker
from vision.manifest import ModelError
from vision.model_shelf import ModelShelf
from vision.shadow import ModelChange, Shadow, current_use, shadow_refused
from vision.shadow_folder import Refusal, ShadowFolder
from vision.violation import ViolationMachine, ViolationRule
from vision.watch_settings import ModelUse, Watched, WatchSettings
from vision.zones import Zone


def tell_nobody(number: int) -> Callable[[bool], None]:
    """For a process whose death nobody looks into."""
    del number
    return lambda _: None


class Crew:
    """The lookers and guards of one camera; raises ModelError or ValueError for settings that cannot work.

    ``in_shadow`` gives, by the number of its model, whom to tell when a candidate goes into native code.
    """

    def __init__(
        self,
        settings: WatchSettings,
        detectors: Sequence[Detector] | None = None,
        shelf: ModelShelf | None = None,
        in_shadow: Callable[[int], Callable[[bool], None]] = tell_nobody,
    ) -> None:
        catalogue = Catalogue.load(settings.catalogue)
        if detectors is None:
            shelf = shelf or ModelShelf()
            uses = [current_use(use, settings.shadow_dir, number) for number, use in enumerate(settings.models)]
            models = [LoadedModel.load(use, shelf) for use in uses]
        else:
            models = [LoadedModel(detector) for detector in detectors]
        self._models = models
        self.thresholds: dict[str, float] = {}
        self._gather_thresholds()
        rules = [(item, catalogue.rule(item.code, dict(item.changes))) for item in settings.violations]
        self._rules = [rule for _, rule in rules]
        for rule in self._rules:
            settings.times.check(rule.active)
        self.lookers = _lookers(settings, models, self._rules, self.thresholds)
        self._witnesses = [looker for looker in self.lookers if tells_of_people(looker.detector.names.values())]
        self._hider = FaceHider(checked=bool(self._witnesses), face_model=settings.face_model)
        self._refusals: list[Refusal] = []
        if shelf is not None and settings.shadow_dir is not None and detectors is None:
            self._add_shadows(uses, settings, settings.shadow_dir, shelf, in_shadow)
        self.guards = [
            self._guard(settings, item, rule, zone)
            for item, rule in rules
            for zone in settings.zones_for(item, catalogue.violations[item.code].zones)
        ]

    @property
    def models(self) -> tuple[str, ...]:
        """The SHA-256 of the models that judge now."""
        return tuple(sorted({looker.detector.sha256 for looker in self.lookers}))

    def share(self, frame: Frame) -> SharedImage:
        """*frame* with faces hidden: asks every model that knows people or heads about this very picture."""
        return self._hider.hide(
            frame.image, [item for looker in self._witnesses for item in looker.sightings_in(frame)]
        )

    def _gather_thresholds(self) -> None:
        self.thresholds.clear()
        for model in reversed(self._models):  # of the models that know a class, the first one's word counts
            self.thresholds.update(model.thresholds)

    def _add_shadows(
        self,
        uses: Sequence[ModelUse],
        settings: WatchSettings,
        folder: Path,
        shelf: ModelShelf,
        in_shadow: Callable[[int], Callable[[bool], None]],
    ) -> None:
        for number, use in enumerate(uses):
            if use.shadow is None:
                continue
            looker, kept = self.lookers[number], ShadowFolder(folder / str(number), use.shadow.keep_days)
            crashed = number in settings.crashed_shadows
            if refusal := shadow_refused(use, kept, crashed=crashed):
                if crashed or use.shadow.release:  # a release that is off at once has failed
                    self._refusals.append(refusal)
                continue
            at_work = in_shadow(number)
            at_work(True)
            try:
                other = LoadedModel.load(replace(use, path=use.shadow.path), ModelShelf())  # one thread, of its own
            finally:
                at_work(False)
            swap = partial(self._swap, number, shelf)
            looker.shadow = Shadow(use, self._models[number], other, kept, swap, looker.detect_with, at_work=at_work)

    def _swap(self, number: int, shelf: ModelShelf, use: ModelUse) -> tuple[LoadedModel, LoadedModel]:
        """Make *use* the one in force; returns its live model and shadow. After a ModelError nothing has changed."""
        assert use.shadow is not None
        live = LoadedModel.load(use, shelf)
        other = LoadedModel.load(replace(use, path=use.shadow.path), ModelShelf())
        self._models[number] = live
        self._gather_thresholds()
        self.lookers[number].adopt(live, _confident(self._rules, self.thresholds))
        return live, other

    def news(self) -> Iterator[ModelChange]:
        """Models that changed places since the last call."""
        for looker in self.lookers:
            while looker.shadow is not None and looker.shadow.news:
                yield looker.shadow.news.popleft()

    def refusals(self) -> Iterator[Refusal]:
        """Candidates that were turned off since the last call."""
        while self._refusals:
            yield self._refusals.pop(0)

    def _guard(self, settings: WatchSettings, item: Watched, rule: Rule, zone: Zone) -> Guard:
        looker = self._looker_of(item.code, rule)
        gap_s_max = max(STALE_S, STALE_INTERVALS * self.lookers[looker].interval_s)
        timing = ViolationRule(item.code, rule.dwell_s, rule.recover_s, rule.window_share, rule.cool_down_s, gap_s_max)
        resumed = [
            incident.incident_id
            for incident in settings.open_incidents
            if (incident.kind, incident.zone) == (item.code, zone.zone_id)
        ]
        return Guard(item.code, rule, zone, ViolationMachine(timing, resumed[0] if resumed else None), looker)

    def _looker_of(self, code: str, rule: Rule) -> int:
        known = [name for looker in self.lookers for name in sorted(looker.classes)]
        if missing := sorted(set(rule.needs) - set(known)):
            raise ModelError(
                f"{code} needs the classes {', '.join(rule.needs)}; the models of this camera know "
                f"{', '.join(known) or 'none'}; missing: {', '.join(missing)}; use another model or drop {code}"
            )
        for number, looker in enumerate(self.lookers):
            if set(rule.subjects) <= looker.classes:
                return number
        raise ModelError(f"{code}: no single model of this camera knows all of {', '.join(rule.subjects)}")


def _lookers(
    settings: WatchSettings, models: Sequence[LoadedModel], rules: Sequence[Rule], thresholds: Mapping[str, float]
) -> list[Looker]:
    zones = {zone.zone_id: zone for zone in settings.zones}
    groups = class_groups(rules, [name for model in models for name in model.detector.names.values()])
    confident = _confident(rules, thresholds)
    ids = itertools.count(1)
    taken: set[str] = set()
    lookers = []
    for use, model in zip(settings.models, models, strict=True):
        classes = frozenset(model.detector.names.values()) - taken
        taken |= classes
        looker = Looker(
            model,
            classes=classes,
            interval_s=1 / min(use.rate_fps or settings.rate_fps, settings.rate_fps),
            regions=[zones[name] for name in use.regions],
            confident=confident,
            groups=groups,
            ids=ids,
            confident_else=DEFAULT_CONFIDENCE,
        )
        lookers.append(looker)
    return lookers


def _confident(rules: Iterable[Rule], thresholds: Mapping[str, float]) -> dict[str, float]:
    """What each class needs to begin a track: the least that a rule on it asks for."""
    confident: dict[str, float] = dict(thresholds)
    for rule in rules:
        for name in rule.subjects:
            least = least_confidence(rule, name, thresholds)
            confident[name] = min(least, confident.get(name, least))
    return confident


def class_groups(rules: Iterable[Rule], names: Iterable[str]) -> dict[str, int]:
    """Classes that one rule sees as states of the same object share a number; every other class has its own."""
    groups = {name: number for number, name in enumerate(dict.fromkeys(names))}
    for rule in rules:
        numbers = {groups[name] for name in rule.subjects if name in groups}
        if numbers:
            groups = {name: min(numbers) if number in numbers else number for name, number in groups.items()}
    return groups
