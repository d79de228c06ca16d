"""What options that several commands share give to the library."""

from __future__ import annotations

import click
import pytest

from lrkit.cli import options


@click.command
@click.argument("task")
@options.search_options
def command(task, **how):
    return task, how


def given(*arguments):
    return command.main([*arguments], standalone_mode=False)


@pytest.mark.parametrize(
    ("arguments", "ray"),
    [
        ([], False),
        (["--ray"], True),
        (["--ray-address", "auto"], "auto"),
        (["--ray", "--ray-address", "10.0.0.1:6379"], "10.0.0.1:6379"),
        (["--ray-address", "10.0.0.1:6379", "--ray"], "10.0.0.1:6379"),
    ],
)
def test_ray_is_a_flag_and_an_address_never_the_task(arguments, ray):
    task, how = given(*arguments, "digits")
    assert task == "digits"
    assert how["ray"] == ray
    assert how.keys() == {"method", "space", "workers", "ray", "storage", "name"}


def test_an_empty_address_is_refused():
    with pytest.raises(click.BadParameter, match="empty"):
        given("--ray-address", "", "digits")
