"""plateau: torch's decisions, to the last bit of its state, and what torch's users ask for beside them."""

from __future__ import annotations

import json
import math
import warnings
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim.lr_scheduler import ReduceLROnPlateau

from lrkit.control import Action, Observation, Plateau, PlateauState, plateau, replay
from lrkit.duration import Duration, Horizon
from lrkit.errors import HorizonError, LrkitError, MetricError, SpecError, StateError

metrics = st.lists(
    st.one_of(
        st.sampled_from([1.0, 1.0, 0.5, 0.999, 1.0001, -1.0, 0.0, math.nan, math.inf]),
        st.floats(-10, 10, allow_nan=False),
    ),
    max_size=60,
)
groups = st.lists(st.sampled_from([1e-7, 1e-3, 0.1, 0.5, 3.0]), min_size=1, max_size=3)


@st.composite
def settings_of_both(draw: st.DrawFn) -> tuple[list[float], dict[str, Any]]:
    rates = draw(groups)
    mode, threshold_mode = draw(st.sampled_from(["min", "max"])), draw(st.sampled_from(["rel", "abs"]))
    least = st.sampled_from([0.0, 1e-8, 1e-4, 0.05])
    return rates, {
        "mode": mode,
        "factor": draw(st.sampled_from([0.1, 0.5, 0.95, 1 / 3])),
        "patience": draw(st.integers(0, 4)),
        "threshold": draw(st.sampled_from([0.0, 1e-4, 0.1])),
        "threshold_mode": threshold_mode,
        "cooldown": draw(st.integers(0, 4)),
        "min_lr": draw(least | st.lists(least, min_size=len(rates), max_size=len(rates))),
        "eps": draw(st.sampled_from([0.0, 1e-8, 1e-3])),
    }


def torch_twin(rates: list[float], options: dict[str, Any]) -> tuple[torch.optim.Optimizer, Any]:
    parameters = [{"params": [torch.nn.Parameter(torch.ones(1))], "lr": lr} for lr in rates]
    optimizer = torch.optim.SGD(parameters)
    return optimizer, ReduceLROnPlateau(optimizer, **options)


def twin_of(options: dict[str, Any]) -> Plateau:
    mode = {"rel": "signed", "abs": "abs"}[options["threshold_mode"]]
    return plateau(**{**options, "threshold_mode": mode}, nan="bad")


@given(settings_of_both(), metrics)
@settings(max_examples=300, deadline=None)
def test_it_decides_as_torch_does_also_when_saved_and_restored_at_every_step(
    drawn: tuple[list[float], dict[str, Any]], sequence: list[float]
) -> None:
    rates, options = drawn
    optimizer, theirs = torch_twin(rates, options)
    mine = twin_of(options)
    state, lrs = mine.init(), tuple(rates)
    for step, metric in enumerate(sequence, 1):
        theirs.step(metric)
        state, action = mine.update(state, Observation(step, metric, lrs))
        lrs = tuple(lr * factor for lr, factor in zip(lrs, action.factors, strict=True))
        worst = math.inf if options["mode"] == "min" else -math.inf
        assert (worst if state.best is None else state.best) == theirs.best
        assert (state.bad, state.cooldown) == (theirs.num_bad_epochs, theirs.cooldown_counter)
        expected = [group["lr"] for group in optimizer.param_groups]
        assert list(lrs) == pytest.approx(expected, rel=1e-12, abs=0)
        state = mine.restore(json.loads(json.dumps(state.to_dict())))


@given(settings_of_both(), st.lists(st.floats(1e-3, 10), max_size=40))
def test_a_threshold_relative_to_the_size_is_torchs_own_for_positive_metrics(
    drawn: tuple[list[float], dict[str, Any]], sequence: list[float]
) -> None:
    rates, options = drawn
    seen = [Observation(step, metric, tuple(rates)) for step, metric in enumerate(sequence)]
    assert replay(plateau(**options), seen) == replay(twin_of(options), seen)


def at(*values: float, lr: float = 0.1, stride: int = 1) -> list[Observation]:
    return [Observation(stride * (i + 1), value, (lr,)) for i, value in enumerate(values)]


def cuts(controller: Plateau, observations: list[Observation]) -> list[int]:
    """The numbers of the observations (from 1) that were answered by a reduction."""
    return [i for i, action in enumerate(replay(controller, observations), 1) if action.acts]


