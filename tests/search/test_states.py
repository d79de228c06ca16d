"""States of trials on the disk: which come back, and which are forgotten."""

from __future__ import annotations

import pytest
import torch

from lrkit.errors import StudyError
from lrkit.search.states import FileStates


def test_states_come_back_by_trial(tmp_path):
    states = FileStates(tmp_path / "trials")
    keys = [
        (1e-3, 0, ()),
        (1e-3, 1, ()),
        (1e-3, 0, (("weight_decay", 0.1),)),
        (1e-3, 0, (("weight_decay", 0.2),)),
    ]
    for i, key in enumerate(keys):
        states.save(key, {"w": torch.full((2,), float(i))})
    again = FileStates(tmp_path / "trials")
    for i, key in enumerate(keys):
        assert torch.equal(again.load(key)["w"], torch.full((2,), float(i)))
    assert again.load((2e-3, 0, ())) is None


def test_only_those_that_may_go_on_are_kept_and_the_folder_goes_with_the_last(tmp_path):
    states = FileStates(tmp_path / "trials")
    states.save((1e-3, 0, ()), {"w": torch.ones(1)})
    states.save((2e-3, 0, ()), {"w": torch.ones(1)})
    states.keep_only(frozenset({(1e-3, 0, ())}))
    assert states.load((2e-3, 0, ())) is None
    assert states.load((1e-3, 0, ())) is not None
    states.keep_only(frozenset())
    assert list(tmp_path.iterdir()) == []
    states.keep_only(frozenset())


def test_a_damaged_state_is_named(tmp_path):
    states = FileStates(tmp_path)
    states.save((1e-3, 0, ()), {"w": torch.ones(1)})
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(StudyError, match=file.name):
        states.load((1e-3, 0, ()))
