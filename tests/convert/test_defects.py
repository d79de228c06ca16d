"""The peers' known defects: the dialect has them, to the number, and the spec that its docstring names has not."""

from __future__ import annotations

import warnings

import pytest

from lrkit import convert
from lrkit.errors import HorizonError, SpecError
from lrkit.spec import parse


def peer(name, T, **parameters):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of milestones after the end
        return convert.schedule(name, **parameters).over(T)


def values(curve, count=None):
    return curve.chunk(0, curve.steps if count is None else count).tolist()


@pytest.mark.parametrize("name", ["transformers:cosine", "diffusers:cosine"])
def test_a_cosine_rises_again_after_its_end(name):
    rising = peer(name, 10, num_warmup_steps=2, num_training_steps=10)
    assert rising(10) == pytest.approx(0.0, abs=1e-15)
    assert rising(14) == pytest.approx(0.5)
    held = parse("linear(2, start=0, to=1) >> cosine(8, to=0)").over(10)
    assert values(held) == values(rising)
    assert held(14) == 0.0


def test_kohya_s_cosine_rises_too():
    assert peer("kohya:cosine", 10, max_train_steps=10)(15) == pytest.approx(0.5)


def test_a_floor_is_a_share_of_the_default_lr_and_wrong_in_other_groups():
    shared = {"num_warmup_steps": 0, "num_training_steps": 100, "base_lr": 1.0}
    for name, floor in [("polynomial", {"lr_end": 0.1}), ("cosine_with_min_lr", {"min_lr": 0.1})]:
        assert peer(f"transformers:{name}", 100, **shared, **floor)(100) * 2.0 == pytest.approx(0.2)
    right = parse("polynomial(power=1, to=absolute(0.1))")
    assert [right.over(100, base_lr=lr)(100) * lr for lr in (1.0, 2.0)] == pytest.approx([0.1, 0.1])


def test_where_warmup_and_decay_overrun_the_run_the_peak_is_never_reached():
    lengths = {"num_warmup_steps": 3, "num_decay_steps": 4, "num_training_steps": 5}
    curve = peer("transformers:warmup_stable_decay", 5, **lengths, decay_type="linear")
    assert values(curve) == pytest.approx([0, 1 / 3, 2 / 3, 0.5, 0.25])
    with pytest.raises(HorizonError, match="take 7 steps of 5"):
        parse("warmup(3) >> hold() >> cosine(4, to=0)").over(5)


def test_a_ratio_is_the_share_that_it_says():
    """transformers' Trainer makes ceil(0.07 * 100) = 8 steps of it, Composer int(0.29 * 100) = 28, and 0 of 9."""
    assert parse("warmup(7%) >> hold()").over(100).phases[0][:2] == (0, 7)
    wave = peer("composer:CosineAnnealingWithWarmupScheduler", 100, t_warmup="0.29dur", max_duration="100ba")
    assert wave(28) == 1.0
    assert parse("warmup(29%) >> cosine(to=0)").over(100).phases[0][:2] == (0, 29)
    gone = peer("composer:LinearWithWarmupScheduler", 9, t_warmup="0.1dur", max_duration="9ba")
    assert gone(0) == 1.0
    assert parse("warmup(10%) >> linear(to=0)").over(9)(0) == 0.5


def test_timm_s_milestones_act_one_step_early():
    assert values(peer("timm:MultiStepLRScheduler", 8, decay_t=[3, 6], decay_rate=0.5)) == [
        1,
        1,
        0.5,
        0.5,
        0.5,
        0.25,
        0.25,
        0.25,
    ]
    assert values(parse("milestones([3, 6], factor=0.5)").over(8)) == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25]


def test_timm_misses_a_restart_through_a_logarithm():
    t, T = 121 * 10, 2000
    wrong = peer("timm:CosineLRScheduler", T, t_initial=10, cycle_mul=3, cycle_limit=9)
    assert wrong(t) < 1e-9
    right = parse("restarts(10, growth=3, limit=9)").over(T)
    assert right(t) == 1.0
    assert right(t + 1) == pytest.approx(wrong(t + 1), abs=1e-12)