@pytest.mark.parametrize(
    ("options", "values", "expected"),
    [
        ({"patience": 2}, [1.0] * 10, [4, 7, 10]),
        ({"patience": 2}, [3.0, 2.0, 1.0, 0.5], []),
        ({"patience": 2}, [1.0, 0.9, 0.95, 0.93, 0.91], [5]),
        ({"patience": 0}, [1.0] * 4, [2, 3, 4]),
        ({"patience": 2, "cooldown": 2}, [1.0] * 12, [4, 9]),
        ({"patience": 1}, [3.0, 2.0, 1.0, 0.5, 0.25], []),
        ({"patience": 1, "mode": "max"}, [1.0, 2.0, 3.0, 3.0, 3.0], [5]),
        ({"patience": 1, "threshold": 0.1}, [1.0, 0.95, 0.92, 0.91], [3]),
        ({"patience": 1, "threshold": 0.1, "threshold_mode": "abs"}, [1.0, 0.95, 0.85, 0.8], []),
    ],
)
def test_worked_traces(options: dict[str, Any], values: list[float], expected: list[int]) -> None:
    assert cuts(plateau(**options), at(*values)) == expected


@pytest.mark.parametrize("mode", ["min", "max"])
def test_a_negative_metric_that_stands_still_is_a_plateau(mode: Any) -> None:
    """torch calls it better every time (its bound lies on the wrong side of the best) and never reduces."""
    constant = at(*[-1.0] * 20)
    assert cuts(plateau(patience=2, mode=mode), constant) == [4, 7, 10, 13, 16, 19]
    assert cuts(plateau(patience=2, mode=mode, threshold_mode="signed"), constant) == []


def test_a_negative_metric_that_gets_better_is_seen_to() -> None:
    assert cuts(plateau(patience=0), at(-1.0, -1.1, -1.2, -1.3)) == []
    assert cuts(plateau(patience=0, mode="max"), at(-1.3, -1.2, -1.1, -1.0)) == []


def test_a_reduction_stops_at_min_lr_and_leaves_out_what_eps_calls_nothing() -> None:
    observation = Observation(1, 1.0, (0.1, 0.02, 1e-3, 1e-9))
    controller = plateau(patience=0, min_lr=[0.0, 0.01, 2e-3, 0.0])
    state, _ = controller.update(controller.init(), observation)
    _, action = controller.update(state, observation)
    assert action.factors == (0.1, 0.5, 1.0, 1.0)
    assert action.reason == "the metric was not better than 1 in 1 decisions"


def test_it_decides_once_in_each_stretch_of_every_updates() -> None:
    controller = plateau(patience=0, every=100)
    constant = [Observation(step, 1.0, (0.1,)) for step in (10, 99, 130, 190, 210, 250, 400, 401, 505)]
    assert cuts(controller, constant) == [5, 7, 9]  # 130 sets the best; 210, 400 and 505 begin stretches


def test_durations_become_steps_of_the_run() -> None:
    controller = plateau(every="1 epoch", after="5%")
    assert controller.over(Horizon(1000, steps_per_epoch=33)) == plateau(every=33, after=50)
    assert controller.over(Horizon(10, steps_per_epoch=33)).over(Horizon(7)) == plateau(every=33, after=1)
    with pytest.raises(HorizonError, match=r"not in steps yet: use its over\(horizon\)"):
        controller.update(controller.init(), at(1.0)[0])
    with pytest.raises(HorizonError, match="steps_per_epoch"):
        controller.over(Horizon(1000))


def test_what_is_left_open_can_be_settled_later() -> None:
    epoch = Duration.of("1 epoch")
    assert plateau(patience=3).settled(every=epoch, metric="loss") == plateau(
        patience=3, every="1 epoch", metric="loss"
    )
    said = plateau(every=7, metric="accuracy")
    assert said.settled(every=epoch, metric="loss") == said


def test_what_is_observed_before_after_leaves_no_trace() -> None:
    controller = plateau(patience=1, after=5)
    early = [Observation(step, 0.1, (0.1,)) for step in range(1, 5)]
    late = [Observation(step, 1.0, (0.1,)) for step in range(5, 9)]
    assert cuts(controller, early + late) == [len(early) + i for i in cuts(plateau(patience=1), late)]


def test_smoothing_is_the_average_without_the_bias_of_its_start() -> None:
    values, s = [4.0, 2.0, 3.0, 1.0], 0.75
    controller = plateau(smoothing=s)
    state = controller.init()
    for n in range(1, len(values) + 1):
        state, _ = controller.update(state, at(*values)[n - 1])
        weights = [s ** (n - 1 - i) for i in range(n)]
        average = sum(w * v for w, v in zip(weights, values, strict=False)) / sum(weights)
        assert state.mean / (1 - s**n) == pytest.approx(average, rel=1e-12)


