"""Checkpoints: tensors and plain data, written whole or not at all, read back without running anybody's code."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from lrkit.errors import StudyError
from lrkit.files import replace_atomically

__all__ = ["load_checkpoint", "save_checkpoint"]


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write `state` to `path` atomically. Raises StudyError when the disk is full or the folder cannot be written."""
    try:
        with replace_atomically(path) as file:
            torch.save(state, file)
    except OSError as error:
        raise StudyError(f"cannot write the checkpoint {path}: {error.strerror or error}") from error
    except RuntimeError as error:
        # torch's zip writer reports a failed write of its file as a RuntimeError.
        if (
            isinstance(error.__context__, OSError)
            or "PytorchStreamWriter" in str(error)
            or "inline_container" in str(error)
        ):
            raise StudyError(f"cannot write the checkpoint {path}: is the disk full?") from error
        raise


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU. Raises StudyError if it is damaged or holds more than tensors and plain data."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, ValueError, KeyError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise StudyError(f"cannot read the checkpoint {path}: {reason:.200}") from error
    if not isinstance(state, dict):
        raise StudyError(f"{path} is no checkpoint of lrkit: it holds a {type(state).__name__}")
    return state