def test_timm_s_cycle_of_11_epochs_has_11():
    """Its get_cycle_length says 10 for t_initial=11, cycle_mul=1.2; its rates, and lrkit's, do have 11."""
    curve = peer("timm:CosineLRScheduler", 15, t_initial=11, cycle_mul=1.2, lr_min=0.01)
    assert curve(10) > 0.01
    assert values(curve)[11:] == [0.01] * 4


@pytest.mark.parametrize("kind", ["log", "linear"])
def test_deepspeed_loses_two_updates(kind):
    warm = {"warmup_num_steps": 4, "warmup_type": kind}
    for name, more in [
        ("WarmupLR", {}),
        ("WarmupDecayLR", {"total_num_steps": 10}),
        ("WarmupCosineLR", {"total_num_steps": 10}),
    ]:
        lost = peer(f"deepspeed:{name}", 10, **warm, **more)
        assert [lost(0), lost(1)] == [0.0, 0.0]
        assert lost(2) > 0
    assert parse("warmup(4) >> linear(to=0)").over(10)(0) > 0


def test_deepspeed_s_momentum_grows_beyond_1_and_begins_low():
    cycle = {"cycle_first_step_size": 5, "decay_step_size": 1, "decay_mom_rate": 0.1}
    beta = peer("deepspeed:OneCycleMomentum", 20, **cycle)
    assert beta(0) == 0.8
    assert beta(14) > 1.0
    right = parse("one_cycle_momentum(10, low=0.8) >> hold()").over(20)
    assert max(values(right)) <= 1.0


def test_deepspeed_s_cosine_holds_its_floor_today():
    """Up to 0.16.5 it rose."""
    curve = peer("deepspeed:WarmupCosineLR", 10, total_num_steps=10, warmup_num_steps=4, cos_min_ratio=0.1)
    assert curve(10) == curve(19) == 0.1


def test_megatron_falls_off_a_cliff():
    lengths = {"lr_warmup_steps": 4, "lr_decay_steps": 20, "max_lr": 1.0, "min_lr": 0.1}
    curve = peer("megatron:OptimizerParamScheduler", 20, **lengths, lr_decay_style="inverse-square-root")
    assert curve(20) == pytest.approx((4 / 20) ** 0.5)
    assert curve(21) == 0.1
    held = parse("warmup(4) >> inverse_sqrt(4)").over(20)
    assert held(21) == held(20) == pytest.approx((4 / 20) ** 0.5)


def test_negative_rates_end_at_0():
    """torchtitan's lines and OLMo's WSD go on below 0 past the end, which no factor of lrkit does."""
    short = peer(
        "torchtitan:linear_warmup_stable_decay", 10, total_steps=10, warmup_steps=2, min_lr_factor=0.1
    )
    assert short(10) == pytest.approx(0.1)
    assert short(11) < 0.1
    assert short(14) == 0.0
    assert peer("olmo:WSD", 10, t_max=10, warmup=2, decay=4, decay_fraction=None)(14) == 0.0
    assert parse("warmup(2) >> linear(to=0.1)").over(10)(14) == 0.1


def test_olmo_s_last_update_is_lost():
    assert peer("olmo:WSD", 10, t_max=10, warmup=2, decay=4, decay_fraction=None)(9) == 0.0
    assert parse("warmup(2) >> hold() >> linear(4, to=0)").over(10)(9) == 0.25


def test_composer_s_scaled_warmup_leaves_a_plateau():
    curve = peer(
        "composer:LinearWithWarmupScheduler",
        20,
        t_warmup="8ba",
        scale_warmup=True,
        max_duration="40ba",
        scale_schedule_ratio=0.5,
    )
    assert values(curve)[3:9] == [0.75, 1, 1, 1, 1, 1]
    assert parse("warmup(4) >> linear(to=0)").over(20)(5) < 1


