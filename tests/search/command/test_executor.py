"""Commands that run, are ended early, fail, and never outlive whoever started them."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import closing, suppress

import pytest

from lrkit.errors import NoAnswer, SpecError, StudyError, TaskError
from lrkit.search.command import Command, CommandExecutor, JsonLines, Length, Template
from lrkit.search.command.from_zero import NO_STATES
from lrkit.search.command.processes import Child, Guard
from lrkit.search.space import Space
from lrkit.search.trials import Proposal
from search.command.scripts import PYTHON, script

pytestmark = pytest.mark.skipif(os.name != "posix", reason="process groups are a matter of POSIX")

REPORT = "import json, sys, time\ndef report(**row): print(json.dumps(row), flush=True)\n"
FOREVER = "time.sleep(60)\n"


class Notes:
    """A reporter that remembers what it was told."""

    def __init__(self):
        self.notes, self.steps = [], 0

    def stage(self, name, total): ...

    def advance(self, steps, *, loss, lr):
        self.steps += steps

    def note(self, text):
        self.notes.append(text)

    def close(self): ...


@pytest.fixture
def run(tmp_path):
    """Runs proposals of a script, and gives the results; the executor's settings are keywords."""

    def results(text, *proposals, full=9, length=None, **settings):
        path = script(tmp_path, REPORT + textwrap.dedent(text))
        command = Command(
            Template([*PYTHON, str(path), "{lr}", "{seed}", "{out}"]),
            JsonLines(),
            length or Length(full, "epochs"),
            Space({}),
        )
        settings = {"grace": 5.0, **settings}
        deadline = settings.pop("deadline", math.inf)
        with closing(CommandExecutor(command, tmp_path / "run", **settings)) as executor:
            results.given = []  # what there was, should it end with an error
            for result in executor.run(proposals, NO_STATES, deadline=deadline):
                results.given.append(result)
            return results.given

    return results


def proposal(lr=0.01, stop=9, start=0):
    return Proposal(lr, 0, start, stop)


def alive(pid):
    with suppress(ProcessLookupError, FileNotFoundError):
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat") as file:
            return file.read().split()[2] != "Z"
    return False


def gone(pid, seconds=10.0):
    patience = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < patience:
        time.sleep(0.02)
    return not alive(pid)


def row(tmp_path, number=1):
    return json.loads((tmp_path / "run" / "trials" / str(number) / "trial.json").read_text())


def test_a_run_to_the_end_is_measured_at_its_last_report(run, tmp_path):
    (result,) = run("for i in range(9): report(epoch=i + 1, loss=9 - i)", proposal())
    assert (result.objective, result.steps, result.cost, result.diverged) == (1.0, 9, 9, False)
    assert dict(result.metrics) == {"trial": 1.0}
    assert row(tmp_path)["status"] == "measured"
    assert len(row(tmp_path)["reports"]) == 9


def test_at_its_rung_a_run_is_terminated_and_its_output_kept(run, tmp_path):
    began = time.monotonic()
    (result,) = run(
        f"for i in range(4): report(epoch=i + 1, loss=9 - i)\nprint('waiting')\n{FOREVER}",
        proposal(stop=3),
        grace=50.0,
    )
    assert (result.objective, result.steps, result.cost) == (7.0, 3, 3)
    assert time.monotonic() - began < 40
    assert '"epoch": 3' in (tmp_path / "run/trials/1/output.txt").read_text()


def test_a_run_that_was_stopped_goes_on_from_its_beginning(run):
    (result,) = run("for i in range(9): report(loss=9 - i)", proposal(start=3))
    assert (result.steps, result.cost) == (9, 9)


def test_what_ignores_the_request_is_killed_with_all_its_processes(run, tmp_path):
    (result,) = run(
        f"""
        import os, signal, subprocess
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
        open(sys.argv[3] + "/child", "w").write(str(child.pid))
        report(epoch=5, loss=1.5)
        {FOREVER}
        """,
        proposal(stop=3),
        grace=0.1,
    )
    assert (result.objective, result.steps) == (1.5, 3)
    assert result.cost == 5, "it was further than asked for when it told"
    assert gone(int((tmp_path / "run/trials/1/child").read_text()))


