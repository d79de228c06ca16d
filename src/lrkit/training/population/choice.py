"""Choosing the route: what a member-step takes on each one, on the first batches; the fastest is taken.

A graph costs time before it saves any, so it is tried only where what is left to train is worth it.
"""

from __future__ import annotations

import logging
import math
import os
import statistics
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from lrkit.training.batches import move_to
from lrkit.training.population.block import build_block
from lrkit.training.population.engine import Engine, Graphs, Way
from lrkit.training.population.fit import STEPS, Scouted, check_fit, scout
from lrkit.training.population.lanes import is_shared
from lrkit.training.population.route import Masks, Route, RouteName
from lrkit.training.population.setup import Setup
from lrkit.training.population.unfit import Unfit
from lrkit.training.population.updates import stacked_groups
from lrkit.training.task import Task

__all__ = ["choose_route", "one_by_one"]

_log = logging.getLogger("lrkit")

# Sizes of stacks to try: below, dispatch is shared by too few; above, the state of a small model leaves the cache.
_SIZES = (8, 16, 32)
# A smaller stack within this factor of the fastest is preferred: pruned members leave less ballast in it.
_AS_GOOD = 1.1
# What making a graph costs at first, and the share of the time that it is expected to save at least.
_COST: dict[Way, float] = {"traced": 0.25, "compiled": 20.0}
_SAVING = 0.4
# Seconds of a plain step on a CPU that can be dispatch: the rest is arithmetic, which no route does for less.
_DISPATCH = 1e-3
_LEAST_SAVING = 0.3  # seconds: what comparing and timing take
# Choosing may take this share of what a better route may save, and this share of what one that was timed does save:
# where plain runs are the answer in the end, all of it was for nothing.
_SHARE_OF_HOPE, _SHARE_OF_GAIN = 0.1, 0.5
_SLOW_STEP = 0.015  # seconds
_UNTIMED_STEPS: dict[Way, int] = {
    "eager": 2,
    "traced": 5,
    "compiled": 5,
}  # graphs are made and compared in them
# Plain runs within this factor of the fastest stack are preferred: what timing noise decides, the next run decides
# otherwise, and its numbers differ in their last bits. And when members leave, what is left stacks less well.
_HARDLY_FASTER = 1.4
_TIMED_STEPS = 5
_LONG_TIMING = 0.2  # seconds: two steps that take as long tell enough


def choose_route(
    setup: Setup,
    *,
    wanted: RouteName | None,
    expected_steps: int,
    graphs: Graphs,
    plain_seconds: float | None = None,
) -> Route:
    """Check on the first steps that a stack is what runs side by side are, time the routes, and take the fastest.

    wanted: this route whatever its time, if it can be taken at all. expected_steps: member-steps that will be trained.
    graphs: those that are made for the timing are added to it. plain_seconds: what an update takes in plain runs, where
    that is not to be measured here.
    """
    if wanted == "loop":
        return Route(name="loop", reason="asked for")
    if (
        wanted is None
        and len(setup.members) == 1
        and _SAVING * _DISPATCH * expected_steps < _COST["compiled"]
    ):
        return Route(
            name="loop", reason="one member alone gains by a compiled graph at most, and trains too little"
        )
    try:
        low, high = _extremes(setup)
        scouted = scout(setup, low, expected_steps=expected_steps)
        if plain_seconds is not None:
            scouted = replace(scouted, seconds=plain_seconds)
        hope = _worth(setup, scouted, expected_steps, scouted.seconds)
        spent = _trying_first(setup, scouted, {low, high})
        if wanted is None and (hope < _LEAST_SAVING or spent > _SHARE_OF_HOPE * hope):
            return Route(name="loop", reason="there is too little to train for anything else to pay")
        served, masks = _fits(setup, sorted({low, high}), scouted)
        setup.starts(range(len(setup.members)), idle=scouted.idle)
        _stacks_whole(setup)
    except Unfit as reason:
        return one_by_one(setup.task, reason)
    mixed = _can_mix(setup, scouted)
    facts: dict[str, Any] = {
        "mixed": mixed,
        "masks": masks,
        "idle": tuple(sorted(scouted.idle)),
        "served": served,
    }
    if wanted is not None:
        size = min(_largest(setup, mixed=mixed), _SIZES[-1])
        return Route(name=wanted, reason="asked for", size=size, **facts)
    made: dict[Way, Graphs] = {"eager": [], "traced": [], "compiled": []}
    route = _fastest(setup, scouted, facts, expected_steps, made, spent)
    if route.name != "loop" and not mixed:  # timed with members of one seed
        graphs.extend(made[route.name])
    return route


