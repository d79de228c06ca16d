"""How to react: pure state machines that look at a metric and say what to do with the lr. Needs no torch."""

from __future__ import annotations

from lrkit.control._plateau import Plateau, PlateauState, plateau
from lrkit.control.protocol import Action, Controller, ControllerState, Observation, replay

__all__ = [
    "Action",
    "Controller",
    "ControllerState",
    "Observation",
    "Plateau",
    "PlateauState",
    "plateau",
    "replay",
]
