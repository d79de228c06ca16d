"""Which method finds the better rate and weight decay for the same budget, on made-up objectives.

    PYTHONPATH=tests python -m search.compare_methods [--numbers 24] [--trainings 8 12 20]

Regret is by what part the noiseless loss of the best trial exceeds the lowest one there is.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import islice

import numpy as np

from lrkit.search.methods.batches import affordable
from lrkit.search.methods.bayes import BAYES
from lrkit.search.methods.design import rate_range, spread_points, values_at
from lrkit.search.methods.grid import GRID
from lrkit.search.methods.halving import HALVING
from lrkit.search.trials import Proposal, Result, Settings, Stop
from search.joint_simulated import Joint, best_result, searched


class Spread:
    """Full trainings that fill the space evenly, whatever they come to: what a sampler has to beat."""

    def next_trials(self, settings: Settings, results: Sequence[Result]):
        dimensions = 1 + len(settings.space)
        points = islice(spread_points(dimensions, seed=settings.seed), settings.budget // settings.steps)
        places = [(rate_range(settings).at(u[0]), values_at(settings.space.items(), u[1:])) for u in points]
        proposals = [Proposal(lr, settings.seed, 0, settings.steps, values) for lr, values in places]
        known = {result.key for result in results}
        left = [p for p in proposals if p.key not in known]
        return affordable(settings, results, left) if left else Stop("all points are done")


METHODS = {"grid": GRID, "spread": Spread(), "halving": HALVING, "bayes": BAYES}


def regrets(name: str, trainings: float, numbers: Sequence[int]) -> list[float]:
    """Of the best trial of a search on each objective."""
    found = []
    for number in numbers:
        objective = Joint.drawn(number)
        results, _, _ = searched(METHODS[name], objective, objective.settings(trainings))
        best = best_result(results)
        found.append(objective.regret(best.lr, best.values))
    return found


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--numbers", type=int, default=24)
    parser.add_argument("--trainings", type=float, nargs="+", default=[8, 12, 20])
    given = parser.parse_args()
    for trainings in given.trainings:
        for name in METHODS:
            found = np.array(regrets(name, trainings, range(given.numbers)))
            told = f"mean {found.mean():6.1%}  median {np.median(found):6.1%}  90th {np.quantile(found, 0.9):6.1%}"
            print(f"{trainings:4g} trainings  {name:8} {told}", flush=True)


if __name__ == "__main__":
    main()
