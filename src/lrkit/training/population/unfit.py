"""Unfit: why members cannot be one stack. It never leaves this package; its text becomes the route's reason."""

from __future__ import annotations

__all__ = ["Unfit"]


class Unfit(Exception):
    """These members do not fit into one stack, and must be trained one by one; the text says why."""
