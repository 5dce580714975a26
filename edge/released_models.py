"""The cameras with the models that are in force: those of the box's own file, or what the centre rolled out.

A released model stands as the shadow of the one before it, which is thereby kept and takes its place again when it does
worse (`vision.shadow`); whether it is live from the start on, or only looks along, the release says.
"""

from __future__ import annotations

from collections.abc import Mapping

from edge.config import EdgeConfig
from edge.config_cameras import Camera, CameraModel, CameraShadow
from edge.model_folder import ModelFolder
from edge.trial_record import State


def with_models(config: EdgeConfig, folder: ModelFolder, states: Mapping[str, State]) -> EdgeConfig:
    """*config* with the models of each slot as its state says."""
    if not states:
        return config
    cameras = tuple(
        camera.model_copy(
            update={
                "model": None,
                "models": tuple(
                    _placed(camera, model, folder, states.get(model.place or "", State()))
                    for model in camera.models_used
                ),
            }
        )
        for camera in config.cameras
    )
    return config.model_copy(update={"cameras": cameras})


def _placed(camera: Camera, model: CameraModel, folder: ModelFolder, state: State) -> CameraModel:
    now, before = state.current, state.previous
    if not now.sha256:
        return model
    place = {"slot": model.place}
    if before.sha256 and (now.model_sha256 == before.model_sha256 or now.sha256 == before.sha256):
        return model.model_copy(update={**place, "path": folder.model(now), "shadow": None})
    looks = model.shadow or CameraShadow(path=folder.model(now))
    shadow = looks.model_copy(
        update={
            "path": folder.model(now),
            "live_by": now.command_id if now.mode == "live" else None,
            "rate_fps_before": now.rates_fps.get(camera.id, 0.0),
            "release": now.release,
        }
    )
    path = folder.model(before) if before.sha256 else model.path
    return model.model_copy(update={**place, "path": path, "shadow": shadow})


def states_of(folder: ModelFolder) -> dict[str, State]:
    """What is in force for each slot; changes nothing."""
    return {slot: folder.record(slot).state for slot in folder.slots()}


def start_models(folder: ModelFolder) -> dict[str, State]:
    """The same for a box that starts now: what is on trial too often, or not whole any more, is taken back.

    Raises OSError.
    """
    states = {}
    for slot in folder.slots():
        record = folder.record(slot)
        state = record.count_start()
        if state.previous.sha256 and not folder.is_whole(state.previous):
            state = record.forget_previous()
        if state.current.sha256 and not folder.is_whole(state.current):
            state = record.go_back("its files are not whole")
        states[slot] = state
    return states
