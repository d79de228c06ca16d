"""How lrkit itself trains: what a task is, one run of it, the plain loop around it, and tasks to try things on."""

from lrkit.training._train import TrainResult, train
from lrkit.training.batches import BatchStream, count_samples, move_to
from lrkit.training.build import (
    Member,
    build_member,
    build_optimizer,
    choose_device,
    describe_groups,
    describe_optimizer,
)
from lrkit.training.check import TaskReport, check_task
from lrkit.training.checkpoint import load_checkpoint, save_checkpoint
from lrkit.training.control import final_part
from lrkit.training.data import Split, resolve_loader, search_split, training_loader
from lrkit.training.load import load_task
from lrkit.training.measurement import Measurement
from lrkit.training.metrics import measure, supervised
from lrkit.training.plans import DEFAULT_SCHEDULE, default_plan, task_horizon
from lrkit.training.population import MemberPlan, Population, Route, cross
from lrkit.training.precision import Precision
from lrkit.training.progress import SILENT, Reporter, RichReporter
from lrkit.training.run import Run, StepInfo
from lrkit.training.seeding import derive_seed, seeded
from lrkit.training.task import Task
from lrkit.training.threads import advised_threads, usable_cores

__all__ = [
    "DEFAULT_SCHEDULE",
    "SILENT",
    "BatchStream",
    "Measurement",
    "Member",
    "MemberPlan",
    "Population",
    "Precision",
    "Reporter",
    "RichReporter",
    "Route",
    "Run",
    "Split",
    "StepInfo",
    "Task",
    "TaskReport",
    "TrainResult",
    "advised_threads",
    "build_member",
    "build_optimizer",
    "check_task",
    "choose_device",
    "count_samples",
    "cross",
    "default_plan",
    "derive_seed",
    "describe_groups",
    "describe_optimizer",
    "final_part",
    "load_checkpoint",
    "load_task",
    "measure",
    "move_to",
    "resolve_loader",
    "save_checkpoint",
    "search_split",
    "seeded",
    "supervised",
    "task_horizon",
    "train",
    "training_loader",
    "usable_cores",
]
