"""The range test: sweep the learning rate upward in short runs, and read a bracket off the losses."""

from lrkit.range_test.find import find_lr
from lrkit.range_test.result import RangeTest
from lrkit.range_test.rules import RULES

__all__ = ["RULES", "RangeTest", "find_lr"]
