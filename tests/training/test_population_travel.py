"""Members come and go: a member's state is its plain Run's, and plain Runs' states become a population."""

from __future__ import annotations

import copy
import dataclasses
import time

import pytest
import torch

from lrkit.errors import StateError, TaskError
from lrkit.training import MemberPlan, Population, Route, Run, cross, load_checkpoint, save_checkpoint
from lrkit.training.population import choice
from optimizers import OPTIMIZERS, Lion, double_blobs, plain_net
from toys import fingerprint, random_states, small_net, toy_plan, toy_task

LRS = (1e-3, 1e-2, 3e-2)
MINE = {"Lion": Lion, "AdamW of the user's": type("MyAdamW", (torch.optim.AdamW,), {})}


def run_of(task, member, *, until=0, state=None):
    run = Run(task, member.plan, seed=member.seed)
    if state is not None:
        run.load_state_dict(state)
    run.advance(until)
    return run


def assert_near(found: dict, wanted: dict, rel: float) -> None:
    for name, tensor in wanted.items():
        off = (found[name] - tensor).abs().max()
        assert off <= rel * tensor.abs().max() + 1e-7, (name, float(off))


def assert_goes_on(task, members, *, route, stop=7, until=16, rel=1e-5):
    """To `stop` together; then alone, and some of them in a population of their own: all as if never moved."""
    population = Population(task, members, route=route)
    population.advance(stop)
    assert population.route.name == route, population.route.reason
    states = {index: population.member_state(index) for index in population.alive}
    before = fingerprint(states)
    chosen = [2, 0]
    some = Population(task, [members[index] for index in chosen], like=population)
    some.load_members({place: states[index] for place, index in enumerate(chosen)})
    assert (some.step, some.route) == (stop, population.route)
    some.advance(until)
    for index, member in enumerate(members):
        wanted, alone = run_of(task, member, until=until), run_of(task, member, state=states[index])
        assert alone.step == stop
        alone.advance(until)
        assert alone.losses == pytest.approx(wanted.losses, rel=100 * rel, abs=1e-6)
        assert_near(alone.model.state_dict(), wanted.model.state_dict(), rel)
        if index in chosen:
            place = chosen.index(index)
            assert some.losses[place] == pytest.approx(wanted.losses, rel=100 * rel, abs=1e-6)
            assert_near(some.model(place).state_dict(), wanted.model.state_dict(), rel)
    assert fingerprint(states) == before, "a state that was given away was changed"


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_members_of_every_optimizer_travel(name):
    task = toy_task(model=lambda: plain_net().double(), optimizer=OPTIMIZERS[name], train=double_blobs())
    assert_goes_on(task, cross(toy_plan(task), lrs=LRS), route="eager", rel=1e-9)


@pytest.mark.parametrize("name", MINE)
def test_members_of_an_optimizer_of_the_users_own_travel(name):
    task = toy_task(model=plain_net, optimizer=MINE[name])
    assert_goes_on(task, cross(toy_plan(task), lrs=LRS), route="eager")


@pytest.mark.parametrize("route", ["eager", "traced"])
def test_buffers_masks_and_batches_travel_too(route):
    """BatchNorm and dropout: running statistics, and random numbers that go on where they stopped."""
    task = toy_task(optimizer=torch.optim.SGD)
    assert_goes_on(task, cross(toy_plan(task, clip_norm=0.5), lrs=LRS), route=route, rel=1e-4)


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning"
)  # torch's compiler imports what torch has deprecated
def test_members_of_a_compiled_population_travel():
    task = toy_task(optimizer=torch.optim.SGD)
    assert_goes_on(task, cross(toy_plan(task), lrs=LRS), route="compiled", rel=1e-4)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_state_has_the_very_form_of_a_runs(name):
    """Key by key, and in kind: what a stack writes is what torch's own optimizer would have written."""
    task = toy_task(model=small_net, optimizer=OPTIMIZERS[name])
    member = cross(toy_plan(task), lrs=LRS[:1])[0]
    population = Population(task, [member], route="eager")
    population.advance(5)

    def form(value):
        if isinstance(value, torch.Tensor):
            return value.dtype, tuple(value.shape)
        if isinstance(value, dict):
            return {key: form(entry) for key, entry in value.items()}
        if isinstance(value, list | tuple):
            return type(value), [form(entry) for entry in value]
        return value if isinstance(value, int | str) or value is None else type(value)

    state, plain = population.member_state(0), run_of(task, member, until=5).state_dict()
    assert form(state) == form(plain)
    assert fingerprint(state["rng"], state["stream"]) == fingerprint(plain["rng"], plain["stream"])
    for key in ("scheduler", "of"):
        assert state[key] == plain[key]
    for mine, theirs in zip(
        state["optimizer"]["state"].values(), plain["optimizer"]["state"].values(), strict=True
    ):
        for key in {"step", "mu_product"} & theirs.keys():
            assert float(mine[key]) == pytest.approx(float(theirs[key]), rel=1e-5)


