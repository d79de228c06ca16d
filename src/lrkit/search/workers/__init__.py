"""Workers: the trials of a search in other processes, on this machine or on a Ray cluster."""

from lrkit.search.workers.cluster import RayExecutor
from lrkit.search.workers.pool import PoolExecutor
from lrkit.search.workers.travel import require_travel

__all__ = ["PoolExecutor", "RayExecutor", "require_travel"]
