"""Small tasks drawn at random, trained with every rate of a grid under 24 seeds: searches are replayed on them.

    python bench/small_tasks.py --data DATA                 # 144 of them, 10 s each on one core
    python bench/small_tasks.py --data DATA --first 144 --count 40

Data, network, optimizer, schedule, batch size and length are drawn by the task's number, so that what holds for them
all holds for tasks that nobody chose. A seed draws the held-out part, the weights and the batch order; the networks of
all seeds and rates are trained as one. `bench/out/small/<number>.json` has the validation loss after a tenth, a fifth,
0.3 and all of the updates, for rates an eighth of a decade apart around the best.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from _report import OUT
from sklearn import datasets
from torch import Tensor
from torch.nn import functional
from truth import Truth

from lrkit.files import atomic_write
from lrkit.training.builtin.idx import read_idx

FOLDER = OUT / "small"
SOURCES = (
    "digits",
    "wine",
    "cancer",
    "diabetes",
    "friedman",
    "friedman3",
    "teacher",
    "classes",
    "moons",
    "circles",
    "spirals",
    "mnist",
    "chars",
    "iris",
)
TABLES = {"tenth": 0.1, "fifth": 0.2, "third": 0.3, "full": 1.0}
SEEDS, TOGETHER = 24, 8
"""Seeds in all, and how many are trained at a time."""
SCOUTS = (900, 901, 902)
"""Seeds of the coarse grid that tells where the fine one goes."""
AROUND = (-1.75, 1.13)
"""Decades around the best coarse rate that the fine grid covers."""
FEWEST_STEPS, MOST_STEPS = 60, 700
HELD_OUT, FEWEST_HELD_OUT = 0.16, 30
HOPELESS = 1e4
"""A training loss above it counts as diverged."""
CHARACTERS, CONTEXT = 20_000, 6

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": functional.relu,
    "tanh": torch.tanh,
    "gelu": functional.gelu,
}


@dataclass(frozen=True)
class Samples:
    """Inputs, and labels of so many classes, or numbers where `classes` is 0."""

    x: Tensor
    y: Tensor
    classes: int


@dataclass(frozen=True)
class SmallTask:
    """What is trained: a perceptron, behind one convolution where `patches`."""

    number: int
    source: str
    optimizer: str
    weight_decay: float
    schedule: str
    width: int
    depth: int
    activation: str
    norm: bool
    patches: bool
    batch: int
    epochs: float

    def steps(self, samples: Samples) -> int:
        epochs = self.epochs * len(samples.x) * (1.0 - HELD_OUT) / self.batch
        return int(min(MOST_STEPS, max(FEWEST_STEPS, epochs)))


def draw(number: int, data: Path) -> tuple[SmallTask, Samples]:
    """The task of that number; `data` holds mnist/ and tinyshakespeare.txt."""
    g = np.random.default_rng([11, number])
    source = SOURCES[number % len(SOURCES)]
    task = SmallTask(
        number=number,
        source=source,
        optimizer=str(g.choice(["sgd", "momentum", "adam", "adamw", "rmsprop", "adamw"])),
        weight_decay=float(g.choice([0, 0.01, 0.1])),
        schedule=str(g.choice(["constant", "cosine", "warmup and cosine", "linear", "cosine"])),
        width=int(g.choice([16, 32, 64, 128])),
        depth=int(g.choice([1, 1, 2, 3])),
        activation=str(g.choice(["relu", "tanh", "gelu"])),
        norm=bool(g.random() < 0.25),
        patches=bool(g.random() < 0.25 and source in ("digits", "mnist", "chars")),
        batch=int(g.choice([8, 16, 32, 64])),
        epochs=float(g.choice([3, 8, 15, 30])),
    )
    return task, _samples(source, g, data)


def _samples(source: str, g: np.random.Generator, data: Path) -> Samples:
    x, y, classes = _arrays(source, g, data)
    if source not in ("digits", "mnist", "chars", "spirals"):
        x = (x - x.mean(0)) / x.std(0)
    if not classes:
        y = (y - y.mean()) / y.std()
    if source == "digits" and g.random() < 0.4:
        chosen = g.permutation(len(x))[: int(g.choice([400, 900]))]
        x, y = x[chosen], y[chosen]
    labels = torch.tensor(y, dtype=torch.int64 if classes else torch.float32)
    return Samples(torch.tensor(x, dtype=torch.float32), labels, classes)


def _arrays(source: str, g: np.random.Generator, data: Path) -> tuple[np.ndarray, np.ndarray, int]:
    if source in _LOADED:
        load, scale, classes = _LOADED[source]
        x, y = load(return_X_y=True)
        return (x / scale - 0.3 if source == "digits" else x), y, classes
    if source == "friedman":
        n, noise = int(g.choice([300, 1000, 2000])), float(g.choice([0.1, 1.0, 3.0]))
        return *datasets.make_friedman1(n, 10, noise=noise, random_state=int(g.integers(1e6))), 0
    if source == "friedman3":
        return *datasets.make_friedman3(800, noise=0.1, random_state=int(g.integers(1e6))), 0
    if source == "teacher":
        n, inputs = int(g.choice([500, 2000])), int(g.choice([8, 20, 50]))
        x = g.normal(size=(n, inputs))
        hidden = np.tanh(x @ g.normal(size=(inputs, 12)) / math.sqrt(inputs) * 2)
        return x, hidden @ g.normal(size=12) + g.normal(size=n) * float(g.choice([0, 0.3, 1.0])), 0
    if source == "classes":
        n, inputs, flipped = (
            int(g.choice([400, 1500, 3000])),
            int(g.choice([20, 40])),
            float(g.choice([0, 0.05, 0.2])),
        )
        made = datasets.make_classification(
            n, inputs, n_informative=10, n_classes=4, flip_y=flipped, random_state=int(g.integers(1e6))
        )
        return *made, 4
    if source == "moons":
        return *datasets.make_moons(600, noise=0.2, random_state=int(g.integers(1e6))), 2
    if source == "circles":
        return *datasets.make_circles(800, noise=0.1, factor=0.5, random_state=int(g.integers(1e6))), 2
    if source == "spirals":
        radius, arm = np.sqrt(g.random(900)) * 9, g.integers(0, 3, 900)
        angle = radius + arm * 2 * math.pi / 3
        x = np.c_[radius * np.cos(angle), radius * np.sin(angle)] / 9 + g.normal(size=(900, 2)) * 0.03
        return 2 * x, arm, 3
    if source == "mnist":
        images = read_idx(data / "mnist", "train-images-idx3-ubyte")[:8000].astype(np.float32) / 255
        halved = images.reshape(-1, 14, 2, 14, 2).mean((2, 4)).reshape(-1, 196) - 0.13
        chosen = g.permutation(len(halved))[: int(g.choice([1000, 3000]))]
        return halved[chosen], read_idx(data / "mnist", "train-labels-idx1-ubyte")[:8000][chosen], 10
    text = np.frombuffer((data / "tinyshakespeare.txt").read_bytes()[:CHARACTERS], np.uint8)
    letters, codes = np.unique(text, return_inverse=True)
    starts = g.integers(0, len(codes) - CONTEXT - 1, 4000)
    embedding = g.normal(size=(len(letters), 8))
    x = np.stack([embedding[codes[starts + k]] for k in range(CONTEXT)], axis=1).reshape(len(starts), -1)
    return x, codes[starts + CONTEXT], len(letters)


_LOADED = {
    "digits": (datasets.load_digits, 16, 10),
    "wine": (datasets.load_wine, 1, 3),
    "cancer": (datasets.load_breast_cancer, 1, 2),
    "iris": (datasets.load_iris, 1, 3),
    "diabetes": (datasets.load_diabetes, 1, 0),
}


class Networks:
    """One network for each seed and rate, of the same weights for all rates of a seed.

    Parameters are (seeds, rates, inputs, outputs).
    """

    CHANNELS = 16

    def __init__(self, task: SmallTask, samples: Samples, rates: int, generators: Sequence[torch.Generator]):
        self.task, inputs = task, samples.x.shape[1]
        shapes, first = [], inputs
        if task.patches:
            self.patch = next(size for size in (16, 14, 8) if inputs % size == 0)
            shapes.append((self.patch, self.CHANNELS))
            first = inputs // self.patch * self.CHANNELS
        hidden = [task.width] * (1 if task.patches else task.depth)
        ends = [first, *hidden, max(samples.classes, 1)]
        self.parameters = []
        for before, after in [*shapes, *pairwise(ends)]:
            for rows in (before, 1):
                drawn = [
                    (torch.rand(rows, after, generator=g) * 2 - 1) / math.sqrt(before) for g in generators
                ]
                self.parameters.append(torch.stack(drawn)[:, None].repeat(1, rates, 1, 1).requires_grad_())

    def __call__(self, x: Tensor) -> Tensor:
        """(seeds, 1, samples, inputs) to (seeds, rates, samples, outputs)."""
        layers = list(zip(self.parameters[::2], self.parameters[1::2], strict=True))
        activation = ACTIVATIONS[self.task.activation]
        if self.task.patches:
            weight, bias = layers.pop(0)
            seeds, _, count, inputs = x.shape
            x = activation(x.reshape(seeds, 1, count * inputs // self.patch, self.patch) @ weight + bias)
            x = x.reshape(seeds, x.shape[1], count, -1)
        for i, (weight, bias) in enumerate(layers):
            x = x @ weight + bias
            if i < len(layers) - 1:
                x = activation(functional.layer_norm(x, x.shape[-1:]) if self.task.norm else x)
        return x


def losses(outputs: Tensor, y: Tensor, classes: int) -> Tensor:
    """The mean loss of each network: (seeds, rates)."""
    if not classes:
        return ((outputs[..., 0] - y[:, None]) ** 2).mean(-1)
    seeds, rates, count, _ = outputs.shape
    labels = y[:, None].expand(seeds, rates, count).reshape(-1)
    each = functional.cross_entropy(outputs.reshape(-1, outputs.shape[-1]), labels, reduction="none")
    return each.reshape(seeds, rates, count).mean(-1)


def factor(schedule: str, step: int, steps: int) -> float:
    """What the peak rate is multiplied by."""
    warm = max(1, int(0.1 * steps)) if schedule == "warmup and cosine" else 0
    if schedule == "constant":
        return 1.0
    if schedule == "linear":
        return 1 - step / steps
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


class Optimizer:
    """Steps of all networks at their own rates; `rates` is (1, rates, 1, 1)."""

    def __init__(self, task: SmallTask, parameters: list[Tensor], rates: Tensor):
        self.task, self.rates = task, rates
        self.state = [(p, torch.zeros_like(p), torch.zeros_like(p)) for p in parameters]

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor], count: int, part: float) -> None:
        rate, kind, decay = self.rates * part, self.task.optimizer, self.task.weight_decay
        for gradient, (p, first, second) in zip(gradients, self.state, strict=True):
            if kind in ("adam", "adamw"):
                if kind == "adamw":
                    p.mul_(1 - rate * decay)
                first.mul_(0.9).add_(gradient, alpha=0.1)
                second.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
                root = (second / (1 - 0.999**count)).sqrt() + 1e-8
                p.sub_(rate * (first / (1 - 0.9**count)) / root)
            elif kind == "rmsprop":
                second.mul_(0.99).addcmul_(gradient, gradient, value=0.01)
                p.sub_(rate * gradient / (second.sqrt() + 1e-8))
            elif kind == "momentum":
                first.mul_(0.9).add_(gradient + decay * 0.01 * p)
                p.sub_(rate * first)
            else:
                p.sub_(rate * (gradient + decay * 0.01 * p))


def validation_losses(
    task: SmallTask, samples: Samples, rates: Sequence[float], seeds: Sequence[int], wanted: set[int]
) -> dict[int, np.ndarray]:
    """(seeds, rates) after each of the `wanted` numbers of updates, nan where a training diverged."""
    steps, count = task.steps(samples), len(samples.x)
    held_out = max(FEWEST_HELD_OUT, int(HELD_OUT * count))
    batch = min(task.batch, count - held_out)
    generators = [torch.Generator().manual_seed(1000 * task.number + seed) for seed in seeds]
    shuffled = torch.stack([torch.randperm(count, generator=g) for g in generators])
    validation, training = shuffled[:, :held_out], shuffled[:, held_out:]
    networks = Networks(task, samples, len(rates), generators)
    optimizer = Optimizer(
        task, networks.parameters, torch.tensor(rates, dtype=torch.float32)[None, :, None, None]
    )
    alive = torch.ones(len(seeds), len(rates), dtype=torch.bool)
    found: dict[int, np.ndarray] = {}
    left: list[Tensor] = []
    for step in range(steps):
        if not left:
            order = torch.stack([torch.randperm(training.shape[1], generator=g) for g in generators])
            left = [part for part in order.split(batch, dim=1) if part.shape[1] == batch]
        chosen = torch.gather(training, 1, left.pop(0))
        values = losses(networks(samples.x[chosen][:, None]), samples.y[chosen], samples.classes)
        alive &= torch.isfinite(values.detach()) & (values.detach() < HOPELESS)
        gradients = torch.autograd.grad(values.sum(), networks.parameters)
        optimizer.step(gradients, step + 1, factor(task.schedule, step, steps))
        if step + 1 in wanted:
            with torch.no_grad():
                values = losses(
                    networks(samples.x[validation][:, None]), samples.y[validation], samples.classes
                )
            found[step + 1] = torch.where(alive, values, math.nan).numpy().astype(float)
    return found


def tables(task: SmallTask, samples: Samples) -> dict:
    """The validation losses of the fine grid, seeds by rates, after each part of the updates."""
    steps = task.steps(samples)
    top = 1.5 if task.optimizer in ("sgd", "momentum") else 0.0
    coarse = np.logspace(top - 5, top, 21)
    best = math.log10(_best(coarse, validation_losses(task, samples, coarse, SCOUTS, {steps})[steps]))
    best = min(max(best, top - 4), top - 0.3)
    rates = [float(f"{lr:.4g}") for lr in 10 ** np.arange(best + AROUND[0], best + AROUND[1], 0.125)]
    ends = {name: max(1, round(part * steps)) for name, part in TABLES.items()}
    found: dict[str, list] = {name: [] for name in TABLES}
    for first in range(0, SEEDS, TOGETHER):
        seeds = range(first, first + TOGETHER)
        measured = validation_losses(task, samples, rates, seeds, set(ends.values()))
        for name, end in ends.items():
            found[name] += [[v if math.isfinite(v) else None for v in row] for row in measured[end]]
    return {"task": asdict(task), "steps": steps, "rates": rates} | found


def _best(rates: np.ndarray, values: np.ndarray) -> float:
    """Of the mean log loss, smoothed as truths are."""
    with np.errstate(divide="ignore", invalid="ignore"):  # losses of exactly 0, which no logarithm orders
        return Truth.through(
            list(rates), np.log(np.where(np.isfinite(values), values, np.nanmax(values)))
        ).best


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with mnist/ and tinyshakespeare.txt")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=144)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for number in range(asked.first, asked.first + asked.count):
        path, started = FOLDER / f"{number}.json", time.perf_counter()
        if path.exists():
            continue
        task, samples = draw(number, asked.data)
        atomic_write(path, json.dumps(tables(task, samples)) + "\n")
        print(
            f"{number}: {task.source}, {task.optimizer}, {task.schedule}: {time.perf_counter() - started:.0f} s"
        )


if __name__ == "__main__":
    main()