def test_not_a_number_ends_a_run_at_once(run, tmp_path):
    (result,) = run(f"report(loss=1.0); report(loss=float('nan'))\n{FOREVER}", proposal())
    assert result.diverged
    assert (result.steps, result.cost) == (2, 2)
    assert row(tmp_path)["status"] == "diverged"


def test_a_failure_counts_as_diverged_and_is_told_with_the_last_lines(run):
    notes = Notes()
    (result,) = run(
        "report(loss=1.0)\nraise ValueError('the loss exploded')", proposal(), proven=True, reporter=notes
    )
    assert result.diverged
    assert dict(result.metrics) == {"trial": 1.0, "failed": 1.0}
    (note,) = notes.notes
    assert "exited with code 1 at lr 0.01" in note
    assert "ValueError: the loss exploded" in note


def test_a_run_that_ends_without_a_report_ends_the_search_and_says_what_there_was(run):
    with pytest.raises(NoAnswer, match=r"the first trial failed.*no 'loss'; did you mean 'val_loss'\?"):
        run("print('epoch 1: fine')\nreport(val_loss=1)", proposal(0.1), proposal(0.2))


def test_once_a_command_is_known_to_work_such_a_run_is_a_failure_like_others(run):
    notes = Notes()
    (result,) = run("print('fine')", proposal(), proven=True, reporter=notes)
    assert result.diverged
    assert "ended without a report of the metric" in notes.notes[0]


def test_nothing_but_failures_ends_the_search(run, tmp_path):
    with pytest.raises(NoAnswer, match=r"3 trials, and all failed.*no module"):
        run("sys.exit('no module named nn')", *(proposal(lr) for lr in (0.1, 0.2, 0.3, 0.4)))
    assert len(list((tmp_path / "run/trials").iterdir())) == 3


KILLED = "import os, signal\nreport(loss=1)\n{if_}os.kill(os.getpid(), signal.SIGKILL)"


def test_a_command_that_somebody_kills_is_run_again(run):
    notes = Notes()
    results = run(
        KILLED.format(if_="if sys.argv[3].endswith('/1'): "), proposal(0.1), proposal(0.2), reporter=notes
    )
    assert [(result.lr, result.diverged) for result in results] == [(0.2, False), (0.1, False)]
    (note,) = notes.notes
    assert "was ended by SIGKILL at lr 0.1" in note
    assert "run again" in note


def test_what_dies_whenever_it_is_run_counts_as_diverged(run):
    notes = Notes()
    results = run(
        KILLED.format(if_="if sys.argv[1] == '0.1': "), proposal(0.1), proposal(0.2), reporter=notes
    )
    assert [(result.lr, result.diverged) for result in results] == [(0.2, False), (0.1, True)]
    assert "trial 3 counts as diverged: the command was ended by SIGKILL" in notes.notes[1]


def test_a_command_that_dies_at_every_setting_ends_the_search(run, tmp_path):
    with pytest.raises(NoAnswer, match=r"3 trials, and all failed.*SIGSEGV"):
        run(
            "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)",
            *(proposal(lr) for lr in (0.1, 0.2, 0.3, 0.4)),
        )
    assert len(list((tmp_path / "run/trials").iterdir())) == 7


def test_a_metric_that_is_no_number_stops_all_and_leaves_nothing_running(run, tmp_path):
    text = (
        f"import os\nopen(sys.argv[3] + '/pid', 'w').write(str(os.getpid()))\nreport(loss='high')\n{FOREVER}"
    )
    with pytest.raises(TaskError, match="no number"):
        run(text, proposal())
    assert gone(int((tmp_path / "run/trials/1/pid").read_text()), 0.0)
    assert row(tmp_path)["status"] == "interrupted"


