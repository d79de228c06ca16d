"""Saving is whole or not at all: the file that was there is untouched, and nothing is left beside it."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

import pytest

from lrkit.errors import PlanError
from lrkit.plan import Plan
from plan_strategies import DESIGN_PAGE

PLAN = Plan.parse(DESIGN_PAGE)
FAULTS = [
    ("replace", errno.EIO),
    ("replace", errno.ENOSPC),
    ("fsync", errno.ENOSPC),
    ("fdopen", errno.EMFILE),
    ("mkstemp", errno.EROFS),
    ("mkstemp", errno.EACCES),
]


@pytest.fixture(params=[True, False], ids=["over a plan", "a new file"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param:
        (tmp_path / "plan.toml").write_text(DESIGN_PAGE)
    return tmp_path / "plan.toml"


def state(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in os.listdir(folder)}


@pytest.mark.parametrize(
    ("call", "number"), FAULTS, ids=[f"{call} {errno.errorcode[n]}" for call, n in FAULTS]
)
def test_a_fault_is_one_line_and_leaves_the_folder_as_it_was(
    path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    before = state(path.parent)
    with monkeypatch.context() as patch:
        patch.setattr(tempfile if call == "mkstemp" else os, call, fail)
        with pytest.raises(PlanError) as error:
            PLAN.with_lr(1.0).save(path)
    message = str(error.value)
    assert str(path) in message
    assert os.strerror(number) in message
    assert ("untouched" in message) == bool(before)
    assert "\n" not in message
    assert state(path.parent) == before
    PLAN.with_lr(1.0).save(path)
    assert Plan.load(path).lr == 1.0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_full_device_is_named(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """The write itself fails, in the kernel, when the buffer is flushed."""
    before = state(path.parent)
    fdopen = os.fdopen

    def on_a_full_device(descriptor: int, mode: str) -> object:
        os.close(descriptor)
        return fdopen(os.open("/dev/full", os.O_WRONLY), mode)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdopen", on_a_full_device)
        with pytest.raises(PlanError, match="No space left on device"):
            PLAN.with_lr(1.0).save(path)
    assert state(path.parent) == before


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_named(path: Path) -> None:
    before = state(path.parent)
    path.parent.chmod(0o555)
    try:
        with pytest.raises(PlanError, match="Permission denied"):
            PLAN.with_lr(1.0).save(path)
    finally:
        path.parent.chmod(0o755)
    assert state(path.parent) == before


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"cannot write the plan .*No such file"):
        PLAN.save(tmp_path / "none" / "plan.toml")


FOREIGN = {
    "another program's file": "[project]\nname = 'x'\n",
    "no TOML": "notes: buy milk\n",
    "a newer plan": DESIGN_PAGE.replace("lrkit = 1", "lrkit = 2"),
    "not text": b"\xff\xfe\x00",
}


@pytest.mark.parametrize("case", FOREIGN)
def test_what_is_no_plan_is_never_written_over(tmp_path: Path, case: str) -> None:
    path = tmp_path / "file.toml"
    content = FOREIGN[case]
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    before = state(tmp_path)
    with pytest.raises(PlanError, match=r"file\.toml"):
        PLAN.save(path)
    assert state(tmp_path) == before


def test_an_empty_file_is_filled(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text("\n")
    PLAN.save(path)
    assert Plan.load(path) == PLAN


def test_a_plan_that_a_person_broke_is_mended(tmp_path: Path) -> None:
    """Its comments stay; what was wrong is replaced by what the plan says."""
    path = tmp_path / "plan.toml"
    path.write_text(
        DESIGN_PAGE.replace("3.1e-3\nw", "'oops' # mine\nunknwon = 1\nw").replace(
            "[horizon]\nsteps = 1200\n", "[horizon]\n"
        )
    )
    PLAN.save(path)
    assert Plan.load(path) == PLAN
    assert "lr = 0.0031 # mine\n" in path.read_text()


def test_a_link_still_points_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "real.toml").write_text(DESIGN_PAGE)
    link = tmp_path / "plan.toml"
    link.symlink_to("real.toml")
    PLAN.with_lr(1.0).save(link)
    assert link.is_symlink()
    assert Plan.load(tmp_path / "real.toml").lr == 1.0
