"""The search: which peak learning rate ends a training best, how sure that is, and what it cost to find out."""

from lrkit.search._search import search_lr
from lrkit.search.proposals import next_trials
from lrkit.search.result import FittedCurve, Search
from lrkit.search.sqlite_study import SqliteStudy
from lrkit.search.study import Study
from lrkit.search.trials import Proposal, Result, Settings, Stop, Trial

__all__ = [
    "FittedCurve",
    "Proposal",
    "Result",
    "Search",
    "Settings",
    "SqliteStudy",
    "Stop",
    "Study",
    "Trial",
    "next_trials",
    "search_lr",
]
