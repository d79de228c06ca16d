"""The search: which peak learning rate ends a training best, how sure that is, and what it cost to find out."""

from lrkit.search._search import search_lr
from lrkit.search.methods import Method
from lrkit.search.methods.registry import METHODS
from lrkit.search.result import FittedCurve, Search
from lrkit.search.setting import apply_values
from lrkit.search.sqlite_study import SqliteStudy
from lrkit.search.study import Study
from lrkit.search.trials import Proposal, Result, Settings, Stop, Trial

__all__ = [
    "METHODS",
    "FittedCurve",
    "Method",
    "Proposal",
    "Result",
    "Search",
    "Settings",
    "SqliteStudy",
    "Stop",
    "Study",
    "Trial",
    "apply_values",
    "search_lr",
]
