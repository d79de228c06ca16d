"""Several drivers, one study: each trial has one driver at a time and one result, whatever happens in between."""

from __future__ import annotations

import math
import os
import random
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrkit.errors import MissingExtra, SpecError, StudyError
from lrkit.search import Proposal, Result, search_lr
from lrkit.search.optuna_file import export_shared_study
from lrkit.search.optuna_trials import from_trial, to_trial
from lrkit.search.shared_claims import Desk
from lrkit.search.shared_study import SharedStudy, study_name
from lrkit.search.space import Choice, Range, Space
from search.postgres import Server, postgres_folder
from toys import toy_task

SETTINGS = {"task": "toy", "seed": 0, "groups": {"head": [2.0, "None", []]}}
SPACE = Space(
    {
        "momentum": Range(0.0, 0.99),
        "warmup": Range(0, 20, integer=True),
        "weight_decay": Range(1e-6, 1.0, log=True),
        "batch_size": Choice((16, 32)),
        "schedule": Choice(("cosine(to=0)", "linear(to=0)")),
    }
)
numbers = st.floats(allow_nan=True, allow_infinity=True)


@pytest.fixture(scope="module")
def server():
    programs = postgres_folder()
    if programs is None:
        pytest.skip("no PostgreSQL server is installed")
    server = Server(programs)
    yield server
    server.remove()


@pytest.fixture
def join(server, request):
    """Opens this test's study once more: another driver."""
    opened = []

    def call(settings=SETTINGS, **options):
        study = SharedStudy(
            server.url, request.node.name, settings, **({"steps": 10, "patience": 10} | options)
        )
        opened.append(study)
        return study

    yield call
    for study in opened:
        study.close()


def result(lr=1e-3, **changes):
    given = {
        "lr": lr,
        "seed": 0,
        "steps": 10,
        "objective": 0.5,
        "diverged": False,
        "cost": 10,
        "seconds": 0.1,
    }
    return Result(**(given | changes))


def proposals(count, stop=10):
    return tuple(Proposal((i + 1) * 1e-3, 0, 0, stop) for i in range(count))


def listed(proposals):
    return sorted(proposals, key=lambda p: (p.lr, p.stop))


@contextmanager
def as_optuna_sees_it(server):
    """Optuna's own storage there, with no connection left behind."""
    from optuna.storages import RDBStorage
    from sqlalchemy.pool import NullPool

    storage = RDBStorage(
        server.url.replace("postgresql", "postgresql+psycopg"), engine_kwargs={"poolclass": NullPool}
    )
    yield storage
    storage.remove_session()


def pronounce_dead(server, study):
    """As if nothing had been heard of a driver for an hour. Its heart must beat slowly for this to last."""
    server.rows(
        "update lrkit_drivers set seen = seen - interval '1 hour' where driver = %s", study._desk.driver
    )


