"""What the names of a space mean: a task and a plan with other values than the user's. The lr is not among them.

    schedule       a spec, controllers included
    warmup         percent of the horizon: of the schedule's leading warmup, or of one put before it
    batch_size     of the train loader; an epoch has then more or fewer updates, and the run as many epochs as before
    momentum       the optimizer's `momentum`, or the first of its `betas`
    beta2          the second of its `betas`
    any other      a number that the optimizer takes: `weight_decay`, `eps`, `alpha` ...

Values are plain data and the changed tasks can travel to other processes wherever the user's own can.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import itertools
import math
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.utils.data import BatchSampler, DataLoader

from lrkit.duration import Duration, Horizon
from lrkit.errors import HorizonError, PlanError, SpecError, TaskError, did_you_mean
from lrkit.plan import Plan
from lrkit.schedule import Schedule, warmup
from lrkit.schedule.core import Ended, Then
from lrkit.schedule.shapes import Warmup
from lrkit.search.space import Choice, Parameter, Space
from lrkit.search.trials import Value, Values
from lrkit.spec import parse_spec
from lrkit.training import Task
from lrkit.training.batches import is_map_style, is_stateful
from lrkit.training.build import build_model, build_optimizer, torch_optimizers
from lrkit.training.data import Loader, resolve_loader
from lrkit.training.plans import task_horizon
from lrkit.training.seeding import seeded
from lrkit.training.task import optimizer_class

__all__ = ["apply_values", "check_space", "corners"]

_FIRST = ("batch_size", "schedule", "warmup")
"""What is not the optimizer's, in the order in which it is applied: a warmup goes before the schedule of its trial."""
_STARTED = 0.99
"""A schedule that begins at this factor or above does not rise by itself."""
_MOST_CORNERS = 4096
"""So many combinations are tried at most: each builds an optimizer, in about a millisecond."""


def apply_values(task: Task, plan: Plan, values: Values) -> tuple[Task, Plan]:
    """The task and the plan of a trial with these values; both are the same where there are none.

    A parameter group with an option of its own in the plan keeps it, and groups that the task's own function builds
    with a weight decay of 0 beside others that have one stay at 0. Raises SpecError, naming the value, where the name
    is unknown (with the nearest one that is known), or the value cannot be had.
    """
    given = dict(values)
    for name in [
        *(name for name in _FIRST if name in given),
        *(name for name in given if name not in _FIRST),
    ]:
        try:
            task, plan = _apply(task, plan, name, given[name])
        except (SpecError, HorizonError, PlanError, TaskError) as error:
            raise SpecError(f"{name} = {given[name]}: {error}") from error
    return task, plan


def check_space(task: Task, plan: Plan, space: Space) -> None:
    """Try both ends of every range and every option, alone and in all their combinations (up to 4096, beyond that in
    pairs), and build the optimizer with each: what would fail in a trial fails here. What makes the run (batch size,
    schedule, warmup) and the optimizer's numbers do not touch each other and are combined apart. Raises SpecError
    that names the values that do not go together, TaskError for a model that cannot be built.
    """
    reached: dict[Values, tuple[Task, Plan]] = {(): (task, plan)}
    for values in _tried(space, [name for name in _FIRST if name in space]):
        _reach(reached, values)
    numbers = [name for name in space if name not in _FIRST]
    if numbers:
        with seeded(0):
            model = build_model(task)
            for values in _tried(space, numbers):
                _build(*_reach(reached, values), model, values)


def corners(space: Space, names: Iterable[str]) -> Iterator[Values]:
    """All combinations of the options and the range ends of those of `names` that are in the space; one empty one
    where none is. In the order of `names`.
    """
    named = [name for name in names if name in space]
    for values in itertools.product(*(_ends(space[name]) for name in named)):
        yield tuple(zip(named, values, strict=True))


def _tried(space: Space, names: Sequence[str]) -> Iterator[Values]:
    """The corners of each name, of each pair, and of all names: few first, so that an error names few values."""
    for size in (1, 2):
        for chosen in itertools.combinations(names, size):
            yield from corners(space, chosen)
    if len(names) > 2 and math.prod(len(_ends(space[name])) for name in names) <= _MOST_CORNERS:
        yield from corners(space, names)


def _ends(parameter: Parameter) -> tuple[Value, ...]:
    return parameter.options if isinstance(parameter, Choice) else (parameter.low, parameter.high)


