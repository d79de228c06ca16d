from lrkit.duration import Duration as Duration
from lrkit.duration import Horizon as Horizon
from lrkit.errors import LrkitError as LrkitError
from lrkit.optim import Scheduler as Scheduler
from lrkit.optim import snapshot as snapshot
from lrkit.plan import Plan as Plan
from lrkit.range_test import RangeTest as RangeTest
from lrkit.range_test import find_lr as find_lr
from lrkit.schedule import Curve as Curve
from lrkit.schedule import Schedule as Schedule
from lrkit.schedule import absolute as absolute
from lrkit.schedule import cosine as cosine
from lrkit.schedule import cyclic as cyclic
from lrkit.schedule import exponential as exponential
from lrkit.schedule import from_function as from_function
from lrkit.schedule import hold as hold
from lrkit.schedule import inverse_sqrt as inverse_sqrt
from lrkit.schedule import linear as linear
from lrkit.schedule import milestones as milestones
from lrkit.schedule import one_cycle as one_cycle
from lrkit.schedule import one_cycle_momentum as one_cycle_momentum
from lrkit.schedule import one_minus_sqrt as one_minus_sqrt
from lrkit.schedule import polynomial as polynomial
from lrkit.schedule import restarts as restarts
from lrkit.schedule import staircase as staircase
from lrkit.schedule import warmup as warmup
from lrkit.search import Search as Search
from lrkit.search import search_lr as search_lr
from lrkit.spec import parse as parse
from lrkit.training import Task as Task
from lrkit.training import supervised as supervised
from lrkit.training import train as train
from lrkit.tuning import Tuning as Tuning
from lrkit.tuning import tune as tune

__all__: list[str]
__version__: str
