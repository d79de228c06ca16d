"""How a peer's words are read: names, parameters, texts, and what is said about those that are wrong."""

from __future__ import annotations

import doctest
import importlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lrkit import convert
from lrkit.errors import HorizonError, SpecError
from lrkit.spec import parse

WARM = {"num_warmup_steps": 2, "num_training_steps": 6}


def test_a_spec_stays_a_spec():
    assert convert.parse("warmup(5%) >> cosine(to=0)") == parse("warmup(5%) >> cosine(to=0)")
    assert convert.parse_spec("hold() & plateau(patience=2)").control


def test_controllers_follow_a_peer_s_schedule():
    spec = convert.parse_spec("transformers:constant_with_warmup(num_warmup_steps=3) & plateau(patience=2)")
    assert spec.schedule == convert.schedule("transformers:constant_with_warmup", num_warmup_steps=3)
    assert [str(controller) for controller in spec.control] == ["plateau(patience=2)"]


@pytest.mark.parametrize("peer", sorted(convert.DIALECTS))
def test_every_entry_says_what_it_computes(peer):
    for name, build in convert.DIALECTS[peer].items():
        assert (build.__doc__ or "").strip(), f"{peer}:{name}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("transfomers:cosine", "unknown peer 'transfomers'; did you mean 'transformers'?"),
        (
            "transformers:cosin",
            "transformers: unknown schedule 'cosin' at column 1 of 'cosin'; did you mean 'cosine'?",
        ),
        ("timm:CosineLR(t_initial=3)", "did you mean 'CosineLRScheduler'?"),
        ("transformers:cosine(num_warmup=3)", "did you mean 'num_warmup_steps'?"),
        ("transformers:cosine(num_warmup_steps=3)", "cosine() lacks its argument 'num_training_steps'"),
        ("transformers:", "write 'peer:name'"),
        (":cosine", "unknown peer ''"),
        (
            "transformers:linear(num_warmup_steps=0.5, num_training_steps=6)",
            "num_warmup_steps takes a whole number",
        ),
        (
            "composer:LinearScheduler(t_max='5 ba', max_duration='10')",
            "max_duration takes a time such as '10ba'",
        ),
        (
            "fvcore:CompositeParamScheduler(schedulers=[no], lengths=[1], interval_scaling=[fixed], steps=3)",
            "unknown scheduler 'no'",
        ),
    ],
)
def test_a_wrong_text_is_told_in_one_line(text, said):
    with pytest.raises(SpecError) as raised:
        convert.parse(text)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "parameters", "said"),
    [
        ("transformers:cosin", {}, "transformers has no schedule 'cosin'; did you mean 'cosine'?"),
        (
            "transformers:cosine",
            {"num_warmup": 3},
            "transformers:cosine has no parameter 'num_warmup'; did you mean",
        ),
        ("transformers:cosine", {"num_warmup_steps": 3}, "lacks its parameter 'num_training_steps'"),
        (
            "transformers:cosine",
            {**WARM, "num_cycles": "2"},
            "transformers:cosine: num_cycles takes a finite number",
        ),
        (
            "transformers:polynomial",
            {**WARM, "lr_end": 1, "base_lr": 1},
            "polynomial: lr_end=1 must lie below",
        ),
        (
            "transformers:polynomial",
            {"num_warmup_steps": 6, "num_training_steps": 6},
            "the peer would divide by 0",
        ),
        ("transformers:cosine_with_min_lr", WARM, "exactly one of min_lr and min_lr_rate"),
        (
            "timm:CosineLRScheduler",
            {"t_initial": 5, "warmup_prefix": 1},
            "warmup_prefix takes True or False, not 1",
        ),
        (
            "timm:CosineLRScheduler",
            {"t_initial": 5, "noise_range_t": 3},
            "noise_range_t takes a pair of steps",
        ),
        ("kohya:constant", {"lr_warmup_steps": 5}, "use 'constant_with_warmup'"),
        ("kohya:piecewise_constant", {"lr_scheduler_args": ["step_rules=1:100,0.1"]}, "quote text"),
        ("composer:StepScheduler", {"step_size": "1ep"}, "needs dataloader_len"),
        ("olmo:WSD", {"t_max": 10, "warmup": 2, "decay": 3}, "exactly one of decay and decay_fraction"),
        ("olmo:WSD", {"t_max": 10, "warmup": 8, "decay_fraction": 0.8}, "do not fit into t_max=10"),
        ("torch", {}, "write 'peer:name'"),
    ],
)
def test_a_wrong_call_is_told_with_the_peer_s_name(name, parameters, said):
    with pytest.raises(SpecError) as raised:
        convert.schedule(name, **parameters)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_run_that_is_not_the_one_it_was_made_for_is_told():
    with pytest.raises(HorizonError, match="take 6 steps of 7"):
        convert.schedule("transformers:cosine", **WARM).over(7)


