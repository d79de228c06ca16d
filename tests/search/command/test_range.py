"""The range of a command is its user's: nothing is tried beyond it, and a best rate at its end is told."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrkit.errors import NoAnswer, SpecError
from lrkit.search.command import search_command
from lrkit.search.command._search_command import SHARES
from lrkit.search.command.from_zero import FromZero
from lrkit.search.methods.batches import SPENT, told_at_end
from lrkit.search.methods.registry import METHODS
from lrkit.search.trials import Result, Settings, Stop
from search.command.scripts import PYTHON, script

T = 9


def measured(proposal, best, sign=1):
    """Lowest at 10**best, with luck that differs between seeds and rates."""
    x = math.log10(proposal.lr) - best
    value = (0.3 + x * x) * (1 + 3 / proposal.stop) + 0.02 * math.sin(1e5 * proposal.lr + proposal.seed)
    return Result(proposal.lr, proposal.seed, proposal.stop, sign * value, False, proposal.stop, 0.0)


def searched(asked, best, *, way="auto", at_once=99):
    """All results and the Stop, with `at_once` proposals of a batch measured before the next ask."""
    method, results = FromZero(METHODS[way], share=SHARES[way], unit="epochs"), []
    sign = 1 if asked.direction == "min" else -1
    while not isinstance(proposals := method.next_trials(asked, results), Stop):
        results += [measured(p, best, sign) for p in proposals[:at_once]]
        assert len(results) < 200
    return results, proposals


@settings(deadline=None, max_examples=8)
@given(
    st.sampled_from(["auto", "grid", "halving"]),
    st.floats(-6.0, 0.0),
    st.sampled_from(["min", "max"]),
    st.integers(50, 110),
)
def test_nothing_beyond_the_range_is_tried_and_asking_one_by_one_changes_nothing(
    way, best, direction, budget
):
    asked = Settings(steps=T, budget=budget, low=1e-4, high=1e-2, direction=direction, closed=True)
    results, stop = searched(asked, best, way=way)
    assert all(1e-4 <= r.lr <= 1e-2 for r in results)
    assert any(r.steps == T for r in results)
    again, stop_again = searched(asked, best, way=way, at_once=1)
    assert {(r.key, r.steps) for r in again} == {(r.key, r.steps) for r in results}
    assert stop_again == stop


@pytest.mark.parametrize(("best", "end"), [(-5.0, "lower"), (-1.0, "upper"), (-3.0, None)])
@pytest.mark.parametrize("way", ["auto", "grid", "halving", "bayes"])
def test_a_best_rate_at_an_end_is_told_with_the_remedy(way, best, end):
    results, stop = searched(Settings(steps=T, budget=65, low=1e-4, high=1e-2, closed=True), best, way=way)
    assert (
        f"the best lr is at the {end} end of its range: widen it (--low and --high or --param lr="
        in stop.reason
    ) is bool(end)
    assert "at the" not in stop.reason or end
    full = [r for r in results if r.steps == T]
    if end:
        outermost = min(full, key=lambda r: r.lr) if end == "lower" else max(full, key=lambda r: r.lr)
        assert outermost.lr == pytest.approx(1e-4 if end == "lower" else 1e-2, rel=0.3)


def test_what_is_told_at_an_end_rests_on_the_best_alone():
    """Where rates are equal, or burst at the end, nothing is told; what is not a Stop is passed on."""
    asked, stop = Settings(steps=T, budget=90, low=1e-4, high=1e-2), SPENT

    def told(*pairs):
        return told_at_end(asked, [Result(lr, 0, T, y, math.isnan(y), T, 0.0) for lr, y in pairs], stop)

    assert "the upper end" in told((1e-4, 3.0), (1e-3, 2.0), (1e-2, 1.0)).reason
    assert told((1e-4, 3.0), (1e-3, 2.0), (1e-2, 1.0)).cause == "budget", "a larger budget is offered still"
    assert told((1e-4, 1.0), (1e-3, 1.0), (1e-2, 1.0)) == SPENT
    assert told((1e-4, 3.0), (1e-3, 2.0), (1e-2, math.nan)) == SPENT
    assert told((1e-4, math.nan), (1e-2, math.nan)) == told() == SPENT
    assert told_at_end(asked, [], ()) == ()


def test_where_all_is_nan_the_first_batch_ends_the_search_with_one_command_as_it_was_run(tmp_path):
    path = script(tmp_path, "print('{\"loss\": NaN}')")
    with pytest.raises(
        NoAnswer, match=r"NaN or infinite at every rate tried, 1\.0e-04 to 1\.0e-02"
    ) as caught:
        search_command(
            [*PYTHON, str(path), "{lr}", "{epochs}"], {"lr": "1e-4..1e-2:log"}, epochs=T, out=tmp_path / "run"
        )
    assert f"{path} 0.0001 {T}" in str(caught.value)
    assert "{lr}" not in str(caught.value)
    assert len(list((tmp_path / "run/trials").iterdir())) == 6


@pytest.mark.parametrize("ends", ["1e-3..1e-3:log", "1e-3..1.0001e-3:log"])
def test_a_range_without_width_is_refused(tmp_path, ends):
    with pytest.raises(SpecError, match="range"):
        search_command(["true", "{lr}"], {"lr": ends}, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