def test_two_at_a_time_run_side_by_side(run):
    """Each waits for the other's file: alone, neither would end."""
    text = """
    import os
    open(sys.argv[3] + "/here", "w").close()
    other = os.path.join(os.path.dirname(sys.argv[3]), "2" if sys.argv[3].endswith("1") else "1", "here")
    while not os.path.exists(other): time.sleep(0.01)
    report(loss=1)
    """
    results = run(text, proposal(0.1), proposal(0.2), workers=2)
    assert sorted(result.lr for result in results) == [0.1, 0.2]


def test_after_the_deadline_nothing_begins_and_what_runs_goes_on_to_its_end(run, tmp_path):
    text = "time.sleep(1.5); report(loss=1)"
    results = run(text, *(proposal(lr) for lr in (0.1, 0.2, 0.3)), workers=2, deadline=time.monotonic() + 0.5)
    assert sorted(result.lr for result in results) == [0.1, 0.2]
    assert run(text, proposal(), deadline=time.monotonic()) == []
    assert len(list((tmp_path / "run/trials").iterdir())) == 2


@pytest.mark.parametrize("wrong", ["sys.exit(0)", "report(loss='high')"])
def test_what_goes_wrong_costs_no_result_of_the_same_look(run, monkeypatch, wrong):
    """Looks are rare here, so that all have ended at the second one; what fails is the first that was begun."""
    monkeypatch.setattr("lrkit.search.command.executor._LOOK", 1.0)
    text = f"""
    time.sleep(0.3)
    if float(sys.argv[1]) == 0.1: {wrong}
    else: report(loss=1)
    """
    with suppress(TaskError):
        run(text, *(proposal(lr) for lr in (0.1, 0.2, 0.3)), workers=3)
    assert [result.lr for result in run.given if not result.diverged] == [0.2, 0.3]


def test_an_early_end_is_noted_once(run):
    notes = Notes()
    results = run("report(loss=1)", proposal(0.1, stop=3), proposal(0.2, stop=3), reporter=notes)
    assert [result.steps for result in results] == [3, 3]
    assert len(notes.notes) == 1
    assert "tells its epoch or step" in notes.notes[0]


def test_progress_is_told_in_units_of_the_length(run):
    notes = Notes()
    run(
        "for i in range(9): report(step=100 * (i + 1), loss=1)",
        proposal(stop=900),
        length=Length(900, "steps"),
        reporter=notes,
    )
    assert notes.steps == 900


def test_giving_up_ends_what_runs(run, tmp_path):
    path = script(tmp_path, REPORT + f"import os; report(loss=os.getpid())\n{FOREVER}")
    command = Command(Template([*PYTHON, str(path), "{lr}"]), JsonLines(), Length(1, "steps"), Space({}))
    with closing(CommandExecutor(command, tmp_path / "run", workers=2, grace=5.0)) as executor:
        running = executor.run([proposal(0.1, 1), proposal(0.2, 1)], NO_STATES)
        before = signal.signal(signal.SIGALRM, _interrupt)
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        try:
            with pytest.raises(KeyboardInterrupt):
                next(running)
        finally:
            signal.signal(signal.SIGALRM, before)
        rows = [row(tmp_path, number) for number in (1, 2)]
    assert [r["status"] for r in rows] == ["interrupted"] * 2
    for number in (1, 2):
        text = (tmp_path / "run/trials" / str(number) / "output.txt").read_text()
        assert not text or gone(int(json.loads(text)["loss"]), 0.0)


def _interrupt(number, frame):
    raise KeyboardInterrupt


def test_the_guard_ends_what_it_still_watches(tmp_path):
    """When its input ends, as it does however a driver dies; what was forgotten is left alone."""
    guard = Guard(0.1)
    children = [
        Child(["sleep", "60"], variables={}, output=tmp_path / "out", errors=tmp_path / "err")
        for _ in range(2)
    ]
    for child in children:
        guard.watch(child.group)
    guard.forget(children[1].group)
    guard.close()
    assert gone(children[0].group)
    assert children[1].poll() is None
    for child in children:
        child.reap()


