"""Tasks to try lrkit on: three that ship with their data, three that read data from a folder."""

from __future__ import annotations

from collections.abc import Callable

from lrkit.training.builtin.char_lm import char_lm
from lrkit.training.builtin.diabetes import diabetes
from lrkit.training.builtin.digits import digits, digits_cnn
from lrkit.training.builtin.mnist import mnist, mnist_cnn
from lrkit.training.task import Task

__all__ = ["BUILTIN_TASKS", "NEEDS_DATA"]

BUILTIN_TASKS: dict[str, Callable[..., Task]] = {
    "char-lm": char_lm,
    "diabetes": diabetes,
    "digits": digits,
    "digits-cnn": digits_cnn,
    "mnist": mnist,
    "mnist-cnn": mnist_cnn,
}

NEEDS_DATA = {
    "char-lm": "a UTF-8 text file",
    "mnist": "a folder with the four idx files",
    "mnist-cnn": "a folder with the four idx files",
}
