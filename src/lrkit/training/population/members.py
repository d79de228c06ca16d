"""What the members of a population are: plans under seeds, alike in all that one lockstep must share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lrkit.errors import PlanError
from lrkit.plan import Plan

__all__ = ["MemberPlan", "check_members", "cross"]


@dataclass(frozen=True, slots=True)
class MemberPlan:
    """One member of a population: what `Run(task, plan, seed=seed)` trains."""

    plan: Plan
    seed: int = 0


def cross(plan: Plan, *, lrs: Sequence[float], seeds: Sequence[int] = (0,)) -> tuple[MemberPlan, ...]:
    """`plan` at every one of `lrs` under every one of `seeds`: all rates of the first seed, then of the next.

    The groups of a plan keep their ratio to the lr, as in `Plan.with_lr`.
    """
    return tuple(MemberPlan(plan.with_lr(lr), seed) for seed in seeds for lr in lrs)


def check_members(members: Sequence[MemberPlan]) -> tuple[MemberPlan, ...]:
    """The members as a tuple. Raises PlanError where there are none, or where two cannot be in one lockstep.

    They may differ in lr, groups, schedule, floor and the optimizer's numbers, but not in horizon, training part or
    optimizer class.
    """
    checked = tuple(members)
    if not checked:
        raise PlanError("a population of no members: give it at least one, as cross(plan, lrs=[...]) does")
    first = checked[0].plan
    for index, member in enumerate(checked):
        plan = member.plan
        for what, mine, theirs in (
            ("horizon", plan.horizon, first.horizon),
            ("training", plan.training, first.training),
            ("optimizer", plan.optimizer.name, first.optimizer.name),
        ):
            if mine != theirs:
                raise PlanError(
                    f"member {index} has {what} {mine!r}, member 0 has {theirs!r}: the members of one population "
                    "share it; put them into two populations"
                )
    return checked
