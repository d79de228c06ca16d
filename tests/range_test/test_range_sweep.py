"""What one sweep measures, against arithmetic done by hand on a model of one weight."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from lrkit.errors import TaskError
from lrkit.range_test import find_lr


class Weight(nn.Module):
    def __init__(self, start: float = 1.0) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(start, dtype=torch.float64))


def squared(model: Weight, batch: torch.Tensor) -> torch.Tensor:
    """w^2 / 2 per unit of the batch: its gradient is w, so an update at rate r leaves (1 - r * batch) w."""
    return batch * model.w**2 / 2


def sgd(model: nn.Module, lr: float = 0.1) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=lr)


ONES = [torch.tensor(1.0, dtype=torch.float64)]


def quadratic(curvature: float):
    """A bowl whose stable rates end at 2 / curvature; its batches shift the loss and the gradient a little."""
    return lambda model, batch: 0.1 + 0.01 * batch * (1 + model.w) + curvature * model.w**2 / 2


NOISE = [torch.tensor(value, dtype=torch.float64) for value in np.random.default_rng(0).normal(size=97)]


def swept(loss=squared, *, train=ONES, model=None, optimizer=None, **options):
    model = Weight() if model is None else model
    options = {"low": 1e-4, "high": 1.0, "steps": 40, "repeats": 1, **options}
    return find_lr(model=model, optimizer=optimizer or sgd(model), loss=loss, train=train, **options)


class Counted:
    """A loss that counts its calls and may do something at one of them."""

    def __init__(self, at: int | None = None, effect=None, loss=squared) -> None:
        self.calls, self.at, self.effect, self.loss = 0, at, effect, loss

    def __call__(self, model, batch):
        self.calls += 1
        value = self.loss(model, batch)
        return self.effect(value) if self.calls - 1 == self.at else value


def by_hand(result, batches=(1.0,)):
    """The losses of a sweep with `squared`, the batches' values in turn."""
    points = len(result.losses[0])
    values = np.resize(batches, points + 1)
    weights = np.cumprod(1 - result.lrs[:points] * values[:-1])
    return values[1:] * weights**2 / 2


def test_each_loss_belongs_to_the_rate_before_it():
    result = swept()
    np.testing.assert_allclose(result.losses[0], by_hand(result), rtol=1e-6)


def test_a_linear_sweep_rises_by_equal_steps():
    result = swept(spacing="linear", low=0.01, high=0.5)
    np.testing.assert_allclose(np.diff(result.lrs), (0.5 - 0.01) / 39, rtol=1e-9)
    np.testing.assert_allclose(result.losses[0], by_hand(result), rtol=1e-6)


def test_it_takes_one_update_a_rate_and_one_forward_pass_at_the_end():
    loss = Counted(loss=quadratic(1.0))
    result = swept(loss, train=NOISE, steps=60, high=2.0)
    assert result.status == "found"
    assert result.steps == len(result.losses[0])
    assert loss.calls == result.steps + 1


def test_a_fall_that_noise_may_hide_is_looked_for_once_more_in_more_steps():
    nothing = {"loss": lambda model, batch: 2.0 + 0 * model.w, "low": 1e-3, "high": 1.0}
    result = swept(**nothing, steps=None)
    assert result.status == "never fell"
    # Both times it went on for two decades beyond the range as well: 100 + 2 x 33, then 300 + 2 x 100 points.
    assert (len(result.lrs), result.steps) == (500, 666)
    # A number of steps that is asked for is kept.
    assert swept(**nothing, steps=30).steps == 50


def test_a_point_is_the_mean_loss_of_its_window():
    batches = [torch.tensor(value, dtype=torch.float64) for value in (0.5, 1.0, 1.5, 2.0)]
    result = swept(train=batches, accumulate=2)
    # The list is walked in its order: windows of mean 0.75 and 1.75 in turn.
    np.testing.assert_allclose(result.losses[0], by_hand(result, [0.75, 1.75]), rtol=1e-6)


def test_the_rest_of_an_epoch_is_a_window_of_its_own():
    batches = [torch.tensor(value, dtype=torch.float64) for value in (0.5, 1.0, 2.0)]
    result = swept(train=batches, accumulate=2)
    np.testing.assert_allclose(result.losses[0], by_hand(result, [0.75, 2.0]), rtol=1e-6)


def test_the_stream_wraps_around():
    batches = [torch.tensor(value, dtype=torch.float64) for value in (0.5, 1.0, 2.0)]
    result = swept(train=batches, steps=20)
    np.testing.assert_allclose(result.losses[0], by_hand(result, [0.5, 1.0, 2.0]), rtol=1e-6)


class InfiniteGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, value):
        return value.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * math.inf


