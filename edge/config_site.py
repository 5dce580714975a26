"""What holds for the whole site unless a camera says otherwise: opening hours and meals are written once."""

from __future__ import annotations

from edge.config_cameras import Camera, CameraTimes
from edge.section import Section


class SiteSection(Section):
    """``times``: what every camera of this box inherits."""

    times: CameraTimes = CameraTimes()


def inherit(camera: Camera, site: SiteSection, time_zone: str) -> Camera:
    """*camera* with the site's times, key by key, where it gives none; *time_zone* is the box's, where nobody does.

    A camera's ``open: []`` is an answer (always open), not a gap; ``meals`` replaces all of the site's meals.
    """
    given = {name: getattr(camera.times, name) for name in camera.times.model_fields_set}
    usual = {name: getattr(site.times, name) for name in site.times.model_fields_set}
    return camera.model_copy(
        update={"times": CameraTimes().model_copy(update={"time_zone": time_zone, **usual, **given})}
    )
