"""A plan and its file are the same thing; a person's file stays the person's."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings

from lrkit.duration import Horizon
from lrkit.plan import Evidence, GroupPlan, OptimizerPlan, Plan, TrainingPlan
from lrkit.spec import parse
from plan_strategies import DESIGN_PAGE, plans


@given(plans())
def test_the_text_of_a_plan_parses_back_equal(plan: Plan) -> None:
    again = Plan.parse(plan.to_toml())
    assert again == plan
    assert hash(again) == hash(plan)
    assert again.to_toml() == plan.to_toml()


@settings(max_examples=40)
@given(plans(), plans())
def test_a_saved_plan_loads_equal_also_over_another_one(
    tmp_path_factory: pytest.TempPathFactory, first: Plan, second: Plan
) -> None:
    path = tmp_path_factory.mktemp("plan") / "plan.toml"
    for plan in (first, second, first):
        plan.save(path)
        assert Plan.load(path) == plan


def test_the_design_page_reads_as_it_says() -> None:
    assert Plan.parse(DESIGN_PAGE) == Plan(
        optimizer=OptimizerPlan(name="torch.optim.AdamW", lr=3.1e-3, options={"weight_decay": 0.01}),
        schedule=parse("warmup(5%) >> cosine(to=0)"),
        horizon=Horizon(1200, steps_per_epoch=120, batch_size=32),
        training=TrainingPlan(accumulate=1, clip_norm=1.0, precision="float32"),
        groups={"head": GroupPlan(lr=3.1e-3)},
        evidence=Evidence(
            objective="validation loss",
            interval=(2.2e-3, 4.4e-3),
            trials=22,
            seeds=(0, 1, 2),
            member_steps=7400,
        ),
    )


SHORTEST = (
    'lrkit = 1\noptimizer = {name = "task", lr = 1}\nschedule = {text = "hold()"}\nhorizon = {steps = 10}\n'
)


def test_the_shortest_plan_has_the_defaults() -> None:
    plan = Plan.parse(SHORTEST)
    assert plan == Plan(
        optimizer=OptimizerPlan(name="task", lr=1.0), schedule=parse("hold()"), horizon=Horizon(10)
    )
    assert isinstance(plan.lr, float)


def test_a_group_without_an_lr_has_the_optimizers() -> None:
    plan = Plan.parse(
        SHORTEST + "[groups.bias]\nweight_decay = 0\n[groups.head]\nlr = 2\nschedule = 'linear(to=0)'\n"
    )
    assert plan.groups["bias"] == GroupPlan(lr=1.0, options={"weight_decay": 0})
    assert plan.groups["head"] == GroupPlan(lr=2.0, schedule=parse("linear(to=0)"))


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_bytes(b"\xef\xbb\xbf" + SHORTEST.encode())
    assert Plan.load(path) == Plan.parse(SHORTEST)


# Each is one way in which a person may lay out the same kind of plan, with a comment wherever one can be.
REST = """\
[schedule] # c-schedule
text = 'hold()' # c-text
[horizon]
steps = 100_000 # c-steps
steps_per_epoch = 10
batch_size = 0x20
tokens_per_step = 1024
"""
LAYOUTS = {
    "the design page": DESIGN_PAGE,
    "roomy": """\
# c-top
lrkit = 1   # c-version
# c-before-optimizer

[optimizer]   # c-optimizer
name = "task"   # c-name
lr = 3.1e-3  # c-lr
betas = [ # c-list
   0.9, # c-entry
   0.99,
]

# c-before-groups
[groups.head]
lr = 3.1e-3 # c-head
# c-tail-of-head


"""
    + REST,
    "dotted": """\
# c-top
lrkit=1
optimizer.name = "task" # c-name
optimizer.lr = 1e-3 # c-lr
schedule.text = "hold()" # c-text
horizon.steps = 100000 # c-steps
horizon.steps_per_epoch = 10
horizon.batch_size = 32
horizon.tokens_per_step = 1024
groups.head.lr = 1.0 # c-head
groups."a.b".lr = 2.0
""",
    "inline": """\
lrkit=1
optimizer = {name = "task", lr = 1e-3} # c-optimizer
schedule = { text = "hold()" } # c-schedule
horizon = { steps = 100000, steps_per_epoch = 10, batch_size=32, tokens_per_step=1024 } # c-horizon
groups = { head = { lr = 1.0 }, "x y" = {lr = 3.0} } # c-groups
evidence = { objective="o", trials=1, seeds=[0], member_steps=3, versions={a="1"}} # c-evidence
""",
    "groups here and there": """\
lrkit=1
[groups.head] # c-head-table
lr = 1.0 # c-head
[optimizer] # c-optimizer
name = 'task'
lr = 1e-3 # c-lr
# c-last-of-optimizer

