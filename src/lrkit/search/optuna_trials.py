"""A result as a trial of Optuna, and back to the last bit: what a shared study keeps and what an export writes.

    state               COMPLETE at full length, PRUNED where it stopped before, FAIL where the loss was not finite
    value               the objective
    params              the lr, and the other values that the space names
    user attributes     everything of the result, exactly
    intermediate value  the objective at the update where it was measured, or the losses on the way there

Optuna is imported by the functions that need it.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lrkit.search.space import Choice, Parameter, Space
from lrkit.search.trials import Result

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

__all__ = ["from_trial", "quiet_optuna", "to_trial"]

RATES = (1e-9, 1e2)
"""What Optuna is told of the lr's range: one for all trials, or its tools would not compare them."""

_FORMAT = 2
_MARK = "lrkit"


def to_trial(
    result: Result,
    *,
    steps: int,
    space: Space | None = None,
    losses: Mapping[int, float] | None = None,
) -> FrozenTrial:
    """`result` as a finished trial of a study whose full trials have `steps` updates.

    `losses` by update take the place of the objective as intermediate values. The trial ends now, and began its
    `seconds` ago.
    """
    from optuna.trial import TrialState, create_trial

    failed = result.diverged or math.isnan(result.objective)
    state = TrialState.PRUNED if result.steps < steps else TrialState.COMPLETE
    known = space or Space({})
    chosen = {name: value for name, value in result.values if name in known and known[name].holds(value)}
    trial = create_trial(
        state=TrialState.FAIL if failed else state,
        value=None if failed else result.objective,
        params={"lr": result.lr, **chosen},
        distributions={
            "lr": _rates(result.lr),
            **{name: _distribution(known[name]) for name in chosen},
        },
        user_attrs=_attributes(result),
        intermediate_values=dict(losses or ({} if failed else {result.steps: result.objective})),
    )
    if trial.datetime_complete is not None:
        trial.datetime_start = trial.datetime_complete - datetime.timedelta(seconds=result.seconds)
    return trial


def from_trial(trial: FrozenTrial) -> Result | None:
    """The result that `to_trial` made `trial` of; None for a trial of someone else."""
    known = trial.user_attrs
    if known.get(_MARK) != _FORMAT:
        return None
    return Result(
        lr=known["lr"],
        seed=known["seed"],
        steps=known["steps"],
        objective=float(known["objective"]),
        diverged=known["diverged"],
        cost=known["cost"],
        seconds=float(known["seconds"]),
        metrics=tuple((name, float(value)) for name, value in known["metrics"]),
        values=tuple((name, value) for name, value in known["values"]),
        parts=tuple((share, added) for share, added in known["parts"]),
    )


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Keep Optuna from announcing each new study on standard error: that is not its user's concern here."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def _attributes(result: Result) -> dict[str, Any]:
    return {
        _MARK: _FORMAT,
        "lr": result.lr,
        "seed": result.seed,
        "steps": result.steps,
        "objective": _plain(result.objective),
        "diverged": result.diverged,
        "cost": result.cost,
        "seconds": _plain(result.seconds),
        "metrics": [[name, _plain(value)] for name, value in result.metrics],
        "values": [[name, value] for name, value in result.values],
        "parts": [list(part) for part in result.parts],
    }


def _plain(value: float) -> float | str:
    """JSON has no NaN: as text it comes back through `float` all the same."""
    return value if math.isfinite(value) else str(value)


def _rates(lr: float) -> BaseDistribution:
    from optuna.distributions import FloatDistribution

    return FloatDistribution(min(RATES[0], lr), max(RATES[1], lr), log=True)


def _distribution(parameter: Parameter) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(parameter, Choice):
        return CategoricalDistribution(parameter.options)
    if parameter.integer:
        return IntDistribution(int(parameter.low), int(parameter.high), log=parameter.log)
    return FloatDistribution(parameter.low, parameter.high, log=parameter.log)
