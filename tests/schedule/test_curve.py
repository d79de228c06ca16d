"""The curve: one number for one step, whoever asks for it and however many at once; and what lies before and after."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrkit.duration import Horizon
from lrkit.errors import HorizonError
from lrkit.schedule import (
    Curve,
    Schedule,
    cosine,
    cyclic,
    from_function,
    hold,
    inverse_sqrt,
    linear,
    milestones,
    polynomial,
    restarts,
    warmup,
)
from lrkit.spec import CATALOG, parse
from strategies import BASE_LR, quiet, tilings

torch = pytest.importorskip("torch")

ENDINGS = st.sampled_from(["hold", "continue"])
STEPS = st.integers(1, 10**6)


def _some_steps(data: st.DataObject, curve: Curve, *, beyond: int = 100) -> list[int]:
    """A few steps, most of them beside the borders between phases, some past the end."""
    borders = sorted({border for start, stop, _ in curve.phases for border in (start, stop)})[:50]
    near = st.sampled_from(borders).flatmap(lambda b: st.integers(max(0, b - 2), b + 2))
    return data.draw(st.lists(near | st.integers(0, curve.steps + beyond), min_size=1, max_size=20))


class TestOneNumber:
    @given(tilings(), STEPS, ENDINGS, st.data())
    def test_int_and_numpy_agree_to_the_last_bit(
        self, schedule: Schedule, steps: int, ending: str, data: st.DataObject
    ) -> None:
        curve = quiet(schedule.after(ending), steps)
        asked = _some_steps(data, curve)
        together = curve(np.array(asked))
        assert together.dtype == np.float64
        assert [curve(t) for t in asked] == together.tolist()
        assert all(type(curve(t)) is float for t in asked)

    @pytest.mark.parametrize("entry", CATALOG, ids=lambda entry: entry.name)
    def test_so_do_all_steps_of_each_example(self, entry: object) -> None:
        curve = parse(entry.example).over(1009)  # type: ignore[attr-defined]
        whole = curve(np.arange(1009))
        assert [curve(t) for t in range(1009)] == whole.tolist()
        assert curve.chunk(0, 1009).tolist() == whole.tolist()

    @given(tilings(), STEPS, st.data())
    def test_a_chunk_is_the_calls_one_by_one(
        self, schedule: Schedule, steps: int, data: st.DataObject
    ) -> None:
        curve = quiet(schedule, steps)
        start = data.draw(st.integers(0, steps))
        stop = start + data.draw(st.integers(0, 40))
        assert curve.chunk(start, stop).tolist() == [curve(t) for t in range(start, stop)]

    @given(tilings(), STEPS, ENDINGS, st.data())
    def test_torch_agrees_within_4_ulp_of_the_peak(
        self, schedule: Schedule, steps: int, ending: str, data: st.DataObject
    ) -> None:
        curve = quiet(schedule.after(ending), steps)
        asked = np.array(_some_steps(data, curve))
        ours = curve(torch.from_numpy(asked))
        assert ours.dtype == torch.float64
        expected = curve(asked)
        peak = max(1.0, float(expected.max()))
        np.testing.assert_allclose(ours.numpy(), expected, rtol=0, atol=4 * np.spacing(peak))

    def test_any_shape_and_any_integer_type(self) -> None:
        curve = (warmup(2) >> linear(to=0)).over(12)
        steps = np.arange(12).reshape(3, 4)
        assert curve(steps).tolist() == curve.chunk(0, 12).reshape(3, 4).tolist()
        for dtype in (np.uint8, np.int16, np.uint64):
            assert curve(steps.astype(dtype)).tolist() == curve(steps).tolist()
        assert curve(np.int32(5)) == curve([5])[0] == curve(5)
        assert curve(torch.tensor(5)).shape == ()
        assert (
            curve(torch.arange(12, dtype=torch.uint8).reshape(2, 6)).tolist()
            == curve(steps.reshape(2, 6)).tolist()
        )
        assert curve(np.array([], dtype=np.int64)).shape == (0,)
        assert curve.chunk(5, 5).shape == curve.chunk(7, 5).shape == (0,)

    @pytest.mark.parametrize(
        "wrong",
        [2.0, "2", None, True, np.array([1.5]), [True], torch.tensor([1.5]), torch.tensor([True])],
        ids=repr,
    )
    def test_steps_are_whole_numbers(self, wrong: object) -> None:
        with pytest.raises(HorizonError, match="steps are whole numbers"):
            hold().over(10)(wrong)


class TestDevices:
    def test_a_tensor_stays_on_its_device(self) -> None:
        """The meta device holds no numbers at all: a curve that read one back would fail on it."""
        for entry in CATALOG:
            steps = torch.arange(100, device="meta")
            found = quiet(parse(entry.example), 1000)(steps)
            assert found.device.type == "meta"
            assert found.dtype == torch.float64

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
    def test_nothing_waits_for_the_device(self) -> None:
        curves = [quiet(parse(entry.example), 1000) for entry in CATALOG]
        steps = torch.arange(1000, device="cuda")
        torch.cuda.set_sync_debug_mode("error")
        try:
            found = [curve(steps) for curve in curves]
        finally:
            torch.cuda.set_sync_debug_mode("default")
        for curve, values in zip(curves, found, strict=True):
            np.testing.assert_allclose(
                values.cpu().numpy(), curve.chunk(0, 1000), rtol=0, atol=4 * np.spacing(1.0)
            )

    def test_a_function_is_a_table_there(self) -> None:
        curve = (hold(2) >> from_function(lambda step: 1 / (step + 1)).after("continue")).over(6)
        assert curve(torch.arange(6)).tolist() == curve.chunk(0, 6).tolist()
        assert curve(torch.tensor([9])).tolist() == [0.25]

    def test_jax_arrays(self) -> None:
        jax = pytest.importorskip("jax")
        for entry in CATALOG:
            curve = quiet(parse(entry.example), 1000)
            found = curve(jax.numpy.arange(1100))
            assert isinstance(found, jax.Array)
            eps = float(jax.numpy.finfo(found.dtype).eps)
            np.testing.assert_allclose(np.asarray(found), curve(np.arange(1100)), rtol=0, atol=16 * eps)
            np.testing.assert_allclose(
                np.asarray(jax.jit(curve)(jax.numpy.arange(9))), curve(np.arange(9)), atol=16 * eps
            )


class TestBefore:
    @pytest.mark.parametrize("steps", [-1, np.array([3, -1]), [-5]], ids=repr)
    def test_before_0_is_an_error_on_the_host(self, steps: object) -> None:
        with pytest.raises(HorizonError, match=r"step -\d lies before the run: steps count from 0"):
            hold().over(10)(steps)

    def test_a_chunk_cannot_start_there_either(self) -> None:
        with pytest.raises(HorizonError, match="before the run"):
            hold().over(10).chunk(-1, 3)

    def test_on_a_device_it_counts_as_0(self) -> None:
        curve = linear(to=0).over(4)
        assert curve(torch.tensor([-3, 0, 1])).tolist() == [1.0, 1.0, 0.75]


class TestAfter:
    @given(tilings(), STEPS)
    def test_hold_stays_at_the_level_on_which_it_ended(self, schedule: Schedule, steps: int) -> None:
        curve = quiet(schedule, steps)
        after = quiet(schedule >> hold("0%"), steps).track.end
        assert curve(steps) == curve(10 * steps) == after
        assert set(curve(np.arange(steps, steps + 9)).tolist()) == {after}
        assert curve(torch.tensor([steps + 5])).tolist() == [after]

    def test_continue_lets_the_last_formula_go_on(self) -> None:
        assert cyclic(2, low=0).after("continue").over(3).chunk(0, 9).tolist() == [
            0,
            0.5,
            1,
            0.5,
            0,
            0.5,
            1,
            0.5,
            0,
        ]
        late = np.array([400, 10**6])
        np.testing.assert_allclose(
            inverse_sqrt(100).after("continue").over(10)(late), (100 / (late + 100)) ** 0.5
        )
        short, long = restarts(2, growth=2).after("continue").over(3), restarts(2, growth=2).over(500)
        assert short.chunk(0, 500).tolist() == long.chunk(0, 500).tolist()
        np.testing.assert_allclose(
            cosine().after("continue").over(10).chunk(10, 21)[::5], [0, 0.5, 1], atol=1e-15
        )

    def test_nothing_continues_below_0(self) -> None:
        for schedule in (linear(to=0), polynomial(power=0.5), polynomial(power=2)):
            curve = schedule.after("continue").over(10)
            assert curve.chunk(10, 15).tolist() == curve(torch.arange(10, 15)).tolist() == [0.0] * 5
            assert [curve(t) for t in range(10, 15)] == [0.0] * 5

    def test_error_is_an_error_on_the_host_and_holds_on_a_device(self) -> None:
        curve = linear(to=0.5).after("error").over(10)
        assert curve(9) == pytest.approx(0.55)
        for ask in (lambda: curve(10), lambda: curve([3, 10]), lambda: curve.chunk(5, 11)):
            with pytest.raises(HorizonError, match="step 10 lies after the end, 10 steps"):
                ask()
        assert curve(torch.tensor([15])).tolist() == [0.5]

    def test_steps_that_no_float_can_count_are_refused(self) -> None:
        for step in (2**53, 10**30, np.array([2**63], dtype=np.uint64)):
            with pytest.raises(HorizonError):
                linear().over(10)(step)


class TestCurves:
    def test_they_are_values(self) -> None:
        a, b = cosine(to=0).over(100), cosine(to=0).over(Horizon(100))
        assert a == b
        assert hash(a) == hash(b)
        assert a != cosine(to=0).over(101)
        assert a != cosine(to=0).over(100, base_lr=1.0)

    @given(tilings(), st.integers(1, 500))
    def test_copies_give_the_same_numbers(self, schedule: Schedule, steps: int) -> None:
        curve = quiet(schedule, steps)
        again = copy.deepcopy(curve)
        assert again == curve
        assert again.chunk(0, steps).tolist() == curve.chunk(0, steps).tolist()

    def test_they_can_be_pickled(self) -> None:
        curve = (warmup("5%") >> cosine(to=0)).over(100, base_lr=BASE_LR)
        again = pickle.loads(pickle.dumps(curve))  # noqa: S301 - our own bytes
        assert again == curve
        assert again.chunk(0, 120).tolist() == curve.chunk(0, 120).tolist()

    def test_they_show_what_they_are(self) -> None:
        curve = (warmup(5) >> cosine(to=0)).over(100, base_lr=0.1)
        assert repr(curve) == "<Curve warmup(5) >> cosine(to=0) over 100 steps, base_lr=0.1>"
        assert curve.steps == 100
        assert curve.phases == ((0, 5, "warmup(5)"), (5, 100, "cosine(to=0)"))

    def test_long_runs_are_quick_to_chunk(self) -> None:
        """Ten thousand phases: a chunk looks at its own only, which a scan over all would not survive."""
        curve = hold().repeat(10_000).over(10**9)
        assert curve.chunk(10**9 - 3, 10**9 + 2).tolist() == [1.0] * 5


def test_milestones_on_the_device_use_tables() -> None:
    curve = milestones([3, 1, 3], factor=[0.5, 0.1, 0.5]).over(6)
    expected = [1.0, 0.1, 0.1, 0.025, 0.025, 0.025]
    assert curve.chunk(0, 6).tolist() == pytest.approx(expected)
    assert curve(torch.arange(6)).tolist() == curve.chunk(0, 6).tolist()


def test_curves_work_where_torch_was_never_imported() -> None:
    code = (
        "import sys; from lrkit.spec import parse; c = parse('warmup(5%) >> cosine(to=0)').over(100);"
        "import numpy as np; c(np.arange(100)); c(3); sys.exit('torch' in sys.modules or 'jax' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
