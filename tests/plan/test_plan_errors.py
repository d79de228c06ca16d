"""Whatever is wrong with a plan's file is one line: file, line, key, what is wrong, and what to do."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrkit.errors import PlanError
from lrkit.plan import Plan
from plan_strategies import DESIGN_PAGE

# what is replaced in the design page, by what, and: line, key, parts of what is said
CASES: dict[str, tuple[str, str, str, str, tuple[str, ...]]] = {
    # the head
    "newer format": (
        "lrkit = 1 ",
        "lrkit = 2 ",
        "line 1",
        "lrkit",
        ("format 2", "pip install --upgrade lrkit"),
    ),
    "far newer format": (
        "lrkit = 1 ",
        f"lrkit = 1{'0' * 99} ",
        "line 1",
        "lrkit",
        ("format an integer", "upgrade"),
    ),
    "format 0": ("lrkit = 1 ", "lrkit = 0 ", "line 1", "lrkit", ("0 is no version", "lrkit = 1")),
    "format as text": ("lrkit = 1 ", 'lrkit = "1" ', "line 1", "lrkit", ("'1' is no version", "lrkit = 1")),
    "format as true": ("lrkit = 1 ", "lrkit = true ", "line 1", "lrkit", ("True is no version",)),
    "no format": ("lrkit = 1 ", "", "", "lrkit", ("missing", "a plan begins with: lrkit = 1")),
    # unknown and missing keys
    "unknown table": (
        "[training]",
        "[trainning]",
        "line 9",
        "trainning",
        ("unknown key", "did you mean 'training'?"),
    ),
    "unknown key": (
        "clip_norm",
        "clip_nrom",
        "line 11",
        "training.clip_nrom",
        ("unknown key", "'clip_norm'?"),
    ),
    "unknown top key": ("lrkit = 1 ", "floor = 1\nlrkit = 1 ", "line 1", "floor", ("unknown key",)),
    "unknown horizon key": ("batch_size", "batchsize", "line 18", "horizon.batchsize", ("'batch_size'?",)),
    "unknown evidence key": ("trials", "trails", "line 22", "evidence.trails", ("'trials'?",)),
    "misspelt lr": (
        "lr = 3.1e-3\nw",
        "lrr = 3.1e-3\nw",
        "line 2",
        "optimizer.lr",
        ("missing", "'lrr' meant"),
    ),
    "misspelt option": (
        "weight_decay",
        "weigth_decay",
        "line 5",
        "optimizer.weigth_decay",
        ("unknown key", "did you mean 'weight_decay'?"),
    ),
    "misspelt group option": (
        "lr = 3.1e-3\n[h",
        "weigth_decay = 1\n[h",
        "line 14",
        "groups.head.weigth_decay",
        ("unknown key", "did you mean 'weight_decay'?"),
    ),
    "misspelt group lr": (
        "lr = 3.1e-3\n[h",
        "lrr = 1\n[h",
        "line 14",
        "groups.head.lrr",
        ("did you mean 'lr'?",),
    ),
    "misspelt group schedule": (
        "lr = 3.1e-3\n[h",
        "shedule = 'hold()'\n[h",
        "line 14",
        "groups.head.shedule",
        ("did you mean 'schedule'?",),
    ),
    "no lr": ("lr = 3.1e-3\nweight", "weight", "line 2", "optimizer.lr", ("missing", "lr = 1e-3")),
    "no text": (
        'text = "warmup(5%) >> cosine(to=0)"\n',
        "",
        "line 6",
        "schedule.text",
        ("missing", "text = "),
    ),
    "no steps": ("steps = 1200\n", "", "line 15", "horizon.steps", ("missing", "steps = 1000")),
    "no trials": ("trials = 22\n", "", "line 19", "evidence.trials", ("missing", "trials = 20")),
    # types
    "lr as text": (
        "3.1e-3\nw",
        '"3.1e-3"\nw',
        "line 4",
        "optimizer.lr",
        ("'3.1e-3' is not a number", "quotes: 3.1e-3"),
    ),
    "lr as word": (
        "3.1e-3\nw",
        '"high"\nw',
        "line 4",
        "optimizer.lr",
        ("'high' is not a number", "such as 1e-3"),
    ),
    "lr as true": ("3.1e-3\nw", "true\nw", "line 4", "optimizer.lr", ("True is not a number",)),
    "lr as list": ("3.1e-3\nw", "[3.1e-3]\nw", "line 4", "optimizer.lr", ("[0.0031] is not a number",)),
    "lr as date": ("3.1e-3\nw", "2025-01-31\nw", "line 4", "optimizer.lr", ("is not a number",)),
    "lr in a table below": (
        "lr = 3.1e-3\nw",
        "lr.peak = 3.1e-3\nw",
        "line 4",
        "optimizer.lr",
        ("is not a number",),
    ),
    "name as number": (
        '"torch.optim.AdamW"',
        "7",
        "line 3",
        "optimizer.name",
        ("7 is not text", "in quotes"),
    ),
    "text as list": (
        '"warmup(5%) >> cosine(to=0)"',
        '["hold()"]',
        "line 7",
        "schedule.text",
        ("is not text",),
    ),
    "control as text": (
        "control = []",
        'control = ""',
        "line 8",
        "schedule.control",
        ("'' is not a list", "[...]"),
    ),
    "steps as float": (
        "1200",
        "1200.0",
        "line 16",
        "horizon.steps",
        ("1200.0 is not a whole number", "write 1200"),
    ),
    "steps as fraction": ("1200", "12.5", "line 16", "horizon.steps", ("12.5 is not a whole number",)),
    "steps as text": ("1200", '"1200"', "line 16", "horizon.steps", ("not a whole number", "quotes: 1200")),
    "a seed as float": ("[0, 1, 2]", "[0, 1.5]", "line 23", "evidence.seeds", ("1.5 is not a whole number",)),
    "seeds as number": ("[0, 1, 2]", "3", "line 23", "evidence.seeds", ("3 is not a list",)),
    "group as number": (
        "[groups.head]",
        "[groups]\nhead = 1\n[groups.b]",
        "line 14",
        "groups.head",
        ("not a table",),
    ),
    "version as number": (
        "trials = 22\n",
        "trials = 22\nversions = {torch = 2, b = '1'}\n",
        "line 23",
        "evidence.versions.torch",
        ("2 is not text", "in quotes"),
    ),
    # values
    "lr 0": ("3.1e-3\nw", "0\nw", "line 4", "optimizer.lr", ("not a finite number above 0",)),
    "lr negative": (
        "3.1e-3\nw",
        "-1e-3\nw",
        "line 4",
        "optimizer.lr",
        ("-0.001 is not a finite number above 0",),
    ),
    "lr nan": ("3.1e-3\nw", "nan\nw", "line 4", "optimizer.lr", ("nan is not a finite number",)),
    "lr inf": ("3.1e-3\nw", "inf\nw", "line 4", "optimizer.lr", ("inf is not a finite number",)),
    "lr beyond floats": ("3.1e-3\nw", "1e400\nw", "line 4", "optimizer.lr", ("is not a finite number",)),
    "lr huge integer": (
        "3.1e-3\nw",
        f"1{'0' * 400}\nw",
        "line 4",
        "optimizer.lr",
        ("an integer beyond 64 bits",),
    ),
    "group lr": (
        "lr = 3.1e-3\n[h",
        "lr = -1.0\n[h",
        "line 14",
        "groups.head.lr",
        ("-1.0 is not a finite number above 0",),
    ),
    "option nan": ("0.01", "nan", "line 5", "optimizer.weight_decay", ("nan cannot stand in a plan",)),
    "option date": ("0.01", "2025-01-31", "line 5", "optimizer.weight_decay", ("cannot stand in a plan",)),
    "option table": (
        "weight_decay = 0.01",
        "weight_decay.a = 1",
        "line 5",
        "optimizer.weight_decay",
        ("cannot stand",),
    ),
    "option nested": ("0.01", "[[1]]", "line 5", "optimizer.weight_decay", ("cannot stand in a plan",)),
    "option params": ("weight_decay =", "params =", "line 5", "optimizer.params", ("no option",)),
    "option no name": ("weight_decay =", "weight-decay =", "line 5", "optimizer.weight-decay", ("argument",)),
    "foreign optimizer": (
        "torch.optim.AdamW",
        "os.system",
        "line 3",
        "optimizer.name",
        ("'os.system'", "or 'task'"),
    ),
    "nested optimizer": (
        "optim.AdamW",
        "optim.lr_scheduler.X",
        "line 3",
        "optimizer.name",
        ("torch.optim.<Class>",),
    ),
    "short optimizer": (
        "torch.optim.AdamW",
        "AdamW",
        "line 3",
        "optimizer.name",
        ("as in 'torch.optim.AdamW'",),
    ),
    "private optimizer": (
        "torch.optim.AdamW",
        "torch.optim._A",
        "line 3",
        "optimizer.name",
        ("no optimizer",),
    ),
    "precision": (
        '"float32"',
        '"flaot32"',
        "line 12",
        "training.precision",
        ("'flaot32'", "did you mean 'float32'?"),
    ),
    "accumulate 0": (
        "accumulate = 1",
        "accumulate = 0",
        "line 10",
        "training.accumulate",
        ("whole number from 1",),
    ),
    "clip 0": ("clip_norm = 1.0", "clip_norm = 0.0", "line 11", "training.clip_norm", ("above 0",)),
    "controller": (
        "control = []",
        "control = ['plateau()', 'platau(patience=5)']",
        "line 8",
        "schedule.control",
        ("unknown controller 'platau' at column 1", "did you mean 'plateau'"),
    ),
    "controller among the shapes": (
        'cosine(to=0)"',
        'hold() & plateau(patience=5)"',
        "line 7",
        "schedule.text",
        ("controllers have a key of their own", 'control = ["plateau(patience=5)"]'),
    ),
    "steps 0": ("1200", "0", "line 16", "horizon.steps", ("whole number from 1",)),
    "epoch 0": (
        "steps_per_epoch = 120",
        "steps_per_epoch = 0",
        "line 17",
        "horizon.steps_per_epoch",
        ("from 1",),
    ),
    "interval reversed": ("[2.2e-3, 4.4e-3]", "[4.4e-3, 2.2e-3]", "line 21", "evidence.interval", ("swap",)),
    "interval of three": ("[2.2e-3, 4.4e-3]", "[1, 2, 3]", "line 21", "evidence.interval", ("two numbers",)),
    "interval at 0": ("[2.2e-3, 4.4e-3]", "[0, 1]", "line 21", "evidence.interval", ("above 0",)),
    "trials negative": ("22", "-22", "line 22", "evidence.trials", ("-22 is not a whole number from 0",)),
    "status": (
        "trials =",
        "status = 'setled'\ntrials =",
        "line 22",
        "evidence.status",
        ("did you mean 'settled'?",),
    ),
    "date": ("trials =", "date = 'May'\ntrials =", "line 22", "evidence.date", ("'May' is not a date",)),
    "bare date": (
        "trials =",
        "date = 2025-01-31\ntrials =",
        "line 22",
        "evidence.date",
        ("not text", "in quotes"),
    ),
    "seconds": ("trials =", "seconds = -1\ntrials =", "line 22", "evidence.seconds", ("0 or above",)),
    "group without name": ("[groups.head]", '[groups.""]', "line 13", "groups", ("no name for a group",)),
    "a group's name on two lines": (
        "[groups.head]",
        r'[groups."a\nb"]',
        "line 13",
        "groups",
        ("no name for a group",),
    ),
    # schedules
    "shape": ("cosine(to", "cosin(to", "line 7", "schedule.text", ("did you mean 'cosine'?",)),
    "shape in a group": (
        "lr = 3.1e-3\n[h",
        "schedule = 'hld()'\n[h",
        "line 14",
        "groups.head.schedule",
        ("did you mean 'hold'?",),
    ),
    "too long": ("warmup(5%)", "warmup(5000)", "line 7", "schedule.text", ("5000",)),
    "tokens": ("warmup(5%)", "warmup(1e6 tokens)", "line 7", "schedule.text", ("tokens_per_step",)),
    "absolute above lr": ("to=0", "to=absolute(1.0)", "line 7", "schedule.text", ()),
    "group too long": (
        "lr = 3.1e-3\n[h",
        "schedule = 'hold(5000)'\n[h",
        "line 14",
        "groups.head.schedule",
        ("5000",),
    ),
    "floor above lr": (
        "control = []",
        "floor = 1.0",
        "line 8",
        "schedule.floor",
        ("above the base lr 0.0031",),
    ),
    "floor negative": ("control = []", "floor = -1.0", "line 8", "schedule.floor", ("0 or above",)),
}


def refusal(text: str) -> str:
    with pytest.raises(PlanError) as error:
        Plan.parse(text, "folder/plan.toml")
    message = str(error.value)
    assert "\n" not in message
    assert len(message) < 500
    return message


@pytest.mark.parametrize("case", CASES)
def test_each_mistake_is_named_with_file_line_key_and_remedy(case: str) -> None:
    old, new, line, key, said = CASES[case]
    assert DESIGN_PAGE.count(old) >= 1, "the case replaces nothing"
    message = refusal(DESIGN_PAGE.replace(old, new, 1))
    place = f"folder/plan.toml, {line}, {key}: " if line else f"{key}: "
    assert place in message, message
    assert message.startswith("folder/plan.toml, "), message
    assert all(part in message for part in said), message


def test_the_line_is_found_behind_values_of_several_lines() -> None:
    text = DESIGN_PAGE.replace("[0, 1, 2]", '[\n  0, # lr = 1\n  1,\n]\nobjektive = """\nx\n"""')
    assert "line 27, evidence.objektive: unknown key" in refusal(text)


def test_quoted_and_dotted_names_are_found() -> None:
    text = DESIGN_PAGE.replace("lr = 3.1e-3\n[horizon]", '[groups."layer.1"]\nlr = -1\n[horizon]')
    assert 'line 15, groups."layer.1".lr: -1' in refusal(text)
    assert "line 1, optimizer.lr: 0" in refusal(
        "optimizer.lr = 0\noptimizer.name = 'task'\nlrkit = 1\n" + REST
    )
    assert "line 2, optimizer.lr: 0" in refusal("lrkit = 1\noptimizer = {name='task', lr=0}\n" + REST)


REST = "schedule.text = 'hold()'\nhorizon.steps = 1\n"


@pytest.mark.parametrize("name", ["optimizer", "schedule", "training", "groups", "horizon", "evidence"])
def test_a_table_that_is_none_is_named(name: str) -> None:
    tables = {
        "optimizer": "{name='task', lr=1}",
        "schedule": "{text='hold()'}",
        "horizon": "{steps=1}",
        name: "7",
    }
    text = "lrkit = 1\n" + "".join(f"{key} = {value}\n" for key, value in tables.items())
    line = 2 + list(tables).index(name)
    assert f"line {line}, {name}: 7 is not a table; write its keys below a line [{name}]" in refusal(text)


SYNTAX = {
    "no quotes": ("lrkit = 1\nname = torch\n", "line 2, column 8"),
    "comma": ("lrkit = 1\nlr = 3,1\n", "line 2, column 7"),
    "twice": ("lrkit = 1\nlrkit = 1\n", "line 2, column 10"),
    "table twice": ("[a]\n[b]\n[a]\n", "line 3, column 3"),
    "open list": ("a = [1,\n", "end of document"),
}


@pytest.mark.parametrize("case", SYNTAX)
def test_what_is_no_toml_is_named_with_line_and_column(case: str) -> None:
    text, place = SYNTAX[case]
    message = refusal(text)
    assert message.startswith(f"folder/plan.toml, {place}: not TOML: ")


HOSTILE = {
    "a megabyte": "a" * (2 << 20),
    "a million lists": "a = " + "[" * 1_000_000,
    "a thousand tables": "a = " + "{a = " * 1_000,
    "many digits": "a = " + "1" * 100_000,
    "no day": "a = 2025-02-31",
    "a long key": "lrkit = 1\n" + "k" * 500_000 + " = 1",
    "a long value": f'lrkit = 1\noptimizer = {{name = "{"x" * 500_000}", lr = 1}}\n' + REST,
    "many lists where a text should be": "lrkit = 1\nschedule.text = " + "[" * 300 + "]" * 300,
    "control characters": 'lrkit = 1\n"a\\nb\\u001b[31m" = 1\n',
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_text_is_refused_quickly_in_one_short_line(case: str) -> None:
    start = time.perf_counter()
    assert refusal(HOSTILE[case]).isprintable()
    assert time.perf_counter() - start < 2


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"no plan at .*plan\.toml.*lrkit tune"):
        Plan.load(tmp_path / "plan.toml")
    with pytest.raises(PlanError, match="cannot read the plan"):
        Plan.load(tmp_path)
    (tmp_path / "plan.toml").write_bytes(b"lrkit = 1 # \xff")
    with pytest.raises(PlanError, match=r"plan\.toml, byte 12: .*save it as UTF-8"):
        Plan.load(tmp_path / "plan.toml")


values = st.recursive(
    st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("hold()"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
TABLES = ("optimizer", "schedule", "training", "groups", "horizon", "evidence")
KEYS = (
    "name",
    "lr",
    "text",
    "control",
    "floor",
    "accumulate",
    "head",
    "steps",
    "seeds",
    "interval",
    "versions",
    "date",
)


@given(st.sampled_from(TABLES), st.sampled_from(KEYS), values)
def test_any_value_in_any_place_is_read_or_refused_with_a_plan_error(
    table: str, key: str, value: object
) -> None:
    """Never another exception, whatever the file holds."""
    import tomlkit

    document = tomlkit.parse(DESIGN_PAGE)
    document[table][key] = value
    try:
        Plan.parse(tomlkit.dumps(document))
    except PlanError as error:
        message = str(error)
    else:
        message = ""
    assert message == "" or message.isprintable()