@pytest.mark.slow
def test_kill_9_of_the_driver_ends_its_commands(tmp_path):
    path = script(tmp_path, REPORT + f"import os; report(loss=os.getpid())\n{FOREVER}")
    driver = f"""
    from pathlib import Path
    from lrkit.search.command import Command, CommandExecutor, JsonLines, Length, Template
    from lrkit.search.command.from_zero import NO_STATES
    from lrkit.search.space import Space
    from lrkit.search.trials import Proposal
    command = Command(Template({[*PYTHON, str(path), "{lr}"]!r}), JsonLines(), Length(1, "steps"), Space({{}}))
    executor = CommandExecutor(command, Path("run"), grace=5.0)
    next(executor.run([Proposal(0.1, 0, 0, 1)], NO_STATES))
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(driver)], cwd=tmp_path)
    output = tmp_path / "run/trials/1/output.txt"
    patience = time.monotonic() + 60
    while not (output.exists() and output.read_text().endswith("\n")) and time.monotonic() < patience:
        time.sleep(0.02)
    pid = int(json.loads(output.read_text())["loss"])
    assert alive(pid)
    process.kill()
    process.wait()
    assert gone(pid)


def test_folders_are_never_used_twice(run, tmp_path):
    run("report(loss=1)", proposal())
    (tmp_path / "run/trials/7").mkdir()
    run("report(loss=2)", proposal())
    assert sorted(path.name for path in (tmp_path / "run/trials").iterdir()) == ["1", "7", "8"]


def test_a_folder_that_cannot_be_written_is_one_line(run, tmp_path):
    (tmp_path / "run").write_text("a file")
    with pytest.raises(StudyError, match="cannot make the folder"):
        run("report(loss=1)", proposal())


@pytest.mark.parametrize(
    "settings", [{"workers": 0}, {"workers": True}, {"grace": -1}, {"grace": float("nan")}]
)
def test_wrong_settings_are_refused(run, settings):
    with pytest.raises(SpecError):
        run("", **settings)


class TestCommand:
    def make(self, *arguments, source=None, length=None, space=None, variables=False):
        return Command(
            Template([sys.executable, *arguments]),
            source or JsonLines(),
            length or Length.of(None, None),
            Space(space or {}),
            variables,
        )

    def test_a_length_that_is_asked_for_must_be_given(self):
        with pytest.raises(SpecError, match="give --epochs"):
            self.make("{lr}", "{epochs}")
        with pytest.raises(SpecError, match="give --steps"):
            self.make("{lr}", "{steps}", length=Length(3, "epochs"))

    def test_a_name_that_lrkit_sets_is_taken(self):
        with pytest.raises(SpecError, match="'seed' has a name that lrkit sets"):
            self.make("{lr}", "{seed}", space={"seed": "1|2"})

    def test_files_are_looked_for_where_the_command_is_told_to_write(self):
        from lrkit.search.command import CsvColumn, TensorBoardTag

        for source in (CsvColumn("log.csv", "x"), TensorBoardTag("x")):
            with pytest.raises(SpecError, match=r"with \{out\}"):
                self.make("{lr}", source=source)
            self.make("{lr}", "{out}", source=source)

    def test_a_program_that_is_not_there_is_told_before_anything_runs(self):
        with pytest.raises(TaskError, match="no program 'pyhton'"):
            Command(Template(["pyhton", "{lr}"]), JsonLines(), Length(3, "epochs"), Space({}))

    def test_variables_take_the_place_of_placeholders(self, tmp_path):
        command = self.make(
            "train.py", space={"weight_decay": "0|0.1"}, variables=True, length=Length(9, "epochs")
        )
        chosen = Proposal(0.01, 3, 0, 9, (("weight_decay", 0.1),))
        variables = command.environment(chosen, tmp_path)
        assert variables == {
            "PYTHONUNBUFFERED": "1",
            "LRKIT_LR": "0.01",
            "LRKIT_WEIGHT_DECAY": "0.1",
            "LRKIT_SEED": "3",
            "LRKIT_EPOCHS": "9",
            "LRKIT_OUT": str(tmp_path),
        }
