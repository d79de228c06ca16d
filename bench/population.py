"""Many rates at once against one after the other: a population of a task, and a plain loop for each of its members.

    python bench/population.py tasks [TASK ...] [--members 32] [--steps N] [--route ROUTE]
    python bench/population.py speed [--members 1 8 32 128] [--threads 1 2] [--cnn]
    python bench/population.py loop [TASK ...] [--data FOLDER]
    python bench/population.py search [TASK ...] [--data FOLDER] [--members K ...] [--rounds 5] [--portion 1.0]

tasks: a population and the plain runs of its members, the task's own length, choosing included. Both train the same:
the largest difference between their losses is printed.

speed: time per member-step of a perceptron 64-128-10 at batches of 64 and 16 (with --cnn of digits-cnn), by route,
against the plain loop of the same optimizer and against the arithmetic limit: the operations at the rate of the
first layers' matrix product, and the bytes of an update at the rate of a sum of two arrays, both measured in the same
rounds. The plain loop is the simplest quick one: zero_grad, forward, loss, backward, step, the loss read as a number.

loop: an update of a Run, silent and watched (`on_step`), against one of the bare loop over the task's own loader; and
of a second bare loop, which says how exact the ratios are.

search: what a search of the default size trains (7 rates to a third, 4 of them to the end, 3 more from the start)
as populations that share route and graphs, models and choosing included, against a bare loop for each member in turn,
over the task's own loader, models included. With --members, populations of that many from start to end instead. With
--portion, each stage trains that part of its updates and is scaled up; what is made before counts in full.

Contenders take turns of a tenth of a second, and ratios are medians over paired rounds: other work on the machine hits
all alike. One thread: processor time. More: wall time.
"""

from __future__ import annotations

import argparse
import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _report import machine, spread, table, write_report
from tasks import TASKS, bench_task
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from lrkit import Task, hold, supervised
from lrkit.training import BatchStream, Population, Run, cross, default_plan, load_task, search_split, seeded
from lrkit.training.build import build_optimizer

LOW, HIGH = 1e-4, 1e-1
TURN = 24  # updates before the other side has its turn
STRETCH = 128  # the same, of a search, which trains to its next rung without a stop
ROUNDS = 15
TURN_SECONDS = 0.1
# One after the other: rates, the part of the training they start and stop at.
Stage = tuple[int, float, float]
STAGES: tuple[Stage, ...] = ((7, 0.0, 1 / 3), (4, 1 / 3, 1.0), (3, 0.0, 1.0))


@dataclass
class Clock:
    """Wall and processor seconds of what runs within `with clock:`."""

    wall: float = 0.0
    processor: float = 0.0

    def __enter__(self) -> Clock:
        self._started = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.wall += time.perf_counter() - self._started[0]
        self.processor += time.process_time() - self._started[1]

    def seconds(self) -> float:
        """Processor time on one thread, which other work does not disturb, wall time on more."""
        return self.processor if torch.get_num_threads() == 1 else self.wall


# tasks


def tasks(chosen: argparse.Namespace) -> None:
    results = [run_task(name, chosen) for name in chosen.tasks or ["digits", "digits-cnn"]]
    header = ["task", "route", "us alone", "us together", "ratio", "with choosing", "choosing s", "off by"]
    rows = [
        [
            f"{r['task']} x{r['members']}, {r['steps']} steps",
            f"{r['route']} by {r['stack']}",
            r["microseconds_runs"],
            r["microseconds_population"],
            r["ratio"],
            r["ratio_with_choosing"],
            r["choosing"]["processor_seconds"],
            r["largest_difference_of_losses"],
        ]
        for r in results
    ]
    print(table("processor time of a member-step", header, rows))
    for r in results:
        print(f"{r['task']}: {r['reason']}")
    print(write_report(chosen.name or "population", {"results": results}))


def run_task(name: str, chosen: argparse.Namespace) -> dict[str, Any]:
    task = bench_task(name, chosen.data)
    plan = default_plan(task, lr=1e-3)
    steps = min(chosen.steps or plan.horizon.steps, plan.horizon.steps)
    members = chosen.members[0]
    lrs = np.geomspace(LOW, HIGH, members).tolist()
    choosing, together, alone = Clock(), Clock(), Clock()
    with choosing:
        population = Population(
            task, cross(plan, lrs=lrs), route=chosen.route, expected_steps=members * steps
        )
        route = population.route
    with alone:
        runs = [Run(task, member.plan, seed=member.seed) for member in population.members]
    for stop in [*range(TURN, steps, TURN), steps]:
        with together:
            population.advance(stop)
        with alone:
            for run in runs:
                run.advance(stop)
    trained = sum(len(run.losses) for run in runs)
    return {
        "task": name,
        "members": members,
        "steps": steps,
        "route": route.name,
        "reason": route.reason,
        "stack": route.size,
        "choosing": vars_of(choosing),
        "population": vars_of(together),
        "runs": vars_of(alone),
        "microseconds_population": together.processor / trained * 1e6,
        "microseconds_runs": alone.processor / trained * 1e6,
        "ratio": alone.processor / together.processor,
        "ratio_with_choosing": alone.processor / (together.processor + choosing.processor),
        "largest_difference_of_losses": largest_difference(population, runs),
    }