class TestRows:
    @settings(max_examples=60, deadline=None)
    @given(
        st.floats(1e-12, 1e6),
        numbers,
        st.integers(1, 2**31 - 1),
        st.booleans(),
        st.lists(st.tuples(st.text(max_size=9), numbers), max_size=3),
        st.floats(0.0, 0.99),
        st.sampled_from([16, 32]),
    )
    def test_a_result_as_optunas_trial_comes_back_to_the_last_bit(
        self, lr, objective, steps, diverged, metrics, momentum, size
    ):
        values = (("batch_size", size), ("momentum", momentum), ("other", "x"))
        kept = result(
            lr, objective=objective, steps=steps, diverged=diverged, metrics=tuple(metrics), values=values
        )
        assert repr(from_trial(to_trial(kept, steps=1000, space=SPACE))) == repr(kept)

    def test_results_come_back_in_their_order_from_any_driver(self, join):
        kept = (
            result(
                3.0, metrics=(("loss", 0.1), ("accuracy", math.inf)), parts=((0.1 + 0.2, 1e-300), (0.7, 2.0))
            ),
            result(1.0, objective=math.nan, diverged=True, steps=3),
            result(0.1 + 0.2, values=(("momentum", 1 / 3), ("schedule", "cosine(to=0)")), seed=7),
            result(1.0, steps=9, objective=-0.0),
        )
        one, other = join(space=SPACE), join(space=SPACE)
        for i, each in enumerate(kept):
            (one, other)[i % 2].add(each)
        for study in (one, other, join(space=SPACE)):
            assert repr(study.results()) == repr(kept)

    def test_optuna_shows_what_the_search_did(self, join, server, request):
        import optuna

        values = (
            ("batch_size", 32),
            ("momentum", 0.9),
            ("schedule", "linear(to=0)"),
            ("warmup", 5),
            ("weight_decay", 0.1),
        )
        study = join(space=SPACE, direction="max")
        study.add(result(0.1, objective=0.75, values=values))
        study.add(result(0.2, steps=4))
        study.add(result(0.3, diverged=True, objective=math.nan, steps=2))
        with as_optuna_sees_it(server) as storage:
            shown = optuna.load_study(study_name=request.node.name, storage=storage)
            trials, best = shown.trials, shown.best_trial
        assert [trial.state.name for trial in trials] == ["COMPLETE", "PRUNED", "FAIL"]
        assert [trial.value for trial in trials] == [0.75, 0.5, None]
        assert best.params == {"lr": 0.1, **dict(values)}
        assert trials[1].intermediate_values == {4: 0.5}
        assert trials[1].user_attrs["steps"] == 4
        assert best.duration.total_seconds() == pytest.approx(0.1)

    def test_a_shared_study_is_exported_to_a_file(self, join, server, request, tmp_path):
        import optuna
        from sqlalchemy.pool import NullPool

        kept = (result(), result(2e-3, steps=4), result(3e-3, diverged=True, objective=math.nan, steps=2))
        study = join(direction="max")
        for each in kept:
            study.add(each)
        assert export_shared_study(server.url, request.node.name, tmp_path / "study.db") == 3
        storage = optuna.storages.RDBStorage(
            f"sqlite:///{tmp_path / 'study.db'}", engine_kwargs={"poolclass": NullPool}
        )
        copy = optuna.load_study(study_name=request.node.name, storage=storage)
        assert repr(tuple(map(from_trial, copy.trials))) == repr(kept)
        assert (copy.direction.name, copy.user_attrs) == ("MAXIMIZE", SETTINGS)
        storage.remove_session()
        with pytest.raises(StudyError, match="no study 'test_x' at 127"):
            export_shared_study(server.url, "test_x", tmp_path / "other.db")

    def test_a_result_that_nobody_claimed_is_not_kept_twice(self, join):
        study = join()
        study.add(result())
        with pytest.raises(StudyError, match=r"has the result at lr 0\.001 already"):
            join().add(result())
        assert len(study.results()) == 1