def _reach(reached: dict[Values, tuple[Task, Plan]], values: Values) -> tuple[Task, Plan]:
    """The task and the plan with these values, one put on after the other; each beginning is made once."""
    if values not in reached:
        before = _reach(reached, values[:-1])
        try:
            reached[values] = apply_values(*before, values[-1:])
        except SpecError as error:
            raise SpecError(f"{_beside(values)}{error}") from error
    return reached[values]


def _beside(values: Values) -> str:
    """What the last of the values goes with, for an error about that one."""
    others = ", ".join(f"{name} = {value}" for name, value in values[:-1])
    return f"with {others}, " if others else ""


def _apply(task: Task, plan: Plan, name: str, value: Value) -> tuple[Task, Plan]:
    match name:
        case "schedule":
            spec = parse_spec(str(value))
            control = tuple(map(str, spec.control))
            return task, dataclasses.replace(plan, schedule=spec.schedule, control=control)
        case "warmup":
            percent = _number(value, low=0.0, high=100.0)
            return task, dataclasses.replace(plan, schedule=_warmed_up(plan, percent))
        case "batch_size":
            return _rebatched(task, plan, value)
        case _:
            return _with_option(task, plan, name, _number(value))


def _number(value: Value, *, low: float | None = None, high: float | None = None) -> float:
    if isinstance(value, str):
        raise SpecError("it takes numbers")
    if (low is not None and value < low) or (high is not None and value > high):
        raise SpecError(f"it takes numbers from {low:g} to {high:g}")
    return value


# --- schedule


def _warmed_up(plan: Plan, percent: float) -> Schedule:
    body = plan.schedule.body
    first, *rest = body.items if isinstance(body, Then) else (body,)
    rise = Duration.of(f"{percent:.10g}%")
    if isinstance(first, Warmup):
        lead: Schedule = dataclasses.replace(first, duration=rise)
    else:
        starts = body.over(plan.horizon, base_lr=plan.lr)(0)
        if starts < _STARTED:
            raise SpecError(
                f"the schedule {plan.schedule} rises by itself, from {starts:.3g}: it takes no warmup before"
            )
        lead, rest = warmup(rise), [first, *rest]
    if not rest:
        raise SpecError(
            f"the schedule {plan.schedule} is nothing but warmup: say what follows, as in >> cosine(to=0)"
        )
    # Less than half an update is none; said by a phase of no updates it would be a warning in every such trial.
    given = percent * plan.horizon.steps >= 50.0
    schedule = functools.reduce(operator.rshift, [lead, *rest] if given else rest)
    return schedule.after(plan.schedule.ending) if isinstance(plan.schedule, Ended) else schedule


# --- batch size


def _rebatched(task: Task, plan: Plan, value: Value) -> tuple[Task, Plan]:
    if isinstance(value, str) or value != int(value) or value < 1:
        raise SpecError("it takes whole numbers from 1 on")
    size = int(value)
    final = None if task.final_train is None else _of_size(task.final_train, size, "final_train")
    changed = dataclasses.replace(task, train=_of_size(task.train, size, "train"), final_train=final)
    return changed, dataclasses.replace(plan, horizon=_as_long(changed, plan))


def _as_long(task: Task, plan: Plan) -> Horizon:
    """As many epochs as before, in the updates of the new loader."""
    horizon = plan.horizon
    new = task_horizon(task, steps=horizon.steps, accumulate=plan.training.accumulate)
    if not new.steps_per_epoch or not horizon.steps_per_epoch:
        return dataclasses.replace(horizon, batch_size=new.batch_size, steps_per_epoch=new.steps_per_epoch)
    steps = max(1, round(horizon.steps * new.steps_per_epoch / horizon.steps_per_epoch))
    return dataclasses.replace(new, steps=steps)


def _of_size(
    loader: Loader | Callable[[int], Loader], size: int, which: str
) -> Loader | Callable[[int], Loader]:
    if callable(loader) and not hasattr(loader, "__iter__"):
        return _Rebatched(loader, size, which)
    return _with_batch_size(resolve_loader(loader, 0, which=which), size, which)


@dataclass(frozen=True, slots=True)
class _Rebatched:
    """A loader factory whose loaders have another batch size."""

    factory: Callable[[int], Loader]
    size: int
    which: str

    def __call__(self, seed: int) -> Loader:
        return _with_batch_size(resolve_loader(self.factory, seed, which=self.which), self.size, self.which)


