"""fastai's schedules: those of its `fit_...` methods, and the annealers that they are made of.

fastai reckons the share of the training that is done in float32 and by adding up, so its own numbers are exact to
about 1e-7 of the peak; here the share is t / T. Factors are of `base_lr`, what `lr_max` is when it is not given.
The last value, at share 1, is never used there. Lengths in epochs are shares of the run. Checked against fastai 2.8.12.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Final

from lrkit import schedule as s
from lrkit.convert.arguments import as_factor, as_numbers, as_share, as_steps
from lrkit.convert.pieces import sequence
from lrkit.duration import Duration
from lrkit.errors import SpecError
from lrkit.schedule import Schedule
from lrkit.schedule.levels import as_number

__all__ = ["ENTRIES"]


def fit_one_cycle(
    *,
    n_epoch: int = 1,
    lr_max: float | None = None,
    div: float = 25.0,
    div_final: float = 1e5,
    pct_start: float = 0.25,
    base_lr: float = 1.0,
) -> Schedule:
    """Half waves max / div -> max -> max / div_final, the peak at the share pct_start, whole step or not.

    torch's OneCycleLR ends at initial / final_div_factor instead. `n_epoch` is the run's length and has no effect.
    """
    as_steps(n_epoch, "n_epoch", least=1)
    cycle = s.one_cycle(
        rise=as_share(pct_start, "pct_start"),
        start=_part(div, "div"),
        to=_part(div_final, "div_final"),
        last="unrounded",
    )
    return _scaled(cycle, lr_max, base_lr)


def fit_one_cycle_momentum(
    *, n_epoch: int = 1, moms: Sequence[float] = (0.95, 0.85, 0.95), pct_start: float = 0.25
) -> Schedule:
    """What `fit_one_cycle` does to the momentum or beta1: half waves through the three `moms`, as they are."""
    as_steps(n_epoch, "n_epoch", least=1)
    levels = as_numbers(moms, "moms")
    if len(levels) != 3:
        raise SpecError(f"moms takes three momenta, not {list(moms)}")
    return combined_cos(pct=pct_start, start=levels[0], middle=levels[1], end=levels[2])


def combined_cos(*, pct: float, start: float, middle: float, end: float, base_lr: float = 1.0) -> Schedule:
    """Half waves start -> middle -> end, the middle (above 0) at the share `pct`, whole step or not."""
    first, last = as_factor(start, "start", base_lr), as_factor(end, "end", base_lr)
    middle = as_factor(middle, "middle", base_lr)
    if not middle:
        raise SpecError("middle takes a rate above 0")
    rise = as_share(pct, "pct")
    return s.hold(level=middle) * s.one_cycle(
        rise=rise, start=first / middle, to=last / middle, last="unrounded"
    )


def fit_flat_cos(
    *,
    n_epoch: int = 1,
    lr: float | None = None,
    div_final: float = 1e5,
    pct_start: float = 0.75,
    base_lr: float = 1.0,
) -> Schedule:
    """Flat until the share pct_start, whole step or not, then half a wave to lr / div_final."""
    as_steps(n_epoch, "n_epoch", least=1)
    flat = s.one_cycle(
        rise=as_share(pct_start, "pct_start"), start=1.0, to=_part(div_final, "div_final"), last="unrounded"
    )
    return _scaled(flat, lr, base_lr)


def fit_sgdr(
    *, n_cycles: int, cycle_len: int, lr_max: float | None = None, cycle_mult: int = 2, base_lr: float = 1.0
) -> Schedule:
    """Half waves to 0 of cycle_len, cycle_len cycle_mult, ... epochs, each from the peak.

    Defects: equal cycles (cycle_mult=1) divide by 0 there and are a SpecError here: `cosine(to=0).repeat(n_cycles)`.
    And fastai's rounding can be late at a restart, whose first step then has rate 0; here it has the peak.
    """
    count, first = as_steps(n_cycles, "n_cycles", least=1), as_steps(cycle_len, "cycle_len", least=1)
    growth = as_steps(cycle_mult, "cycle_mult", least=1)
    if growth == 1:
        raise SpecError(f"cycle_mult=1 divides by 0 there: write cosine(to=0).repeat({count})")
    lengths = [first * growth**i for i in range(count)]
    shares = [Duration(Fraction(100 * n, sum(lengths)), "percent") for n in lengths]
    return _scaled(sequence(*(s.cosine(share, start=1.0, to=0.0) for share in shares)), lr_max, base_lr)


def fine_tune(
    *,
    epochs: int,
    base_lr: float = 2e-3,
    freeze_epochs: int = 1,
    lr_mult: float = 100,
    pct_start: float = 0.3,
    div: float = 5.0,
    div_final: float = 1e5,
) -> Schedule:
    """The last group's rate: a frozen cycle that peaks at its share 0.99, then one of half the peak, from peak / div.

    As factors of `base_lr`, fastai's own parameter. `lr_mult` sets the other groups' rates and has no effect here.
    """
    as_number(base_lr, "base_lr", above=0.0)
    as_number(lr_mult, "lr_mult", above=0.0)
    frozen, free = as_steps(freeze_epochs, "freeze_epochs"), as_steps(epochs, "epochs", least=1)
    end = _part(div_final, "div_final")
    share = Duration(Fraction(100 * frozen, frozen + free), "percent")
    head = s.one_cycle(share, rise=0.99, start=1 / 25, to=end, last="unrounded") if frozen else None
    rise = as_share(pct_start, "pct_start")
    body = s.hold(level=0.5) * s.one_cycle(rise=rise, start=_part(div, "div"), to=end, last="unrounded")
    return sequence(head, body)


def sched_no(*, start: float, end: float, base_lr: float = 1.0) -> Schedule:
    """`start`; the end is not looked at."""
    as_factor(end, "end", base_lr)
    return s.hold(level=as_factor(start, "start", base_lr))


def sched_lin(*, start: float, end: float, base_lr: float = 1.0) -> Schedule:
    """start + p (end - start), p the share of the run."""
    return s.linear(start=as_factor(start, "start", base_lr), to=as_factor(end, "end", base_lr))


def sched_cos(*, start: float, end: float, base_lr: float = 1.0) -> Schedule:
    """start + (1 - cos(pi p)) / 2 (end - start)."""
    return s.cosine(start=as_factor(start, "start", base_lr), to=as_factor(end, "end", base_lr))


def sched_exp(*, start: float, end: float, base_lr: float = 1.0) -> Schedule:
    """start (end / start)^p; both above 0."""
    return s.exponential(start=as_factor(start, "start", base_lr), to=as_factor(end, "end", base_lr))


def sched_poly(*, start: float, end: float, power: float, base_lr: float = 1.0) -> Schedule:
    """start + (end - start) p^power."""
    levels = as_factor(start, "start", base_lr), as_factor(end, "end", base_lr)
    return s.polynomial(power=1.0, k=as_number(power, "power", above=0.0), start=levels[0], to=levels[1])


ENTRIES: Final[Mapping[str, Callable[..., Schedule]]] = {
    "SchedCos": sched_cos,
    "SchedExp": sched_exp,
    "SchedLin": sched_lin,
    "SchedNo": sched_no,
    "SchedPoly": sched_poly,
    "combined_cos": combined_cos,
    "fine_tune": fine_tune,
    "fit_flat_cos": fit_flat_cos,
    "fit_one_cycle": fit_one_cycle,
    "fit_one_cycle_momentum": fit_one_cycle_momentum,
    "fit_sgdr": fit_sgdr,
}


def _part(divisor: float, name: str) -> float:
    return 1.0 / as_number(divisor, name, above=0.0)


def _scaled(schedule: Schedule, peak: float | None, base_lr: float) -> Schedule:
    """Peaking at the rate asked for, where it is not the base lr."""
    if peak is None:
        return schedule
    factor = as_factor(peak, "the peak", base_lr)
    return schedule if factor == 1.0 else s.hold(level=factor) * schedule