class TestClaims:
    @pytest.mark.parametrize(("drivers", "count"), [(1, 3), (3, 7), (3, 2)])
    def test_a_batch_is_shared_out_evenly_and_nothing_twice(self, join, drivers, count):
        studies, batch = [join() for _ in range(drivers)], proposals(count)
        claimed = [study.claim(batch) for study in studies]
        assert listed(p for part in claimed for p in part) == listed(batch)
        assert max(map(len, claimed)) == math.ceil(count / drivers)
        assert [study.claim(batch) for study in studies] == claimed, "asked again, each has what it had"

    def test_drivers_that_ask_at_once_never_get_the_same(self, join):
        studies, batch = [join() for _ in range(4)], proposals(20)
        barrier = threading.Barrier(4)

        def claim(study):
            barrier.wait()
            return study.claim(batch)

        with ThreadPoolExecutor(4) as pool:
            claimed = [p for part in pool.map(claim, studies) for p in part]
        assert listed(claimed) == listed(batch)

    def test_the_same_trial_to_another_length_is_another_claim(self, join):
        study, other = join(), join()
        study.claim(proposals(1, stop=4))
        assert other.claim(proposals(1, stop=4)) == ()
        study.add(result(steps=4))
        assert other.claim(proposals(1, stop=10)) == proposals(1, stop=10)

    def test_a_trial_goes_on_with_the_driver_that_has_its_state(self, join):
        studies = join(), join()
        for study, share in zip(studies, (proposals(4, stop=4)[:2], proposals(4, stop=4)[2:]), strict=True):
            assert study.claim(proposals(4, stop=4)) == share
            for proposal in share:
                study.add(result(proposal.lr, steps=4))
        whole = proposals(4, stop=10)
        assert studies[1].claim(whole) == whole[2:]
        assert studies[0].claim(whole) == whole[:2]

    def test_a_trial_that_diverged_on_the_way_is_done(self, join):
        study, other = join(), join()
        study.claim(proposals(1))
        study.add(result(steps=3, diverged=True, objective=math.nan))
        assert study.claim(proposals(1)) == other.claim(proposals(1)) == ()

    def test_what_a_dead_driver_had_is_given_to_one_other_once(self, join, server):
        dead, *others = (join() for _ in range(3))
        batch = proposals(1)
        assert dead.claim(batch) == batch
        assert [study.claim(batch) for study in others] == [(), ()]
        pronounce_dead(server, dead)
        with ThreadPoolExecutor(2) as pool:
            claimed = list(pool.map(lambda study: study.claim(batch), others))
        assert sorted(map(len, claimed)) == [0, 1]
        assert attempts(server, dead) == [2]

    def test_the_late_result_of_a_driver_thought_dead_is_not_added_twice(self, join, server):
        late, other = join(), join()
        pronounce_dead(server, other)
        assert late.claim(proposals(2)) == proposals(2)
        pronounce_dead(server, late)
        assert other.claim(proposals(2)) == proposals(2)
        late.add(result(1e-3, seconds=1.0))
        other.add(result(1e-3, seconds=2.0))
        other.add(result(2e-3, seconds=2.0))
        late.add(result(2e-3, seconds=1.0))
        assert [(r.lr, r.seconds) for r in late.results()] == [(1e-3, 1.0), (2e-3, 2.0)]
        assert late.results() == other.results()

    def test_what_a_driver_leaves_is_free_at_once(self, join):
        one, other = join(), join()
        other.results()
        one.claim(proposals(1))
        assert other.claim(proposals(1)) == ()
        one.close()
        assert other.claim(proposals(1)) == proposals(1)

    def test_a_driver_that_lives_keeps_what_it_has_beyond_the_grace_period(self, join):
        one, other = join(grace=0.4), join(grace=0.4)
        one.claim(proposals(1))
        time.sleep(1.2)
        assert other.claim(proposals(1)) == ()

    def test_a_sign_of_life_after_leaving_does_not_sign_on_again(self, join, server):
        one, other = join(), join()
        one.claim(proposals(1))
        beat, driver = one._desk.still_here, one._desk.driver
        one.close()
        other._transact(beat)  # as one that was held up by a slow connection
        assert server.rows("select from lrkit_drivers where driver = %s", driver) == []
        assert other.claim(proposals(2)) == proposals(2), "the share of the only driver"

    def test_what_ends_the_signs_of_life_is_raised_by_the_next_call(self, join, monkeypatch):
        def broken(desk, connection):
            raise ZeroDivisionError("a bug")

        monkeypatch.setattr(Desk, "still_here", broken)
        study = join(grace=0.4)
        study._heart._thread.join(30)
        for call in (study.results, study.wait):
            with pytest.raises(ZeroDivisionError, match="a bug"):
                call()
        study.close()

    def test_waiting_ends_when_another_driver_adds_or_leaves(self, join):
        one, other = join(), join()
        one.claim(proposals(4))
        for act in (lambda: one.add(result()), one.close):
            other.results()
            timer = threading.Timer(0.3, act)
            timer.start()
            began = time.monotonic()
            other.wait()
            assert 0.2 < time.monotonic() - began < 5
            timer.join()


def attempts(server, study):
    rows = server.rows("select attempts from lrkit_trials where study_id = %s", study._desk.study)
    return [number for (number,) in rows]


