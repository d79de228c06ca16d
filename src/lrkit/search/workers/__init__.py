"""Workers: the trials of a search in other processes, on this machine or on a Ray cluster."""

from lrkit.search.workers.cluster import RayExecutor
from lrkit.search.workers.pool import PoolExecutor

__all__ = ["PoolExecutor", "RayExecutor"]