def test_composer_s_constant_becomes_1_after_its_time():
    curve = peer("composer:ConstantScheduler", 10, alpha=0.5, t_max="4ba", max_duration="10ba")
    assert values(curve) == [0.5] * 4 + [1.0] * 6


def test_kohya_s_whole_numbers_count_steps_of_the_scheduler():
    half = peer("kohya:linear", 10, max_train_steps=10, lr_warmup_steps=4, num_processes=2)
    assert half.phases[0][:2] == (0, 2)
    share = peer("kohya:linear", 10, max_train_steps=10, lr_warmup_steps=0.4, num_processes=2)
    assert share.phases[0][:2] == (0, 4)


def test_kohya_tells_steps_from_shares_by_the_type():
    first = [peer("kohya:linear", 10, max_train_steps=10, lr_warmup_steps=w)(1) for w in (1, "10%", 0.1, 1.0)]
    assert first == [1.0, 1.0, 1.0, 0.1]  # the last one warms up through the whole run
    assert peer("kohya:linear", 10, max_train_steps=10, lr_warmup_steps=100.0)(9) == pytest.approx(9 / 1000)
    for text in ("1.0", "100.0", "-5%", "ten"):
        with pytest.raises(SpecError, match="takes steps"):
            convert.schedule("kohya:linear", lr_warmup_steps=text)


def test_kohya_s_wsd_does_not_decay_by_default():
    cliff = peer("kohya:warmup_stable_decay", 10, max_train_steps=10)
    assert values(cliff, 12) == [1.0] * 10 + [0.0] * 2


def test_two_of_kohya_s_cycles_return_to_the_full_rate():
    wave = peer(
        "kohya:cosine_with_min_lr",
        10,
        max_train_steps=10,
        lr_scheduler_num_cycles=2,
        lr_scheduler_min_lr_ratio=0.1,
    )
    assert wave(5) == pytest.approx(0.1)
    assert wave(10) == pytest.approx(1.0)


def test_fvcore_stumbles_at_the_end_and_lrkit_holds():
    assert peer("fvcore:StepParamScheduler", 4, num_updates=4, values=[1, 0.5])(4) == 0.5
    assert peer("fvcore:PolynomialDecayParamScheduler", 4, base_value=1.0, power=0.5)(6) == 0.0


def test_fastai_divides_by_0_for_equal_cycles():
    with pytest.raises(SpecError, match=r"cosine\(to=0\)\.repeat\(3\)"):
        convert.schedule("fastai:fit_sgdr", n_cycles=3, cycle_len=1, cycle_mult=1)
    assert parse("cosine(to=0).repeat(3)").over(9)(3) == 1.0


def test_d2l_s_first_update_is_decayed_already():
    assert peer("d2l:FactorScheduler", 5, factor=0.9)(0) == pytest.approx(0.9)
    assert parse("exponential(rate=0.9)").over(5)(0) == 1.0


@pytest.mark.parametrize(
    ("text", "instead"),
    [
        ("transformers:reduce_lr_on_plateau(factor=0.5, patience=3)", "& plateau(factor=0.5, patience=3)"),
        ("transformers:greedy", "& plateau(factor=0.95, threshold=1e-06, threshold_mode=abs)"),
        ("kohya:reduce_lr_on_plateau", "& plateau()"),
        ("timm:PlateauLRScheduler(warmup_t=3)", "& plateau(mode=max, after=3)"),
        ("torch:ReduceLROnPlateau(patience=3, min_lr=1e-6)", "& plateau(patience=3, min_lr=1e-06)"),
        ("keras:ReduceLROnPlateau", "plateau"),
        ("optax:reduce_on_plateau", "plateau"),
        ("kohya:cosine_warmup_with_min_lr", "kohya:cosine_with_min_lr"),
    ],
)
def test_what_reacts_to_a_metric_is_no_schedule(text, instead):
    with pytest.raises(SpecError) as raised:
        convert.parse(text)
    assert instead in str(raised.value)