@pytest.mark.parametrize("at", [0, 1, 7, 30])
def test_an_update_that_the_scaler_skips_is_no_point(at):
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    before = scaler.state_dict()
    loss = Counted(at, InfiniteGradient.apply)
    result = swept(loss, scaler=scaler)
    np.testing.assert_allclose(result.losses[0], by_hand(result), rtol=1e-6)
    # The update that was skipped cost what others cost.
    assert result.steps == len(result.losses[0]) + 1
    assert loss.calls == result.steps + 1
    assert scaler.state_dict() == before


def test_a_scaler_that_skips_for_ever_ends_the_sweep():
    class Always(Counted):
        def __call__(self, model, batch):
            return InfiniteGradient.apply(super().__call__(model, batch))

    result = swept(Always(), scaler=torch.amp.GradScaler("cpu"))
    assert (result.suggestion, result.status) == (None, "diverged at once")


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("at", [1, 5, 20, 40])
def test_a_loss_that_is_not_finite_ends_the_sweep_and_is_dropped(at, value):
    # A sweep that ends in its beginning is begun again lower, where the loss is finite by then.
    result = swept(Counted(at, lambda loss: loss * value), low=1e-3)
    assert np.isfinite(result.losses[0]).all()
    if at <= 10:
        assert result.steps == at + len(result.lrs)
    else:
        assert len(result.losses[0]) == at - 1
        assert result.steps == at


def test_a_loss_that_is_nan_at_any_rate_is_told_and_nothing_suggested():
    result = swept(lambda model, batch: squared(model, batch) * math.nan, repeats=2)
    assert (result.suggestion, result.bracket, result.status) == (None, None, "diverged at once")
    assert "not finite" in result.reason


def test_a_loss_that_no_rate_moves_never_fell():
    # The gradient is zero, the loss is not.
    result = swept(lambda model, batch: 2.0 + 0 * model.w)
    assert (result.suggestion, result.bracket, result.status) == (None, None, "never fell")


def test_the_sweep_goes_on_beyond_a_range_that_ends_too_low():
    result = swept(quadratic(10.0), train=NOISE, low=1e-6, high=1e-2, steps=80)
    assert result.status == "found"
    assert result.lrs[79] == pytest.approx(1e-2)
    assert result.lrs[-1] > 0.1
    assert 1e-2 < result.suggestion < 0.5
    # It went on where it stood: no update was spent twice.
    assert result.steps == len(result.losses[0])


def test_a_range_that_ends_far_too_low_is_no_guess():
    result = swept(quadratic(1.0), train=NOISE, low=1e-9, high=1e-5, steps=80)
    assert result.suggestion is None
    assert result.status in ("could not tell", "never fell")
    assert result.lrs[-1] < 2e-3


def test_the_sweep_begins_lower_where_it_diverged_at_once():
    result = swept(quadratic(1.0), train=NOISE, low=5.0, high=500.0, steps=40)
    assert result.status == "found"
    assert result.lrs[0] < 1e-2
    # Beyond 2 the weight grows again, from almost nothing: the loss shows it a little later.
    assert 0.1 < result.suggestion < 10.0
    # What the first attempt cost is counted.
    assert result.steps > len(result.losses[0])


def test_how_often_a_range_grows_is_bounded():
    result = swept(quadratic(1e14), train=NOISE, low=1.0, high=10.0, steps=40)
    assert result.status == "diverged at once"
    assert result.lrs[0] == pytest.approx(1e-6)


@pytest.mark.parametrize(
    ("loss", "told"),
    [
        (lambda model, batch: 1.0, "gave a float"),
        (lambda model, batch: model.w.expand(3), r"shape \(3,\)"),
        (lambda model, batch: squared(model, batch).detach(), "does not depend on a trainable parameter"),
    ],
)
def test_a_loss_that_is_none_is_refused(loss, told):
    with pytest.raises(TaskError, match=told) as raised:
        swept(loss)
    assert "\n" not in str(raised.value)


def test_an_empty_loader_is_refused():
    with pytest.raises(TaskError, match="no batch"):
        swept(train=[])


def test_an_iterator_is_refused_because_it_cannot_be_put_back():
    with pytest.raises(TaskError, match="cannot be put back"):
        swept(train=iter(ONES * 10))


class Once:
    """Gives its batches once, whoever asks again."""

    def __init__(self) -> None:
        self.batches = ONES * 10

    def __iter__(self):
        batches, self.batches = self.batches, []
        return iter(batches)


def test_a_loader_that_can_be_walked_once_only_is_refused_at_its_end():
    with pytest.raises(TaskError, match="used up"):
        swept(train=Once())


def test_frozen_parameters_are_refused():
    model = Weight()
    model.w.requires_grad_(False)
    with pytest.raises(TaskError, match="requires_grad"):
        swept(model=model)
