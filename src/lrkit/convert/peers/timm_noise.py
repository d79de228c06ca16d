"""timm's noise: each rate in a range of steps is multiplied by 1 + a draw, which depends on the seed and step alone."""

from __future__ import annotations

from collections.abc import Sequence

from lrkit import schedule as s
from lrkit.convert.arguments import as_items, as_steps
from lrkit.convert.pieces import for_ever, sequence
from lrkit.duration import brief
from lrkit.errors import SpecError
from lrkit.schedule import Schedule
from lrkit.schedule.levels import as_number

__all__ = ["noisy"]

_TRIES = 10_000  # redraws at one step; timm itself would go on for ever


def noisy(
    schedule: Schedule,
    noise_range_t: Sequence[int] | None,
    noise_pct: float,
    noise_std: float,
    noise_seed: int,
    noise_draws: Sequence[float] | None,
) -> Schedule:
    """`schedule` times 1 + n(t) for the steps t from noise_range_t[0] to before noise_range_t[1], as a table.

    n(t) is normal with deviation `noise_std`, drawn by torch's generator seeded with `noise_seed` + t and drawn
    again until it lies within `noise_pct`. Since that takes torch, the draws may be given instead, one for each
    step of the range (`noise_draws`, lrkit's own parameter). timm also takes the first step alone, for noise
    without end: no table holds that, so it is a SpecError.
    """
    if noise_range_t is None:
        return schedule
    if not isinstance(noise_range_t, (list, tuple)) or len(noise_range_t) != 2:
        raise SpecError(
            f"noise_range_t takes a pair of steps, such as [100, 200], not {brief(noise_range_t)}:"
            " noise without end fits in no table"
        )
    first, stop = (as_steps(step, "noise_range_t") for step in noise_range_t)
    if first >= stop:
        return schedule
    if noise_draws is None:
        most = as_number(noise_pct, "noise_pct", above=0.0)
        noise_draws = _draws(
            first, stop, most, as_number(noise_std, "noise_std"), as_steps(noise_seed, "noise_seed")
        )
    draws = [1.0 + as_number(n, "noise_draws", least=-1.0) for n in as_items(noise_draws, "noise_draws")]
    if len(draws) != stop - first:
        raise SpecError(f"{len(draws)} noise_draws for the {stop - first} steps of noise_range_t")
    table = s.table(draws, duration=stop - first)
    noise = sequence(s.hold(first) if first else None, table, for_ever(1.0))
    return (schedule.body * noise).after(schedule.ending)


def _draws(first: int, stop: int, most: float, deviation: float, seed: int) -> list[float]:
    import torch

    def draw(t: int) -> float:
        generator = torch.Generator().manual_seed(seed + t)
        for _ in range(_TRIES):
            drawn: float = torch.randn(1, generator=generator).item() * deviation
            if abs(drawn) < most:
                return drawn
        raise SpecError(f"noise_std={deviation} hardly ever draws within noise_pct={most}: make it smaller")

    return [draw(t) for t in range(first, stop)]
