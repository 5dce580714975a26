"""The configuration as it is in force: the box's own file with the releases over it, and back when that cannot be."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge.config import ConfigurationError, EdgeConfig, load
from edge.model_folder import ModelFolder
from edge.released_models import start_models, states_of, with_models
from edge.releases import ReleaseFolder
from edge.trial_record import Installed
from telemetry.releases import ReleaseError


def load_in_force(path: Path) -> EdgeConfig:
    """What `run` would run with; changes nothing. Raises ConfigurationError."""
    return _with_models(load_without_models(path))


def load_with(path: Path, document: Mapping[str, Any]) -> EdgeConfig:
    """The same with another release of the configuration; raises ConfigurationError."""
    return _with_models(load(path, document))


def load_without_models(path: Path) -> EdgeConfig:
    """What `run` would run with, but for released models; raises ConfigurationError."""
    own = load(path)
    folder = ReleaseFolder(own.box.data_dir)
    return _with_release(path, own, folder, folder.state.current)


def start_in_force(path: Path) -> EdgeConfig:
    """The same for a box that starts now: a release on trial that cannot be used is taken back at once.

    Raises ConfigurationError when the box's own file is wrong, or does not fit any more to a release that had proved
    itself: whoever changed the file has to see that.
    """
    own = load(path)
    folder = ReleaseFolder(own.box.data_dir)
    state = folder.count_start()
    try:
        config = _with_release(path, own, folder, state.current)
    except ConfigurationError as error:
        if state.current.confirmed:
            raise
        state = folder.go_back(str(error))
        config = _with_release(path, own, folder, state.current)
    models = ModelFolder(config.box.data_dir)
    return with_models(config, models, start_models(models))


def give_up_trial(path: Path, error: ConfigurationError) -> bool:
    """The box could not start as configured: whether that was a release on trial, which is taken back now."""
    try:
        folder = ReleaseFolder(load(path).box.data_dir)
    except ConfigurationError:
        return False
    if folder.state.current.confirmed:
        return False
    folder.go_back(str(error))
    return True


def _with_models(config: EdgeConfig) -> EdgeConfig:
    models = ModelFolder(config.box.data_dir)
    return with_models(config, models, states_of(models))


def _with_release(path: Path, own: EdgeConfig, folder: ReleaseFolder, installed: Installed) -> EdgeConfig:
    if not installed.sha256:
        return own
    try:
        return load(path, folder.document(installed))
    except (ReleaseError, ConfigurationError) as error:
        raise ConfigurationError(f"with release {installed.release}: {error}") from error