def vars_of(clock: Clock) -> dict[str, float]:
    return {"wall_seconds": clock.wall, "processor_seconds": clock.processor}


def largest_difference(population: Population, runs: list[Run]) -> float:
    """Over the first 20 updates: later on, rounding grows as fast as the highest rates make any difference grow."""
    pairs = [
        (mine, theirs)
        for index, run in enumerate(runs)
        for mine, theirs in zip(population.losses[index][:20], run.losses[:20], strict=False)
    ]
    return max((abs(a - b) / max(abs(b), 1e-3) for a, b in pairs if math.isfinite(b)), default=0.0)


# speed


def speed(chosen: argparse.Namespace) -> None:
    results = []
    for threads in chosen.threads:
        torch.set_num_threads(threads)
        if chosen.cnn:
            digits = load_task("digits-cnn")
            cases = [(replace(digits, steps=1_000_000, epochs=None), "AdamW", 32)]
        else:
            cases = [
                (perceptron(batch, name), name, batch) for batch in (64, 16) for name in ("AdamW", "SGD")
            ]
        for task, optimizer, batch in cases:
            for members in chosen.members:
                result = one_speed(task, optimizer, batch, members, ["eager", *chosen.routes])
                results.append(result | {"threads": threads})
                print(told(results[-1]), flush=True)
    for threads in chosen.threads:
        print(speed_table([r for r in results if r["threads"] == threads], threads))
    print(write_report(chosen.name or "population_speed", {"results": results}))


def perceptron(batch: int, optimizer: str) -> Task:
    """64-128-10 on noise, its batches in memory: nothing but training takes time."""
    generator = torch.Generator().manual_seed(0)
    batches = [
        (
            torch.randn(batch, 64, generator=generator),
            torch.randint(0, 10, (batch,), generator=generator),
        )
        for _ in range(20)
    ]
    return Task(
        name=f"perceptron, batch {batch}",
        model=lambda: nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10)),
        loss=supervised(nn.functional.cross_entropy),
        train=batches,
        validation=batches[:1],
        optimizer=getattr(torch.optim, optimizer),
        steps=1_000_000,
    )


def one_speed(task: Task, optimizer: str, batch: int, members: int, routes: list[str]) -> dict[str, Any]:
    """Medians over rounds in which all contenders take a turn: microseconds of a member-step, ratios to plain."""
    plan = default_plan(task, lr=1e-3)
    lrs = np.geomspace(1e-5, 1e-3, members).tolist()
    contenders: dict[str, tuple[Callable[[int], None], int]] = {
        "plain": (plain_loop(task, optimizer), 1),
        "fused": (plain_loop(task, optimizer, fused=True), 1),
        "run": (advanced(Run(task, plan)), 1),
    }
    first = {}
    for route in routes:
        with Clock() as clock:
            population = Population(task, cross(plan, lrs=lrs), route=route)
            population.advance(2)
        if population.route.name == route:
            contenders[route] = advanced(population), members
            first[route] = clock.seconds()
    contenders |= {name: (work, 1) for name, work in limits(task, members).items()}
    turns = {name: turn_length(work) for name, (work, _) in contenders.items()}
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(ROUNDS):
        for name, (work, size) in contenders.items():
            with Clock() as clock:
                work(turns[name])
            taken[name].append(clock.seconds() / turns[name] / size * 1e6)
    ratios = {
        name: float(np.median([one / other for one, other in zip(taken["plain"], seconds, strict=True)]))
        for name, seconds in taken.items()
        if name in ("fused", "run", *routes)
    }
    limit = sum(float(np.median(taken.pop(name))) for name in ("products", "update"))
    return {
        "task": task.name,
        "optimizer": optimizer,
        "batch": batch,
        "members": members,
        "microseconds": {name: spread(values) for name, values in taken.items()},
        "limit_microseconds": limit,
        "plain_over": ratios,
        "first_seconds": first,
    }


def batches_of(task: Task) -> Iterator[Any]:
    return iter(BatchStream(search_split(task).train, seed=0))


def plain_loop(task: Task, optimizer: str, **options: Any) -> Callable[[int], None]:
    """`n` steps of the simplest quick loop, which goes on where it stopped."""
    with seeded(0):
        model = task.model().train()
    steps = task.optimizer(model.parameters(), lr=1e-3, **options) if callable(task.optimizer) else None
    if not isinstance(steps, torch.optim.Optimizer):
        raise SystemExit(f"{task.name}: {optimizer} cannot be built plainly")
    return plain_updates(task, model, steps, batches_of(task))