class TestOnce:
    def test_one_driver_makes_it_and_all_have_it(self, join):
        studies, made = [join() for _ in range(3)], []

        def make():
            made.append(threading.get_ident())
            time.sleep(0.2)
            return {"number": len(made)}

        with ThreadPoolExecutor(3) as pool:
            known = list(pool.map(lambda study: study.once("range test", make), studies))
        assert known == [{"number": 1}] * 3
        assert join().once("range test", lambda: {"number": 2}) == {"number": 1}
        assert join().once("other", lambda: {"number": 3}) == {"number": 3}

    @pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
    def test_what_fails_in_the_making_is_raised_and_free_at_once(self, join, error):
        def fail():
            raise error("no data")

        one, other = join(), join()
        with pytest.raises(error, match="no data"):
            one.once("range test", fail)
        assert other.once("range test", lambda: {"a": 1}) == {"a": 1}
        assert one.once("range test", fail) == {"a": 1}

    def test_another_takes_over_from_a_maker_that_died_and_the_first_content_stays(self, join, server):
        slow, other = join(), join()

        def make():
            pronounce_dead(server, slow)
            assert other.once("range test", lambda: {"by": "other"}) == {"by": "other"}
            return {"by": "slow"}

        assert slow.once("range test", make) == {"by": "other"}


class TestOpening:
    def test_other_settings_are_refused_with_what_differs(self, join):
        join()
        with pytest.raises(StudyError, match=r"other settings: seed was 0, now 1; choose another name"):
            join(SETTINGS | {"seed": 1})

    def test_another_format_is_refused(self, join, server):
        study = join()
        server.rows("update lrkit_studies set format = 9 where study_id = %s", study._desk.study)
        with pytest.raises(StudyError, match="has format 9; this lrkit reads format 2"):
            join()

    def test_drivers_may_open_a_study_at_the_same_time(self, join):
        with ThreadPoolExecutor(4) as pool:
            studies = list(pool.map(lambda _: join(), range(4)))
        assert len({study._desk.study for study in studies}) == 1
        assert len({study._desk.driver for study in studies}) == 4

    def test_a_closed_study_says_so_and_closes_again(self, join):
        study = join()
        study.close()
        study.close()
        with pytest.raises(StudyError, match="this study is closed"):
            study.results()

    @pytest.mark.parametrize(
        ("storage", "words"),
        [
            ("mysql://me:hunter2@host/db", "through PostgreSQL, not through 'mysql'"),
            ("me:hunter2@host", "no address of a database"),
            ("postgresql://me:hunter2@host:port/db", "no address of a database"),
            (None, "is a text, not NoneType"),
        ],
    )
    def test_another_address_is_refused(self, storage, words):
        with pytest.raises(SpecError, match=words) as told:
            SharedStudy(storage, "toy", SETTINGS, steps=10)
        assert "hunter2" not in str(told.value)

    def test_a_server_that_is_not_there_is_told_at_once_and_without_the_password(self):
        began = time.monotonic()
        with pytest.raises(StudyError, match=r"cannot reach the study's server 127.0.0.1:9/db: ") as told:
            SharedStudy("postgresql://me:hunter2@127.0.0.1:9/db", "toy", SETTINGS, steps=10)
        assert "hunter2" not in str(told.value)
        assert time.monotonic() - began < 5

    def test_a_database_that_is_not_there_is_named(self, server):
        with pytest.raises(StudyError, match='database "other" does not exist'):
            SharedStudy(server.url.replace("/postgres", "/other"), "toy", SETTINGS, steps=10)

    @pytest.mark.parametrize(
        "changes", [{"name": ""}, {"name": "x" * 600}, {"grace": 0}, {"grace": math.nan}]
    )
    def test_wrong_arguments_are_refused_before_anything_is_reached(self, changes):
        with pytest.raises(SpecError):
            SharedStudy(
                "postgresql://nowhere.invalid/x", **({"name": "toy", "settings": {}, "steps": 1} | changes)
            )

    def test_a_missing_package_is_told_with_the_extra_that_brings_it(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "psycopg", None)
        with pytest.raises(MissingExtra, match=r"pip install 'lrkit\[postgresql\]'"):
            SharedStudy("postgresql://host/db", "toy", SETTINGS, steps=10)

    def test_no_row_holds_the_password(self, server):
        url = server.url.replace("lrkit@", "lrkit:hunter2%7B%25%7D%40@")
        with SharedStudy(url, "secret", SETTINGS, steps=10) as study:
            study.claim(proposals(1))
            study.add(result())
            study.once("x", dict)
            tables = server.rows("select tablename from pg_tables where schemaname = 'public'")
            assert len(tables) > 10
            for (table,) in tables:
                assert all("hunter2" not in row for (row,) in server.rows(f"select t::text from {table} t"))

    def test_the_name_of_a_study(self):
        assert study_name("digits", "long runs") == "digits: long runs"