def one_by_one(task: Task, reason: Unfit) -> Route:
    """The loop, with one line in the log that says why."""
    _log.warning("%s: training members one by one: %s", task.name, reason)
    return Route(name="loop", reason=f"members do not stack: {reason}")


def _trying_first(setup: Setup, scouted: Scouted, compared: Collection[int]) -> float:
    """About the seconds that it takes to compare members with plain runs, and to time the first stack."""
    size = min(len(setup.members), _SIZES[0])
    made = len(compared) + len(setup.members)
    comparing = made * scouted.making + 2 * STEPS * len(compared) * scouted.seconds
    return comparing + _timing("eager", size, scouted.seconds)


def _fits(setup: Setup, indices: Sequence[int], scouted: Scouted) -> tuple[str | None, Masks]:
    """The signature of the batches, and how random numbers are drawn. Raises Unfit."""
    try:
        return check_fit(setup, indices, idle=scouted.idle), "plain" if scouted.draws else "none"
    except Unfit as reason:
        if not scouted.draws:
            raise
        try:
            return check_fit(setup, indices, idle=scouted.idle, dropout=False), "alike"
        except Unfit:
            raise reason from None


def _fastest(
    setup: Setup,
    scouted: Scouted,
    facts: dict[str, Any],
    expected_steps: int,
    made: Mapping[Way, Graphs],
    spent: float,
) -> Route:
    """The route by what each takes. `spent`: about the seconds that trying has taken when the first stack is timed."""
    largest = _largest(setup, mixed=facts["mixed"])
    timed: dict[str, tuple[float, int]] = {"loop": (scouted.seconds, 1)}
    sizes = sorted({min(size, largest) for size in _SIZES})

    def best() -> float:
        return min(seconds for seconds, _ in timed.values())

    def afford(cost: float) -> bool:
        """Whether to spend so many seconds more on trying, by what may still be saved and what is saved already."""
        nonlocal spent
        hope = _worth(setup, scouted, expected_steps, best())
        gain = 0.0 if _stays_plain(timed) else expected_steps * (scouted.seconds - best())
        affordable = spent + cost <= _SHARE_OF_HOPE * hope + _SHARE_OF_GAIN * gain
        spent += cost if affordable else 0.0
        return affordable

    for way in ("eager", "traced", "compiled"):
        # A graph is made for each size: for the smallest and the largest; a compiler is asked once.
        tried = {
            "eager": sizes,
            "traced": sorted({sizes[0], sizes[-1]}),
            "compiled": [timed.get("traced", timed.get("eager", (0.0, sizes[-1])))[1]],
        }[way]
        if way != "eager" and (
            facts["served"] is None
            or _worth(setup, scouted, expected_steps, best()) < _COST[way]
            or _is_arithmetic(timed)
            or not afford(_COST[way] + _timing(way, tried[0], best()))
        ):
            continue
        try:
            timed[way] = _best_size(setup, way, tried, facts, made[way], afford)
        except Exception as error:  # tracers and compilers give up in many kinds of errors
            _log.info("%s: no %s route: %.200s", setup.task.name, way, error)
    name: Any = min(timed, key=lambda which: timed[which][0])
    if _stays_plain(timed):
        name = "loop"
    told = ", ".join(f"{which} {seconds * 1e6:.0f}" for which, (seconds, _) in timed.items())
    return Route(
        name=name,
        reason=f"{told} microseconds a member-step",
        seconds={which: seconds for which, (seconds, _) in timed.items()},
        size=timed[name][1],
        **facts,
    )


def _stays_plain(timed: Mapping[str, tuple[float, int]]) -> bool:
    return timed["loop"][0] <= _HARDLY_FASTER * min(seconds for seconds, _ in timed.values())


def _timing(way: Way, size: int, seconds: float) -> float:
    """About what it takes to time a stack of `size` that takes so many seconds a member-step."""
    return (_UNTIMED_STEPS[way] + _TIMED_STEPS) * size * seconds


def _is_arithmetic(timed: Mapping[str, tuple[float, int]]) -> bool:
    """Whether a stack takes its time for arithmetic, and no less than plain runs do: a graph saves dispatch alone."""
    seconds, size = timed.get("eager", (0.0, 1))
    return seconds > timed["loop"][0] and seconds * size > _SLOW_STEP