def test_rates_are_factors_of_the_base_lr_and_by_default_themselves():
    peak = {
        "lr_warmup_steps": 0,
        "lr_decay_steps": 10,
        "lr_decay_style": "linear",
        "max_lr": 3e-4,
        "min_lr": 0.0,
    }
    name = "megatron:OptimizerParamScheduler"
    assert convert.schedule(name, **peak).over(10)(0) == 3e-4
    assert convert.schedule(name, **peak, base_lr=3e-4).over(10)(0) == 1.0


def test_a_composite_s_parts_are_texts_or_pairs():
    rest = {"lengths": [0.5, 0.5], "interval_scaling": ["rescaled", "rescaled"], "steps": 10}
    texts = ["ConstantParamScheduler(value=1)", "LinearParamScheduler(start_value=1, end_value=0)"]
    pairs = [
        ("ConstantParamScheduler", {"value": 1}),
        ("LinearParamScheduler", {"start_value": 1, "end_value": 0}),
    ]
    name = "fvcore:CompositeParamScheduler"
    assert convert.schedule(name, schedulers=texts, **rest) == convert.schedule(
        name, schedulers=pairs, **rest
    )


class TestNoise:
    def test_draws_multiply_the_rates_of_their_steps(self):
        draws = [0.5, -0.25, 0.1]
        curve = convert.schedule(
            "timm:StepLRScheduler", decay_t=9, noise_range_t=[2, 5], noise_draws=draws
        ).over(9)
        assert curve.chunk(0, 9) == pytest.approx([1, 1, 1.5, 0.75, 1.1, 1, 1, 1, 1])

    def test_without_draws_they_are_torch_s_seeded_with_the_step(self):
        torch = pytest.importorskip("torch")
        noisy = {"noise_range_t": [3, 40], "noise_pct": 0.4, "noise_std": 0.8, "noise_seed": 7}
        curve = convert.schedule("timm:CosineLRScheduler", t_initial=50, **noisy).over(50)
        plain = convert.schedule("timm:CosineLRScheduler", t_initial=50).over(50)
        for t in range(50):
            noise = 0.0
            if 3 <= t < 40:
                generator = torch.Generator().manual_seed(7 + t)
                noise = 1.0
                while abs(noise) >= 0.4:
                    noise = torch.randn(1, generator=generator).item() * 0.8
            assert curve(t) == pytest.approx(plain(t) * (1 + noise), abs=1e-15)

    def test_as_many_draws_as_steps(self):
        with pytest.raises(SpecError, match="2 noise_draws for the 3 steps"):
            convert.schedule("timm:StepLRScheduler", decay_t=9, noise_range_t=[2, 5], noise_draws=[0, 0])


def test_kohya_on_several_processes_is_every_nth_step():
    """Whether the lengths divide by N (phases) or not (a table): update u has what step u N of the scheduler has."""
    for steps in (6, 7):
        spread = convert.schedule(
            "kohya:linear", max_train_steps=20, lr_warmup_steps=steps, num_processes=3
        ).over(20)
        alone = convert.schedule("transformers:linear", num_warmup_steps=steps, num_training_steps=60).over(
            60
        )
        assert np.allclose(spread.chunk(0, 20), alone(np.arange(0, 60, 3)), atol=1e-15, rtol=0)


def test_the_page_names_every_entry():
    page = (Path(__file__).parents[2] / "docs" / "convert.md").read_text()
    words = set(re.findall(r"[A-Za-z_]\w*", page))
    missing = {
        f"{peer}:{name}" for peer, table in convert.DIALECTS.items() for name in table if name not in words
    }
    assert not missing
    assert set(convert.DIALECTS) <= words


def test_importing_the_room_does_not_load_torch():
    code = "import sys, lrkit.convert; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_the_examples_in_the_docstrings_run():
    found = doctest.testmod(importlib.import_module("lrkit.convert.dialects"))
    assert found.attempted >= 4
    assert not found.failed
