"""A scheduler of torch at work, read by its attributes, as the schedule of the updates that are still to come.

torch itself is not imported. What each class says about one group is in `readings`; here the groups are brought
together.
"""

from __future__ import annotations

import math
from typing import Any

from lrkit.convert.members import natural_length
from lrkit.convert.readings import Reading, read
from lrkit.duration import brief, whole_number
from lrkit.errors import SpecError
from lrkit.schedule import Schedule

__all__ = ["schedule_of"]


def schedule_of(scheduler: object, *, group: int | None = None) -> Schedule:
    """What a live scheduler will do from now on: step 0 is the update that comes next.

    The factors multiply the group's base lr, that is its `initial_lr` where torch has written one. One that has not
    begun comes as the shapes that it stands for (`linear(5, ...) >> cosine(95, to=0)`); of one that is under way, or
    whose rates were changed from outside, comes the rest, which has no text. Changes from outside count as they do in
    torch: chainable classes go on from them, the others overwrite them at the next step. Nested SequentialLR and
    ChainedScheduler are read as well, and lrkit's own classes of the same names.

    `group` is the number of the group to read; without it all groups must go the same way. The run that is laid
    out should be what is left: see `lrkit.convert.peers.torch` for which schedules are open.

    Raises SpecError for what is no function of the step (ReduceLROnPlateau), for classes that are not torch's or
    that compute rates of their own, and where the groups differ.
    """
    optimizer = getattr(scheduler, "optimizer", None)
    groups = getattr(optimizer, "param_groups", None)
    if not isinstance(groups, list) or not groups:
        raise SpecError(
            f"{brief(scheduler)} is neither the name of a peer's schedule nor a live scheduler with an optimizer"
        )
    if type(scheduler).__module__.startswith("lrkit.optim"):
        raise SpecError("this is lrkit's own Scheduler: its .schedules are what it follows")
    if group is not None:
        place = whole_number(group)
        if place is None or not 0 <= place < len(groups):
            raise SpecError(f"group={brief(group)}: the optimizer has the groups 0 to {len(groups) - 1}")
        return read(scheduler, place).schedule()
    first, *others = (read(scheduler, place) for place in range(len(groups)))
    for place, other in enumerate(others, 1):
        if not _alike(first, other):
            raise SpecError(
                f"groups 0 and {place} go different ways, and one schedule says one: read each with group="
            )
    return first.schedule()


def _alike(one: Reading, other: Reading) -> bool:
    """Whether two groups follow the same factors, told at the steps of a run and by what they are made of."""
    mine, theirs = one.schedule(), other.schedule()
    if mine == theirs:
        return True
    if mine.ending != theirs.ending or mine.needs_base_lr or theirs.needs_base_lr:
        return False
    steps = natural_length(mine)
    if steps != natural_length(theirs):
        return False
    # Scales found by division differ in their last bits; so a look at the whole run, not at the fields.
    return all(_close(a, b) for a, b in zip(_values(mine, steps), _values(theirs, steps), strict=True))


def _values(schedule: Schedule, steps: int) -> Any:
    curve = schedule.over(steps)
    return [*curve.chunk(0, steps).tolist(), *(curve(steps + k) for k in range(3))]


def _close(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12)