class TestLostConnections:
    def test_a_connection_cut_before_each_step_changes_nothing(self, join, server):
        study = join()
        for number in range(3):
            server.cut()
            claimed = study.claim(proposals(3)[number:])
            server.cut()
            study.add(result(claimed[0].lr))
            server.cut()
            assert len(study.results()) == number + 1
            server.cut()
            assert study.once(str(number), lambda: {"a": 1}) == {"a": 1}
        assert attempts(server, study) == [1, 1, 1]

    @pytest.mark.slow
    def test_a_connection_cut_in_the_midst_of_a_step_changes_nothing(self, join, server):
        study, chance, cuts = join(), random.Random(0), []

        @contextmanager
        def cut_soon():
            timer = threading.Timer(chance.uniform(0, 0.1), lambda: cuts.append(server.cut()))
            timer.start()
            yield
            timer.join()

        for batch in map(proposals, range(1, 13)):
            with cut_soon():
                study.claim(batch)
            with cut_soon():
                study.add(result(batch[-1].lr))
        assert sum(cuts) >= 12
        assert [r.lr for r in study.results()] == [p.lr for p in proposals(12)]
        assert set(attempts(server, study)) == {1}

    @pytest.mark.slow
    def test_a_connection_cut_while_a_study_is_opened_changes_nothing(self, join, server):
        chance, cuts = random.Random(0), []
        join()
        for _ in range(8):
            timer = threading.Timer(chance.uniform(0, 0.4), lambda: cuts.append(server.cut()))
            timer.start()
            join()
            timer.join()
        assert sum(cuts) >= 8

    @pytest.mark.slow
    def test_a_server_that_restarts_is_waited_for_and_one_that_does_not_is_told(self, join, server):
        study = join()
        server.stop()
        timer = threading.Timer(1.0, server.start)
        timer.start()
        study.add(result())
        timer.join()
        assert study.results() == (result(),)
        hasty = join(patience=0.5)
        server.stop()
        try:
            with pytest.raises(StudyError, match=r"cannot reach the study.s server 127\.0\.0\.1"):
                hasty.add(result(2e-3))
            hasty.close()
        finally:
            server.start()
        assert study.results() == (result(),)

    def test_a_study_that_was_deleted_is_told(self, join, server, request):
        import optuna

        study = join()
        study.add(result())
        with as_optuna_sees_it(server) as storage:
            optuna.delete_study(study_name=request.node.name, storage=storage)
        for use in (study.results, lambda: study.add(result(2e-3)), lambda: study.claim(proposals(1))):
            with pytest.raises(StudyError, match="was deleted"):
                use()


class TestTheRunFolder:
    def test_it_has_one_driver_at_a_time(self, server, request, tmp_path):
        name, seen = request.node.name, []

        def search(task, folder):
            return search_lr(task, bracket=(1e-3, 5e-2), storage=server.url, name=name, out=folder)

        def loss(model, batch):
            if not seen:
                with pytest.raises(StudyError) as caught:
                    search(toy_task(), tmp_path / "one")
                seen.append(str(caught.value))
            return toy_task().loss(model, batch)

        search(toy_task(loss=loss), tmp_path / "one")
        (told,) = seen
        assert f"one is in use: process {os.getpid()} is searching there" in told
        assert "give each process its own folder (--out)" in told
        assert search(toy_task(), tmp_path / "one").trials  # let go of

    def test_an_address_that_cannot_be_used_leaves_none(self, tmp_path):
        with pytest.raises(SpecError):
            search_lr(toy_task(), bracket=(1e-3, 5e-2), storage="mysql://here/x", out=tmp_path / "new")
        assert not (tmp_path / "new").exists()