def plain_updates(
    task: Task, model: nn.Module, optimizer: torch.optim.Optimizer, batches: Iterator[Any]
) -> Callable[[int], None]:
    """`n` updates of the simplest loop there is over these batches."""

    def loop(n: int) -> None:
        for batch in itertools.islice(batches, n):
            optimizer.zero_grad()
            loss = task.loss(model, batch)
            loss.backward()
            optimizer.step()
            loss.item()

    return loop


def advanced(trained: Run | Population, **options: Any) -> Callable[[int], None]:
    return lambda n: trained.advance(trained.step + n, **options)


def limits(task: Task, members: int) -> dict[str, Callable[[int], None]]:
    """What a member-step is at least: its operations as one wide product, its update as sums of arrays.

    Each call does `n` member-steps' worth. An update of AdamW reads four and writes three numbers a parameter, and its
    gradient is written once: as much as 8/3 sums of two arrays into a third; SGD's is half as much.
    """
    model = task.model().train()
    batch = next(batches_of(task))
    counter = FlopCounterMode(display=False)
    with counter:
        task.loss(model, batch).backward()
    wide = min(members, 32)
    left, right = torch.randn(128 * wide, 64), torch.randn(64, 64)
    product = torch.empty(128 * wide, 64)
    products = counter.get_total_flops() / (2 * left.numel() * 64)
    size = sum(p.numel() for p in model.parameters()) * wide
    one, two, three = torch.zeros(size), torch.zeros(size), torch.zeros(size)
    sums = (4 / 3 if task.optimizer is torch.optim.SGD else 8 / 3) / wide

    def multiply(n: int) -> None:
        for _ in range(max(1, round(n * products))):
            torch.mm(left, right, out=product)

    def add(n: int) -> None:
        for _ in range(max(1, round(n * sums))):
            torch.add(one, two, out=three)

    return {"products": multiply, "update": add}


def turn_length(work: Callable[[int], None]) -> int:
    """How many steps take about a turn; they also warm up."""
    work(3)
    with Clock() as clock:
        work(32)
    return (
        max(32, round(32 * TURN_SECONDS / max(clock.seconds(), 1e-6)))
        if clock.seconds() < TURN_SECONDS
        else 8
    )


def told(r: dict[str, Any]) -> str:
    ratios = ", ".join(f"{name} {ratio:.1f}" for name, ratio in r["plain_over"].items())
    return (
        f"{r['task']}, {r['optimizer']}, {r['members']} members, {r['threads']} threads: plain over {ratios}"
    )


def speed_table(results: list[dict[str, Any]], threads: int) -> str:
    names = list(dict.fromkeys(name for r in results for name in r["microseconds"]))
    header = ["case", *names, "limit", *(f"x {name}" for name in names if name not in ("plain", "run"))]
    rows = [
        [
            f"{r['task']}, {r['optimizer']} x{r['members']}",
            *(r["microseconds"].get(name, {}).get("median") for name in names),
            r["limit_microseconds"],
            *(r["plain_over"].get(name) for name in names if name not in ("plain", "run")),
        ]
        for r in results
    ]
    return table(f"microseconds of a member-step, {threads} thread(s); plain over each", header, rows)


# loop


def loop(chosen: argparse.Namespace) -> None:
    results = [one_loop(name, chosen) for name in chosen.tasks or TASKS]
    header = ["task", "bare us", "run us", "run / bare", "p10", "p90", "watched / bare", "bare / bare"]
    rows = [
        [r["task"], r["bare"]["median"], r["run"]["median"]]
        + [r["over_bare"]["run"][key] for key in ("median", "p10", "p90")]
        + [r["over_bare"][name]["median"] for name in ("watched", "control")]
        for r in results
    ]
    print(table("an update of a Run and of the bare loop", header, rows))
    print(write_report(chosen.name or "population_loop", {"results": results}))


def one_loop(name: str, chosen: argparse.Namespace) -> dict[str, Any]:
    task = replace(bench_task(name, chosen.data), steps=1_000_000, epochs=None)
    plan = replace(default_plan(task, lr=1e-3), schedule=hold())
    contenders = {
        "bare": bare_loop(task, 1e-3),
        "run": advanced(Run(task, plan)),
        "control": bare_loop(task, 1e-3),
        "watched": advanced(Run(task, plan), on_step=lambda info: None),
    }
    turn = min(turn_length(work) for work in contenders.values())
    taken: dict[str, list[float]] = {contender: [] for contender in contenders}
    for index in range(chosen.rounds or 4 * ROUNDS):
        order = list(contenders.items())
        for contender, work in order if index % 2 else reversed(order):
            with Clock() as clock:
                work(turn)
            taken[contender].append(clock.seconds() / turn * 1e6)
    ratios = {
        contender: spread(one / bare for one, bare in zip(taken[contender], taken["bare"], strict=True))
        for contender in ("run", "watched", "control")
    }
    told = {contender: spread(values) for contender, values in taken.items()}
    return {"task": name, **told, "over_bare": ratios}