[groups.tail]
lr = 2.0 # c-tail
"""
    + REST
    + "[groups.mid]\nlr=3.0",
    "tables before tables": """\
lrkit=1
[evidence.versions] # c-versions
torch = "2"
[evidence] # c-evidence
objective = "x"
trials=1
seeds=[]
member_steps=1
[optimizer]
name = 'task'
lr = 1e-3 # c-lr
[groups] # c-groups
head.lr = 1.0 # c-head
head.schedule = "hold()"
tail = {lr=3.0}
"""
    + REST,
}
CRLF = {f"{name}, other line ends": text.replace("\n", "\r\n") for name, text in LAYOUTS.items()}
ALL_LAYOUTS = pytest.mark.parametrize("text", (LAYOUTS | CRLF).values(), ids=LAYOUTS | CRLF)


def comments(text: str) -> list[str]:
    """What stands behind a '#', in order; no value of the layouts holds one."""
    return [line.partition("#")[2].strip() for line in text.splitlines() if "#" in line]


def saved_over(tmp_path: Path, text: str, plan: Plan) -> str:
    path = tmp_path / "plan.toml"
    path.write_bytes(text.encode())
    plan.save(path)
    assert Plan.load(path) == plan
    return path.read_bytes().decode()


@ALL_LAYOUTS
def test_saving_what_is_there_changes_no_byte(tmp_path: Path, text: str) -> None:
    assert saved_over(tmp_path, text, Plan.parse(text)) == text


@ALL_LAYOUTS
def test_another_lr_leaves_every_comment_and_every_other_line(tmp_path: Path, text: str) -> None:
    plan = Plan.parse(text)
    after = saved_over(tmp_path, text, plan.with_lr(plan.lr * 2))
    assert comments(after) == comments(text)
    kept = [line for line in text.splitlines() if "lr" not in line and "{" not in line]
    rest = iter(after.splitlines())
    assert all(line in rest for line in kept), "a line is gone, or out of its order"


@ALL_LAYOUTS
def test_new_keys_keep_away_from_the_comments_of_the_next_table(tmp_path: Path, text: str) -> None:
    plan = Plan.parse(text)
    optimizer = dataclasses.replace(plan.optimizer, options={**plan.optimizer.options, "eps": 1e-9})
    groups = {**plan.groups, "new": GroupPlan(lr=1.0, options={"betas": (0.5, 0.75)})}
    grown = dataclasses.replace(plan, optimizer=optimizer, floor=1e-9, groups=groups)
    after = saved_over(tmp_path, text, grown)
    if text == LAYOUTS["roomy"]:
        assert comments(after) == comments(text)
        assert "# c-before-groups\n[groups.head]\n" in after
        assert "]\neps = 1e-09\n\n# c-before-groups" in after
    assert saved_over(tmp_path, after, plan) is not None


@pytest.mark.parametrize("text", LAYOUTS.values(), ids=LAYOUTS)
@settings(max_examples=15)
@given(plan=plans())
def test_any_plan_can_be_saved_over_any_layout(
    tmp_path_factory: pytest.TempPathFactory, text: str, plan: Plan
) -> None:
    saved_over(tmp_path_factory.mktemp("plan"), text, plan)


def test_keys_that_are_gone_go_and_their_tables_too(tmp_path: Path) -> None:
    plan = dataclasses.replace(
        Plan.parse(DESIGN_PAGE), groups={}, evidence=None, optimizer=OptimizerPlan(name="task", lr=1.0)
    )
    after = saved_over(tmp_path, DESIGN_PAGE, plan)
    assert "groups" not in after
    assert "evidence" not in after
    assert "weight_decay" not in after


def test_a_fresh_file_reads_like_the_design_page() -> None:
    keys = [line.split(" ")[0] for line in DESIGN_PAGE.splitlines()]
    fresh = [line.split(" ")[0] for line in Plan.parse(DESIGN_PAGE).to_toml().splitlines() if line]
    assert [key for key in fresh if key != "status"] == keys


def loaded_by(code: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after `code`."""
    code += "\nimport sys; print('\\n'.join(sys.modules))"
    return set(
        subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True
        ).stdout.split()
    )


def test_reading_a_plan_loads_neither_torch_nor_tomlkit(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(DESIGN_PAGE)
    loaded = loaded_by(f"import lrkit.plan; lrkit.plan.Plan.load({str(path)!r}); lrkit.plan.plan_schema()")
    assert not {"torch", "tomlkit"} & loaded
    assert "torch" not in loaded_by(f"import lrkit.plan as p; p.Plan.load({str(path)!r}).save({str(path)!r})")
