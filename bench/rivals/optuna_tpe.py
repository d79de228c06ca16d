"""Optuna's TPE with Hyperband pruning, one trial after the other, for the updates that lrkit may take by default."""

from __future__ import annotations

import math

from lrkit.search.methods.registry import USUAL
from lrkit.training import Run, Task, default_plan
from rivals.outcome import Outcome

RUNGS = 9
"""Ninths of the length: where Hyperband, with its reduction factor of 3, may prune for the first time."""


def optuna_tpe(task: Task, seed: int) -> Outcome:
    """TPE at its defaults over 1e-5 to 1 (log); the best finished trial wins. No answer where none finished."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=optuna.pruners.HyperbandPruner(min_resource=1, max_resource=RUNGS, reduction_factor=3),
    )
    plan = default_plan(task)
    budget, spent = USUAL * plan.horizon.steps, 0
    while spent < budget:
        trial = study.ask()
        run = Run(task, plan.with_lr(trial.suggest_float("lr", 1e-5, 1.0, log=True)), seed=seed)
        value = _trained(trial, run, task, allowed=budget - spent)
        spent += len(run.losses)
        study.tell(trial, value, state=_state(value))
    finished = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    told = {"trials": len(study.trials), "finished": len(finished)}
    return Outcome(lr=study.best_params["lr"] if finished else None, steps=spent, told=told)


def _trained(trial, run: Run, task: Task, *, allowed: int) -> float | None:
    """The objective of the whole training; None where it was pruned, diverged, or outlasted what is allowed."""
    steps, value = run.plan.horizon.steps, math.nan
    for rung in range(1, RUNGS + 1):
        run.advance(min(rung * steps // RUNGS, allowed))
        value = math.nan if run.diverged else run.evaluate("validation")[task.objective_key]
        if not math.isfinite(value) or (run.step >= allowed and run.step < steps):
            return None
        trial.report(value, rung)
        if rung < RUNGS and trial.should_prune():
            return None
    return value


def _state(value: float | None):
    from optuna.trial import TrialState

    return TrialState.PRUNED if value is None else TrialState.COMPLETE