def test_smoothing_has_it_mistake_noise_for_a_plateau_less_often() -> None:
    """Every cut here is a mistake: below its noise the metric falls all the time."""
    mistakes = {0.0: 0, 0.8: 0}
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(60, generator=generator).tolist()
        falling = at(*[10 - 0.1 * i + 0.5 * e for i, e in enumerate(noise)])
        for s in mistakes:
            mistakes[s] += len(cuts(plateau(patience=3, smoothing=s), falling))
    assert mistakes[0.8] < mistakes[0.0] / 2


def test_a_metric_that_is_no_number_is_an_error_unless_a_policy_says_otherwise() -> None:
    values = at(1.0, math.nan, math.nan, 0.5, math.inf, 0.4)
    with pytest.raises(MetricError, match=r"metric nan after 2 updates.*nan='bad'.*nan='skip'"):
        replay(plateau(), values)
    assert cuts(plateau(patience=1, nan="bad"), values) == [3]
    assert cuts(plateau(patience=1, nan="skip"), values) == []


def test_a_bad_nan_does_not_enter_the_average() -> None:
    controller = plateau(smoothing=0.5, nan="bad")
    state, _ = controller.update(controller.init(), Observation(1, 2.0, (0.1,)))
    after, _ = controller.update(state, Observation(2, math.nan, (0.1,)))
    assert (after.mean, after.seen, after.bad) == (state.mean, state.seen, 1)


def test_it_is_a_value() -> None:
    assert plateau(patience=5) == plateau(patience=5.0) != plateau(patience=6)  # type: ignore[arg-type]
    assert len({plateau(), plateau(patience=10), plateau(every="2%")}) == 2
    assert str(plateau(patience=5)) == "plateau(patience=5)"
    assert str(plateau()) == "plateau()"
    full = plateau(mode="max", every="1 epoch", min_lr=(1e-5, 0), metric="validation accuracy", nan="skip")
    assert str(full) == (
        "plateau(mode=max, min_lr=[1e-05, 0], every=1 epoch, metric='validation accuracy', nan=skip)"
    )
    assert eval(repr(full), {"plateau": plateau}) == full  # noqa: S307 - repr is Python, and that is the test


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"factor": 1.0}, "factor takes a finite number above 0 and below 1, not 1.0"),
        ({"factor": 0.0}, "factor"),
        ({"patience": -1}, "patience takes a whole number from 0 on, not -1"),
        ({"patience": True}, "patience"),
        ({"cooldown": 0.5}, "cooldown"),
        ({"mode": "mim"}, "mode cannot be 'mim'; did you mean 'min'"),
        ({"threshold_mode": "relative"}, "did you mean 'rel'"),
        ({"nan": "ignore"}, "choose from bad, error, skip"),
        ({"threshold": -1}, "threshold"),
        ({"threshold": 1.0}, "a part below 1"),
        ({"smoothing": 1.0}, "smoothing takes a finite number from 0 and below 1"),
        ({"every": 0}, "every=0"),
        ({"every": "1 fortnight"}, "every: unknown unit"),
        ({"after": -5}, "after"),
        ({"min_lr": []}, "min_lr is an empty list"),
        ({"min_lr": [0.1, "x"]}, "min_lr"),
        ({"eps": math.nan}, "eps"),
        ({"metric": ""}, "metric takes a name"),
        ({"metric": "a\nb"}, "metric takes a name"),
    ],
)
def test_wrong_arguments_are_refused_at_the_door(options: dict[str, Any], match: str) -> None:
    with pytest.raises(SpecError, match=match):
        plateau(**options)


def test_as_many_min_lr_as_groups() -> None:
    with pytest.raises(SpecError, match="2 min_lr for 1 groups"):
        replay(plateau(min_lr=[0.0, 0.1]), at(1.0))


@pytest.mark.parametrize(
    "data",
    [{}, {"best": 1.0}, {**PlateauState().to_dict(), "bad": "3"}, {**PlateauState().to_dict(), "x": 1}],
)
def test_a_damaged_state_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises(StateError, match="no state of plateau"):
        plateau().restore(data)


def test_states_and_actions_are_small_plain_values() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        state = PlateauState(best=0.5, bad=3)
        assert plateau().restore(json.loads(json.dumps(state.to_dict()))) == state
    assert not Action((1.0, 1.0)).acts
    assert Action((1.0, 0.5)).acts
    assert issubclass(MetricError, (LrkitError, ValueError))