def _with_batch_size(loader: Loader, size: int, which: str) -> Loader:
    if not isinstance(loader, DataLoader) or is_stateful(loader) or not is_map_style(loader):
        raise SpecError(
            f"the {which} loader, a {type(loader).__name__} without sample indices, has the batches that it has: "
            "give a map-style DataLoader"
        )
    if type(loader.batch_sampler) is not BatchSampler:
        raise SpecError(
            f"the {which} loader's {type(loader.batch_sampler).__name__} makes the batches: give batch_size= "
        )
    if loader.drop_last and size > len(loader.sampler):  # type: ignore[arg-type]  # a map-style loader's has a length
        raise SpecError(f"the {which} loader drops incomplete batches, and has {len(loader.sampler)} samples")  # type: ignore[arg-type]
    several = loader.num_workers > 0
    return DataLoader(
        loader.dataset,
        batch_size=size,
        sampler=loader.sampler,
        drop_last=loader.drop_last,
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory,
        timeout=loader.timeout,
        worker_init_fn=loader.worker_init_fn,
        multiprocessing_context=loader.multiprocessing_context if several else None,
        prefetch_factor=loader.prefetch_factor if several else None,
        persistent_workers=loader.persistent_workers,
        generator=loader.generator,
    )


# --- optimizer


def _with_option(task: Task, plan: Plan, name: str, value: float) -> tuple[Task, Plan]:
    planned = plan.optimizer
    factory: Any = torch_optimizers().get(planned.name) if planned.name != "task" else task.optimizer
    cls = optimizer_class(factory) if factory is not None else None
    if planned.name != "task" and cls is None:
        raise SpecError(f"torch has no optimizer {planned.name!r}")
    if cls is None:  # a function of the user's: what its groups hold is seen when it has built one
        return dataclasses.replace(task, optimizer=_Adjusted(factory, name, value)), plan
    bound = dict(planned.options) if planned.name != "task" else dict(getattr(factory, "keywords", {}))
    options = _options(cls, bound, name, value)
    if planned.name != "task":
        optimizer = dataclasses.replace(planned, options={**planned.options, **options})
        return task, dataclasses.replace(plan, optimizer=optimizer)
    return dataclasses.replace(task, optimizer=functools.partial(factory, **options)), plan


def _options(cls: type[Optimizer], bound: dict[str, Any], name: str, value: float) -> dict[str, Any]:
    """The keyword arguments of `cls` that set `name`; `bound` are those that are set already."""
    defaults = {
        n: p.default for n, p in inspect.signature(cls).parameters.items() if n not in ("params", "lr")
    } | bound
    if isinstance(defaults.get("betas"), list | tuple) and name in ("momentum", "beta2"):
        first, second, *more = defaults["betas"]
        return {"betas": (value, second, *more) if name == "momentum" else (first, value, *more)}
    if name in bound or _is_number(defaults.get(name)):
        return {name: value}
    raise _unknown(name, defaults, cls.__name__)


@dataclass(frozen=True, slots=True)
class _Adjusted:
    """An optimizer factory of the user's, and a value that its groups get afterwards."""

    factory: Callable[[nn.Module, float], Optimizer]
    name: str
    value: float

    def __call__(self, model: nn.Module, lr: float) -> Optimizer:
        optimizer = build_optimizer(self.factory, model, lr)
        groups = optimizer.param_groups
        spared = self.name == "weight_decay" and any(group.get("weight_decay") for group in groups)
        for group in groups:
            if not (spared and group["weight_decay"] == 0):
                self._set(group, type(optimizer).__name__)
        return optimizer

    def _set(self, group: dict[str, Any], owner: str) -> None:
        if "betas" in group and self.name in ("momentum", "beta2"):
            first, second, *more = group["betas"]
            changed = (self.value, second) if self.name == "momentum" else (first, self.value)
            group["betas"] = (*changed, *more)
        elif _is_number(group.get(self.name)):
            group[self.name] = self.value
        else:
            raise _unknown(self.name, group, owner)


def _unknown(name: str, options: dict[str, Any], owner: str) -> SpecError:
    return SpecError(f"neither lrkit nor {owner} has such a number{did_you_mean(name, _names(options))}")


def _names(options: dict[str, Any]) -> Iterator[str]:
    yield from _FIRST
    if "betas" in options:
        yield from ("momentum", "beta2")
    yield from (
        name for name, value in options.items() if _is_number(value) and name not in ("lr", "initial_lr")
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _build(task: Task, plan: Plan, model: nn.Module, values: Values) -> None:
    from lrkit.training.build import planned_optimizer

    try:
        planned_optimizer(task, plan.optimizer, model)
    except (PlanError, TaskError, TypeError, ValueError) as error:
        name, value = values[-1]
        raise SpecError(f"{_beside(values)}{name} = {value}: {error}") from error