@pytest.mark.parametrize("origin", ["loop", "run", "file"])
def test_on_the_loop_nothing_changes_by_a_bit(origin, tmp_path):
    task = toy_task()
    members = cross(toy_plan(task), lrs=LRS, seeds=(0, 5))
    wanted = [run_of(task, member, until=20) for member in members]
    first = Population(task, members, route="loop")
    first.advance(9)
    states = {index: first.member_state(index) for index in range(len(members))}
    if origin == "run":
        states = {index: run_of(task, member, until=9).state_dict() for index, member in enumerate(members)}
    elif origin == "file":
        for index, state in states.items():
            save_checkpoint(tmp_path / f"{index}.pt", state)
        states = {index: load_checkpoint(tmp_path / f"{index}.pt") for index in states}
    population = Population(task, members, route="loop")
    population.load_members(states)
    population.advance(20)
    for index, run in enumerate(wanted):
        assert population.losses[index] == tuple(run.losses)
        assert fingerprint(population.member_state(index)) == fingerprint(run.state_dict())


def test_plain_runs_become_a_stack_and_leave_it_again():
    """Two seeds in one stack, a member dropped, a checkpoint in between; the callers' generators stay as they are."""
    task = toy_task(model=plain_net, optimizer=torch.optim.SGD)
    members = cross(toy_plan(task), lrs=LRS, seeds=(0, 5))
    before = fingerprint(random_states())
    population = Population(task, members, route="eager")
    population.load_members(
        {index: run_of(task, member, until=5).state_dict() for index, member in enumerate(members)}
    )
    assert population.route.mixed
    population.advance(8)
    population.drop([1, 3])
    population.advance(10)
    with pytest.raises(TaskError, match="has left"):
        population.member_state(3)
    resumed = Population(task, members)
    resumed.load_state_dict(copy.deepcopy(population.state_dict()))
    for source in (population, resumed):
        for index in source.alive:
            run = run_of(task, members[index], state=source.member_state(index), until=14)
            assert run.losses == pytest.approx(run_of(task, members[index], until=14).losses, rel=1e-4)
    assert fingerprint(random_states()) == before


def test_members_with_and_without_momentum_share_a_stack_and_keep_what_is_theirs():
    task = toy_task(model=plain_net, optimizer=torch.optim.SGD)
    plan = toy_plan(task)
    members = [
        MemberPlan(
            dataclasses.replace(plan, optimizer=dataclasses.replace(plan.optimizer, options={"momentum": m}))
        )
        for m in (0.9, 0.0, 0.5)
    ]
    assert_goes_on(task, members, route="eager")
    population = Population(task, members, route="eager")
    population.advance(3)
    kept = [population.member_state(index)["optimizer"]["state"] for index in range(3)]
    assert [sorted(state[0]) if state else [] for state in kept] == [
        ["momentum_buffer"],
        [],
        ["momentum_buffer"],
    ]


def test_states_that_cannot_be_one_population_are_refused_and_nothing_is_changed():
    task = toy_task()
    members = cross(toy_plan(task), lrs=LRS)
    at = {stop: [run_of(task, member, until=stop).state_dict() for member in members] for stop in (4, 6)}
    population = Population(task, members, route="eager")
    population.advance(2)
    lost = run_of(task, members[2], until=4).state_dict() | {"diverged": True}
    for states, told in (
        ({0: at[4][0], 1: at[6][1], 2: at[4][2]}, "member 1 stands at update 6, member 0 at 4"),
        ({0: at[4][1], 1: at[4][0], 2: at[4][2]}, "member 0: this checkpoint belongs to another run: lr"),
        ({0: at[4][0]}, "every member needs one"),
        ({0: at[4][0], 1: at[4][1], 2: lost}, "member 2 diverged"),
        ({0: at[4][0], 1: {"version": 1}, 2: at[4][2]}, "member 1"),
        ({0: at[4][0], 1: {**at[4][1], "model": {}}, 2: at[4][2]}, "member 1: this is no state of a Run"),
    ):
        with pytest.raises(StateError, match=told):
            population.load_members(states)
    population.advance(5)
    assert population.losses[0] == pytest.approx(run_of(task, members[0], until=5).losses, rel=1e-4)


def test_runs_that_stand_at_other_random_numbers_go_on_one_by_one_and_one_line_says_why(caplog):
    task = toy_task()
    members = cross(toy_plan(task), lrs=LRS)
    states = {index: run_of(task, member, until=4).state_dict() for index, member in enumerate(members)}
    states[1] = states[1] | {"rng": run_of(task, members[1], until=5).state_dict()["rng"]}
    population = Population(task, members, route="eager")
    population.load_members(states)
    assert population.route.name == "loop"
    assert "members 0 and 1 of seed 0 stand at different random numbers" in population.route.reason
    assert len(caplog.records) == 1
    population.advance(9)
    assert population.losses[1] == tuple(run_of(task, members[1], state=states[1], until=9).losses)