def bare_loop(task: Task, lr: float) -> Callable[[int], None]:
    """`n` steps of the simplest loop over the task's own loader, which goes on where it stopped."""
    with seeded(0):
        model = task.model().train()
    optimizer = build_optimizer(task.optimizer, model, lr)
    loader = search_split(task).train
    return plain_updates(task, model, optimizer, itertools.chain.from_iterable(itertools.repeat(loader)))


# search


def search(chosen: argparse.Namespace) -> None:
    cases = [("default", STAGES)]
    if chosen.members:
        cases = [(f"x{k}", ((k, 0.0, 1.0),)) for k in chosen.members]
    results = []
    for name in chosen.tasks or TASKS:
        for told, stages in cases:
            rounds = [one_search(name, stages, chosen) for _ in range(chosen.rounds or 5)]
            ratios = spread(r["ratio"] for r in rounds)
            results.append({"task": f"{name} {told}", "ratios": ratios, "rounds": rounds})
            print(f"{name} {told}: {ratios['median']:.3f}; {rounds[-1]['reason']}", flush=True)
    header = ["task", "route", "bare s", "together s", "choosing s", "bare / together", "p10", "p90"]
    rows = [
        [r["task"], " ".join(sorted({one["route"] for one in r["rounds"]}))]
        + [float(np.median([one[key] for one in r["rounds"]])) for key in ("bare", "together", "choosing")]
        + [r["ratios"].get(key) for key in ("median", "p10", "p90")]
        for r in results
    ]
    print(table("whole searches: seconds", header, rows))
    print(write_report(chosen.name or "population_search", {"results": results}))


def one_search(name: str, stages: Sequence[Stage], chosen: argparse.Namespace) -> dict[str, Any]:
    """The stages in turns with the bare loop; what was not trained is scaled up."""
    task = bench_task(name, chosen.data)
    plan = default_plan(task, lr=1e-3)
    steps = plan.horizon.steps
    member_steps = sum(round(members * (stop - start) * steps) for members, start, stop in stages)
    lrs = np.geomspace(3e-4, 3e-2, max(members for members, _, _ in stages)).tolist()
    choosing = Clock()
    with choosing:
        first = Population(task, cross(plan, lrs=lrs[: stages[0][0]]), expected_steps=member_steps)
        route = first.route
    together, bare = choosing.seconds(), 0.0
    loops: list[Callable[[int], None]] = []
    for index, (members, start, stop) in enumerate(stages):
        population, building, training, making, plain = first, Clock(), Clock(), Clock(), Clock()
        if index:
            with building:
                population = Population(task, cross(plan, lrs=lrs[:members]), like=first)
                if start:
                    population.load_members({i: first.member_state(i) for i in range(members)})
        with making:
            loops = loops[:members] if start else [bare_loop(task, lr) for lr in lrs[:members]]
        before, length = population.step, max(TURN, round((stop - start) * steps * chosen.portion))
        for until in [*range(before + STRETCH, before + length, STRETCH), before + length]:
            turn = until - population.step
            with training:
                population.advance(until)
            with plain:
                for loop in loops:
                    loop(turn)
        scale = (stop - start) * steps / length
        together += building.seconds() + training.seconds() * scale
        bare += making.seconds() + plain.seconds() * scale
    return {
        "route": f"{route.name} by {route.size}",
        "reason": route.reason,
        "portion": chosen.portion,
        "bare": bare,
        "together": together,
        "choosing": choosing.seconds(),
        "ratio": bare / together,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="?", default="tasks", choices=["tasks", "speed", "loop", "search"])
    parser.add_argument("tasks", nargs="*")
    parser.add_argument("--members", type=int, nargs="+")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--route", choices=["loop", "eager", "traced", "compiled"])
    parser.add_argument("--routes", nargs="*", default=["traced", "compiled"], help="of speed, beside eager")
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--cnn", action="store_true")
    parser.add_argument("--data", type=Path, help="folder with mnist/ and tinyshakespeare.txt")
    parser.add_argument("--rounds", type=int, help="of loop and search")
    parser.add_argument("--portion", type=float, default=1.0)
    parser.add_argument("--name", help="of the JSON file")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads[0])
    if chosen.what in ("tasks", "speed"):
        chosen.members = chosen.members or ([1, 8, 32, 128] if chosen.what == "speed" else [32])
    {"tasks": tasks, "speed": speed, "loop": loop, "search": search}[chosen.what](chosen)
    print(machine())


if __name__ == "__main__":
    main()
