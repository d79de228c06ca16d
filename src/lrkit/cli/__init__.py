"""The command `lrkit`: thin, it parses, calls and prints. Importing it loads click and nothing heavier."""

from __future__ import annotations

from lrkit.cli.app import main

__all__ = ["main"]