def test_a_route_that_is_given_is_taken_as_it_is(monkeypatch):
    def never(*args, **kwargs):
        raise AssertionError("a pinned route is neither chosen nor timed")

    task = toy_task(model=plain_net)
    members = cross(toy_plan(task), lrs=LRS)
    chosen = Population(task, members, route="eager").route
    monkeypatch.setattr(choice, "scout", never)
    pinned = Population(task, members, route=chosen)
    pinned.advance(12)
    assert pinned.route == chosen
    assert pinned.losses[1] == pytest.approx(run_of(task, members[1], until=12).losses, rel=1e-4)
    assert Population(task, members, route=Route(name="loop", reason="mine")).route.reason == "mine"


def test_a_route_that_cannot_serve_becomes_the_loop_or_is_refused():
    task = toy_task(model=plain_net)
    route = Route(name="eager", reason="elsewhere", size=8)
    watched = dataclasses.replace(toy_plan(task), control=("plateau(patience=5)",))
    population = Population(task, cross(watched, lrs=LRS), route=route)
    assert population.route.name == "loop"
    assert "feedback controller" in population.route.reason
    foreign = dataclasses.replace(route, idle=("nobody.weight",))
    with pytest.raises(TaskError, match=r"another task's.*nobody\.weight"):
        Population(task, cross(toy_plan(task), lrs=LRS), route=foreign).advance(1)


def test_the_next_rung_pays_for_no_graph_again(monkeypatch):
    """`like=` takes over what was recorded: of seven members four go on, in the seven's graph."""
    from lrkit.training.population import flat

    recorded = []
    make_fx = flat.make_fx

    def counted(function, **kwargs):
        recorded.append(function)
        return make_fx(function, **kwargs)

    task = toy_task(model=plain_net)
    members = cross(toy_plan(task), lrs=(1e-3, 2e-3, 3e-3, 1e-2, 2e-2, 3e-2, 5e-2))
    first = Population(task, members, route="traced")
    first.advance(8)
    monkeypatch.setattr(flat, "make_fx", counted)
    for places in ((0, 2, 4, 6), (1, 3, 4, 5)):
        rung = Population(task, [members[place] for place in places], like=first)
        rung.load_members({mine: first.member_state(place) for mine, place in enumerate(places)})
        rung.advance(16)
        for mine, place in enumerate(places):
            wanted = run_of(task, members[place], until=16)
            assert rung.losses[mine] == pytest.approx(wanted.losses, rel=1e-4)
            assert rung.alive == (0, 1, 2, 3)
    assert recorded == []
    with pytest.raises(TaskError, match="another task and training"):
        Population(toy_task(), cross(toy_plan(task, clip_norm=1.0), lrs=LRS), like=first)
    with pytest.raises(TaskError, match="not both"):
        Population(task, members, like=first, route="eager")


@pytest.mark.parametrize(("seconds", "sizes"), [(1e-4, [7, 7]), (1e-2, [4, 4])])
def test_where_a_step_is_arithmetic_no_ballast_is_carried(seconds, sizes):
    """Seven members, of whom four go on: by `like=`, and by `drop`."""
    task = toy_task(model=plain_net, optimizer=torch.optim.SGD)
    members = cross(toy_plan(task), lrs=(1e-3, 2e-3, 3e-3, 1e-2, 2e-2, 3e-2, 5e-2))
    chosen = Population(task, members, route="traced").route
    first = Population(task, members, route=dataclasses.replace(chosen, seconds={"traced": seconds}))
    first.advance(4)
    rung = Population(task, members[:4], like=first)
    rung.load_members({place: first.member_state(place) for place in range(4)})
    first.drop([4, 5, 6])
    for population in (first, rung):
        population.advance(8)
        assert population.losses[1] == pytest.approx(run_of(task, members[1], until=8).losses, rel=1e-4)
    slots = [
        [len(b["slots"]) for b in p.state_dict()["engine"]["fleets"][0]["blocks"]] for p in (first, rung)
    ]
    assert slots == [[size] for size in sizes]


def test_an_unfinished_update_gives_no_state_away():
    task = toy_task()
    population = Population(task, cross(toy_plan(task), lrs=LRS), route="eager")
    population.advance(3)

    def interrupt(step, losses):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        population.advance(6, on_step=interrupt)
    with pytest.raises(StateError, match="interrupted within an update"):
        population.member_state(0)
    population.load_members(
        {index: run_of(task, member, until=3).state_dict() for index, member in enumerate(population.members)}
    )
    population.advance(6, deadline=time.monotonic() + 60)
    assert population.step == 6