def _worth(setup: Setup, scouted: Scouted, expected_steps: int, seconds: float) -> float:
    """The seconds that a better way than one of `seconds` a member-step may save: of dispatch, not of arithmetic."""
    share = _SAVING
    if setup.device.type == "cpu":
        share = min(share, _DISPATCH / scouted.seconds)
    return share * expected_steps * seconds


def _best_size(
    setup: Setup,
    way: Way,
    sizes: Sequence[int],
    facts: dict[str, Any],
    graphs: Graphs,
    afford: Callable[[float], bool],
) -> tuple[float, int]:
    """Seconds of a member-step and the size that gives it: the smallest that is about as good as the best.

    Of the sizes, those beyond the first that trying can afford.
    """
    found: list[tuple[float, int]] = []
    for size in sizes:
        if found and not afford(_timing(way, size, found[-1][0])):
            break
        found.append((_seconds(setup, way, size, facts, graphs), size))
        if (
            size * found[-1][0] > _SLOW_STEP
        ):  # arithmetic, not dispatch: a larger stack would only take longer
            break
    quickest = min(seconds for seconds, _ in found)
    return next((seconds, size) for seconds, size in found if seconds <= _AS_GOOD * quickest)


def _seconds(setup: Setup, way: Way, size: int, facts: dict[str, Any], graphs: Graphs) -> float:
    """What one member-step takes in a stack of `size`, which is then thrown away."""
    first = setup.members[0].seed
    alike = [i for i, member in enumerate(setup.members) if member.seed == first]
    slots = [alike[i % len(alike)] for i in range(size)]
    starts = setup.starts(slots, idle=frozenset(facts["idle"]))
    block = build_block(starts, slots, mixed=False, build=setup.optimizer)
    engine = Engine(setup.loss(mixed=False), way, served=facts["served"], graphs=graphs)
    lane = setup.lane(first)
    taken: list[float] = []
    untimed = _UNTIMED_STEPS[way]
    with lane.own_rng(), torch.no_grad():
        for step in range(untimed + _TIMED_STEPS):
            window = [move_to(batch, setup.device) for batch in lane.window()]
            started = setup.clock()
            engine.step(block, window, step)
            taken.append(setup.clock() - started)
            if step > untimed and sum(taken[untimed:]) > _LONG_TIMING:
                break
    # Not the quickest: large stacks have quick steps and slow ones, when memory is given back and fetched again.
    if engine.way != way:
        raise Unfit(f"a {way} step differs from an eager one")
    return statistics.median(taken[untimed:]) / size


def _extremes(setup: Setup) -> tuple[int, int]:
    """The members of the lowest and the highest lr among those of the first seed."""
    first = setup.members[0].seed
    alike = [i for i, member in enumerate(setup.members) if member.seed == first]
    rates = {i: setup.members[i].plan.lr for i in alike}
    return min(alike, key=rates.__getitem__), max(alike, key=rates.__getitem__)


def _stacks_whole(setup: Setup) -> None:
    """Raises Unfit where not all members, but only those that were compared, fit together."""
    stacked_groups([setup.starts_made[i] for i in range(len(setup.members))])


def _can_mix(setup: Setup, scouted: Scouted) -> bool:
    """Whether members of several seeds may share a stack: they draw no random numbers and read the same data."""
    if len(setup.seeds) == 1 or scouted.draws or not is_shared(setup.task):
        return False
    one, two = setup.seeds[:2]
    pair = [next(i for i, member in enumerate(setup.members) if member.seed == seed) for seed in (one, two)]
    try:
        check_fit(setup, pair, idle=scouted.idle, mixed=True)
    except Unfit as reason:
        _log.info("%s: one stack for each seed: %s", setup.task.name, reason)
        return False
    return True


def _largest(setup: Setup, *, mixed: bool) -> int:
    """The most members that one stack can be asked to hold, by number and by memory."""
    counts = [sum(member.seed == seed for member in setup.members) for seed in setup.seeds]
    start = next(iter(setup.starts_made.values()))
    tensors = [*start.parameters.values(), *start.buffers.values()]
    # Parameters, gradients, two moments and the temporaries of an update; activations are not known.
    one = 8 * sum(tensor.nbytes for tensor in tensors)
    fits = max(1, int(_free_bytes(setup.device) / 4 / max(one, 1)))
    return max(1, min(len(setup.members) if mixed else max(counts), fits))


def _free_bytes(device: torch.device) -> float:
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    try:
        return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):  # macOS and Windows do not say
        return math.inf
