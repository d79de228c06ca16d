"""torch's recursive forms drift over a long run; lrkit lies on the closed form, no further from the chain than that."""

from __future__ import annotations

import numpy as np
import pytest
from torch.optim import lr_scheduler

from convert.parity import ABSOLUTE, curve_of
from convert.stepping import sgd, stepped

STEPS = 20_000
CASES = {
    "CosineAnnealingLR": {"T_max": STEPS, "eta_min": 0.1},
    "ExponentialLR": {"gamma": 0.9997},
    "LinearLR": {"start_factor": 1.0, "end_factor": 0.0, "total_iters": STEPS},
    "PolynomialLR": {"total_iters": STEPS, "power": 2.0},
}


@pytest.mark.parametrize("name", CASES)
def test_lrkit_lies_on_the_closed_form(name: str) -> None:
    parameters = CASES[name]
    make = getattr(lr_scheduler, name)
    chain = np.array(stepped(lambda optimizer: make(optimizer, **parameters), STEPS))
    scheduler = make(sgd(), **parameters)
    closed = []
    for step in range(STEPS):
        scheduler.last_epoch = step
        closed.append(float(scheduler._get_closed_form_lr()[0]))
    unit = {"base_lr": 1.0} if "eta_min" in parameters else {}
    mine = curve_of(f"torch:{name}", {**parameters, **unit}, STEPS).chunk(0, STEPS)
    drift = np.abs(chain - np.array(closed))
    assert np.abs(mine - closed).max() <= ABSOLUTE
    assert (np.abs(mine - chain) <= drift + ABSOLUTE).all()
    assert 0.0 < drift.max() < 1e-9
    print(
        f"{name}: torch's chain leaves its closed form by {drift.max():.1e}, relative {(drift / closed).max():.1e}"
    )
