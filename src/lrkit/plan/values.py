"""The values that make a plan, each checked when it is made. The file they are read from is not known
here."""

from __future__ import annotations

import dataclasses
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Literal, get_args

from lrkit.duration import Horizon
from lrkit.errors import HorizonError, SpecError
from lrkit.plan import checks
from lrkit.plan.checks import FieldError, OptionValue
from lrkit.plan.frozen import FrozenMap
from lrkit.schedule import Schedule
from lrkit.spec import parse_control

__all__ = ["Evidence", "GroupPlan", "OptimizerPlan", "Plan", "Precision", "Status", "TrainingPlan"]

Precision = Literal["float32", "bfloat16", "float16"]
Status = Literal["settled", "not settled", "could not tell"]

_OPTIMIZER_NAME = re.compile(r"task|torch\.optim\.[A-Z][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerPlan:
    """Which optimizer, at which base lr.

    `name` is "task" (the optimizer that the task itself builds) or "torch.optim.<Class>"; whether torch has
    that class is seen where torch is. `lr` is a finite number above 0. `options` are the optimizer's further
    arguments (`weight_decay`, `betas`, ...): numbers, texts, true or false, and flat lists of these (kept as
    tuples); with a torch optimizer a near miss of one of torch's own names is refused. Raises PlanError.
    """

    name: str
    lr: float
    options: Mapping[str, OptionValue] = FrozenMap()

    def __post_init__(self) -> None:
        name = checks.text("name", self.name)
        if not _OPTIMIZER_NAME.fullmatch(name):
            raise FieldError(
                ("name",),
                f"{checks.shown(name)} is no optimizer that a plan may name; write 'torch.optim.<Class>', "
                "as in 'torch.optim.AdamW', or 'task' for the task's own",
            )
        options = checks.options(self.options, taken=("name", "lr"))
        if name != "task":
            checks.torch_spelling(options)
        checks.settle(self, lr=checks.positive("lr", self.lr), options=options)

    @property
    def class_name(self) -> str | None:
        """The class of `torch.optim` ("AdamW"), or None for the task's own optimizer."""
        return None if self.name == "task" else self.name.rpartition(".")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupPlan:
    """What one parameter group, known by its name, has of its own: base lr, schedule (None: the plan's),
    options."""

    lr: float
    schedule: Schedule | None = None
    options: Mapping[str, OptionValue] = FrozenMap()

    def __post_init__(self) -> None:
        if self.schedule is not None:
            _check_schedule(self.schedule)
        options = checks.options(self.options, taken=("lr", "schedule"))
        checks.settle(self, lr=checks.positive("lr", self.lr), options=options)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPlan:
    """How the lr was used, since it is an answer only for that: the same lr under other clipping is another
    lr.

    `accumulate` micro-batches make one update; `clip_norm` is the largest gradient norm (None: no clipping);
    `precision` is that of the forward and backward pass.
    """

    accumulate: int = 1
    clip_norm: float | None = None
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        checks.choice("precision", self.precision, get_args(Precision))
        checks.settle(self, accumulate=checks.count("accumulate", self.accumulate, least=1))
        if self.clip_norm is not None:
            checks.settle(self, clip_norm=checks.positive("clip_norm", self.clip_norm))


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What the plan's lr rests on, and what that cost.

    `objective` names what was measured ("validation loss"). `interval` is the 90 % interval of the best lr,
    None where there is none. `trials` were trained, on `seeds`, in `member_steps` updates and `seconds` of
    wall time; the exhaustive grid would have taken `grid_steps` updates. `date` is ISO 8601. `status` says
    whether the lr is settled. `versions` maps packages to versions. None means: not known.
    """

    objective: str
    interval: tuple[float, float] | None = None
    trials: int
    seeds: tuple[int, ...]
    member_steps: int
    seconds: float | None = None
    date: str | None = None
    status: Status = "could not tell"
    grid_steps: int | None = None
    versions: Mapping[str, str] = FrozenMap()

    def __post_init__(self) -> None:
        checks.text("objective", self.objective)
        checks.choice("status", self.status, get_args(Status))
        checks.settle(
            self,
            trials=checks.count("trials", self.trials),
            seeds=checks.seeds("seeds", self.seeds),
            member_steps=checks.count("member_steps", self.member_steps),
            versions=checks.texts("versions", self.versions),
        )
        if self.interval is not None:
            checks.settle(self, interval=checks.interval("interval", self.interval))
        if self.seconds is not None:
            checks.settle(self, seconds=checks.not_negative("seconds", self.seconds))
        if self.date is not None:
            checks.iso_date("date", self.date)
        if self.grid_steps is not None:
            checks.settle(self, grid_steps=checks.count("grid_steps", self.grid_steps))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The answer: train with this optimizer, at this lr, along this schedule, for this long.

    `groups` are the parameter groups that differ, by name. `floor` is the lr below which no group falls
    (None: no floor). `control` are the controllers that multiply the lr, as texts (`"plateau(patience=5)"`);
    it takes Controllers, too. `evidence` says what the answer rests on, None where nobody looked.

    A plan that could not be run is refused with a PlanError: a schedule that does not fit the horizon, one
    that needs what the horizon lacks (epochs, samples, tokens), an absolute level above a group's lr, or a
    Python function as schedule, which has no text to be saved as. What else is wrong is a PlanError too.

    >>> from lrkit.spec import parse
    >>> adam = OptimizerPlan(name="torch.optim.Adam", lr=1e-3)
    >>> Plan(optimizer=adam, schedule=parse("cosine(to=0)"), horizon=Horizon(100)).with_lr(0.5).lr
    0.5
    """

    optimizer: OptimizerPlan
    schedule: Schedule
    horizon: Horizon
    control: tuple[str, ...] = ()
    training: TrainingPlan = TrainingPlan()
    groups: Mapping[str, GroupPlan] = FrozenMap()
    evidence: Evidence | None = None
    floor: float | None = None

    def __post_init__(self) -> None:
        checks.instance("optimizer", self.optimizer, OptimizerPlan)
        checks.instance("horizon", self.horizon, Horizon)
        checks.instance("training", self.training, TrainingPlan)
        if self.evidence is not None:
            checks.instance("evidence", self.evidence, Evidence)
        checks.settle(self, control=self._checked_control(), groups=self._checked_groups())
        if self.floor is not None:
            checks.settle(self, floor=checks.not_negative("floor", self.floor))
        _check_schedule(self.schedule)
        self._check_that_it_runs()

    @property
    def lr(self) -> float:
        """The optimizer's base lr."""
        return self.optimizer.lr

    def with_lr(self, lr: float) -> Plan:
        """The same plan at another base lr; the groups keep their ratio to it."""
        optimizer = dataclasses.replace(self.optimizer, lr=lr)
        groups = {
            name: dataclasses.replace(group, lr=group.lr / self.lr * optimizer.lr)
            for name, group in self.groups.items()
        }
        return dataclasses.replace(self, optimizer=optimizer, groups=groups)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Plan:
        """Read a plan's TOML file; every mistake in it is a PlanError that names file, line, key and
        remedy."""
        from lrkit.plan.reading import load_plan  # reading needs the values of this module

        return load_plan(path)

    @classmethod
    def parse(cls, text: str, where: str = "<text>") -> Plan:
        """The plan that a TOML text holds. `where` stands in for the file's name in errors."""
        from lrkit.plan.reading import parse_plan

        return parse_plan(text, where)

    def to_toml(self) -> str:
        """The plan as the text of a fresh file, which `parse` reads back equal."""
        from lrkit.plan.writing import plan_text  # alone needs tomlkit, which reading does without

        return plan_text(self)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the plan's TOML file, whole or not at all, such that `load` gives an equal plan.

        A plan that is already there is edited: its comments, its order and the spelling of what did not
        change stay. Raises PlanError when the file cannot be written or is no plan; it is untouched then.
        """
        from lrkit.plan.writing import save_plan

        save_plan(self, path)

    def _checked_groups(self) -> FrozenMap[GroupPlan]:
        if not isinstance(self.groups, Mapping):
            raise FieldError(("groups",), f"{checks.shown(self.groups)} is no mapping from name to GroupPlan")
        for name, group in self.groups.items():
            checks.group_name(name)
            if not isinstance(group, GroupPlan):
                raise FieldError(("groups", name), f"{checks.shown(group)} is no GroupPlan")
            if self.optimizer.class_name is not None:
                checks.torch_spelling(group.options, within=("groups", name, "options"))
        return FrozenMap(self.groups)

    def _checked_control(self) -> tuple[str, ...]:
        if isinstance(self.control, str) or not isinstance(self.control, Sequence):
            raise FieldError(
                ("control",), f"{checks.shown(self.control)} is no list; write ['plateau(patience=5)']"
            )
        texts = []
        for each in self.control:
            text = each if isinstance(each, str) else str(each)
            try:
                controller = parse_control(text)
                controller.over(self.horizon)
            except (SpecError, HorizonError) as fact:
                raise FieldError(("control",), str(fact)) from fact
            texts.append(str(controller))
        return tuple(texts)

    def _check_that_it_runs(self) -> None:
        """Resolve every schedule once: what would fail at the first step of a run fails here."""
        runs: list[tuple[tuple[str, ...], Schedule, float]] = [(("schedule",), self.schedule, self.lr)]
        for name, group in self.groups.items():
            own = "lr" if group.schedule is None else "schedule"
            runs.append((("groups", name, own), group.schedule or self.schedule, group.lr))
        for path, schedule, lr in runs:
            if self.floor is not None and self.floor > lr:
                raise FieldError(
                    ("floor",), f"{self.floor!r} is above the base lr {lr!r}; lower it, or raise that"
                )
            try:
                with warnings.catch_warnings():
                    # What it warns of, the Scheduler says again, once, to whoever runs the plan.
                    warnings.simplefilter("ignore")
                    schedule.over(self.horizon, base_lr=lr)
            except (SpecError, HorizonError) as fact:
                raise FieldError(path, str(fact)) from fact


def _check_schedule(schedule: Schedule) -> None:
    if not isinstance(schedule, Schedule):
        raise FieldError(
            ("schedule",),
            f"{checks.shown(schedule)} is no Schedule; build one, or read one: lrkit.parse(text)",
        )
    if schedule.is_opaque:
        raise FieldError(
            ("schedule",),
            "it holds a Python function, and a plan holds text alone; build it from lrkit's shapes, or give "
            "the function to a Scheduler without a plan",
        )
