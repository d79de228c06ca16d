"""Hypothesis strategies for plans, and a plan as the design page prints it."""

from __future__ import annotations

from hypothesis import strategies as st

from lrkit.duration import Horizon
from lrkit.plan import Evidence, GroupPlan, OptimizerPlan, Plan, TrainingPlan
from lrkit.spec import parse
from strategies import BASE_LR, tilings

DESIGN_PAGE = """\
lrkit = 1                                   # format version
[optimizer]
name = "torch.optim.AdamW"
lr = 3.1e-3
weight_decay = 0.01
[schedule]
text = "warmup(5%) >> cosine(to=0)"
control = []                                # e.g. ["plateau(patience=5)"]
[training]
accumulate = 1
clip_norm = 1.0
precision = "float32"
[groups.head]                               # by name; each may have lr, schedule, weight_decay
lr = 3.1e-3
[horizon]
steps = 1200
steps_per_epoch = 120
batch_size = 32
[evidence]
objective = "validation loss"
interval = [2.2e-3, 4.4e-3]                 # 90 %, of the best lr
trials = 22
seeds = [0, 1, 2]
member_steps = 7400                         # what the answer cost; the exhaustive grid would have cost 30000
"""

# Each fits every horizon here, and among them they have every unit, kind of level and joint of the language.
SPECS = (
    "cosine(to=0)",
    "hold()",
    "warmup(5%) >> cosine(to=0)",
    "warmup(2%) >> hold(78%) >> linear(to=0)",
    "warmup(1 epoch) >> cosine(to=absolute(1e-300))",
    "warmup(640 samples) >> linear(to=0.1)",
    "warmup(1000 tokens) >> one_minus_sqrt(to=0)",
    "(warmup(10%) >> cosine(to=0)) * exponential(to=0.5)",
    "(warmup(10%) >> cosine(to=0)).repeat(3)",
    "cosine(to=0).clip(low=0.1)",
)

CONTROL = ("plateau()", "plateau(patience=5, every=1 epoch)", "plateau(mode=max, metric='test top-1')")

finite = st.floats(allow_nan=False, allow_infinity=False)
positive = st.floats(1e-140, 1e140)  # ratios of two of them are floats, too
counts = st.integers(0, 2**63 - 1)
lines = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12).filter(str.isprintable)
scalars = (
    st.booleans()
    | st.integers(1 - 2**63, 2**63 - 1)
    | finite
    | st.text(st.characters(codec="utf-8"), max_size=12).filter(str.isprintable)
)


def options() -> st.SearchStrategy[dict[str, object]]:
    # Near misses of lrkit's keys and of torch's are refused by design: torch's own names, and some far from all.
    names = ["weight_decay", "betas", "eps", "momentum", "nesterov", "zzz_1", "Q", "x" * 40]
    values = scalars | st.lists(scalars, max_size=3).map(tuple)
    return st.dictionaries(st.sampled_from(names), values, max_size=4)


@st.composite
def evidence(draw: st.DrawFn) -> Evidence:
    ends = draw(st.none() | st.tuples(positive, positive))
    return Evidence(
        objective=draw(lines),
        interval=None if ends is None else (min(ends), max(ends)),
        trials=draw(counts),
        seeds=tuple(draw(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4))),
        member_steps=draw(counts),
        seconds=draw(st.none() | st.floats(0, 1e300)),
        date=draw(st.none() | st.datetimes().map(lambda moment: moment.isoformat())),
        status=draw(st.sampled_from(["settled", "not settled", "could not tell"])),
        grid_steps=draw(st.none() | counts),
        versions=draw(st.dictionaries(lines, lines, max_size=3)),
    )


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Any plan: small lrs under the schedules of SPECS, and any schedule under lrs that its levels allow."""
    lrs, schedules = draw(
        st.sampled_from(
            [(positive, st.sampled_from(SPECS).map(parse)), (st.floats(BASE_LR, 1e140), tilings())]
        )
    )
    groups = draw(
        st.dictionaries(
            lines,
            st.builds(GroupPlan, lr=lrs, schedule=st.none() | schedules, options=options()),
            max_size=3,
        )
    )
    name = draw(st.sampled_from(["task", "torch.optim.AdamW", "torch.optim.SGD"]))
    optimizer = OptimizerPlan(name=name, lr=draw(lrs), options=draw(options()))
    lowest = min([optimizer.lr, *(group.lr for group in groups.values())])
    return Plan(
        optimizer=optimizer,
        schedule=draw(schedules),
        horizon=Horizon(
            draw(st.integers(2000, 10**6)),
            steps_per_epoch=draw(st.integers(1, 1000)),
            batch_size=32,
            tokens_per_step=1024,
        ),
        control=tuple(draw(st.lists(st.sampled_from(CONTROL), max_size=2))),
        training=TrainingPlan(
            accumulate=draw(st.integers(1, 2**62)),
            clip_norm=draw(st.none() | positive),
            precision=draw(st.sampled_from(["float32", "bfloat16", "float16"])),
        ),
        groups=groups,
        evidence=draw(st.none() | evidence()),
        floor=draw(st.none() | st.floats(0, lowest)),
    )
