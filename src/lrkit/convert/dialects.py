"""The peers' dialects: `peer:name(arguments)`, the peer's own words and numbers, as a Schedule.

Each module in `peers` holds one peer: a function for each of its schedules with the peer's own parameters and
defaults. `ENTRIES` maps the peer's names to them, and `CONTROLLERS` the names of what reacts to a metric, which no
function of the step can be, to what lrkit has instead.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Final, cast

import lrkit.spec
from lrkit.convert.live import schedule_of
from lrkit.convert.peers import (
    composer,
    d2l,
    deepspeed,
    diffusers,
    fastai,
    fvcore,
    keras,
    kohya,
    megatron,
    olmo,
    optax,
    sklearn,
    timm,
    torch,
    torchtitan,
    transformers,
)
from lrkit.duration import brief
from lrkit.errors import SpecError, did_you_mean
from lrkit.schedule import Schedule
from lrkit.spec import Spec
from lrkit.spec.text import parse_call

__all__ = ["DIALECTS", "REACTIONS", "is_dialect", "parse", "parse_spec", "schedule"]

Table = Mapping[str, Callable[..., Schedule]]

DIALECTS: Final[Mapping[str, Table]] = {
    "composer": composer.ENTRIES,
    "d2l": d2l.ENTRIES,
    "deepspeed": deepspeed.ENTRIES,
    "diffusers": diffusers.ENTRIES,
    "fastai": fastai.ENTRIES,
    "fvcore": fvcore.ENTRIES,
    "keras": keras.ENTRIES,
    "kohya": kohya.ENTRIES,
    "megatron": megatron.ENTRIES,
    "olmo": olmo.ENTRIES,
    "optax": optax.ENTRIES,
    "sklearn": sklearn.ENTRIES,
    "timm": timm.ENTRIES,
    "torch": torch.ENTRIES,
    "torchtitan": torchtitan.ENTRIES,
    "transformers": transformers.ENTRIES,
}
"""Each peer's schedules: peer -> name -> the function that takes the peer's parameters."""

REACTIONS: Final[Mapping[str, Table]] = {
    "keras": keras.CONTROLLERS,
    "kohya": kohya.CONTROLLERS,
    "optax": optax.CONTROLLERS,
    "sklearn": sklearn.CONTROLLERS,
    "timm": timm.CONTROLLERS,
    "torch": torch.CONTROLLERS,
    "transformers": transformers.CONTROLLERS,
}
"""Each peer's names for what is no function of the step; behind them a SpecError says what to write instead."""


def schedule(what: object, /, **parameters: object) -> Schedule:
    """The Schedule that a peer's own words stand for, with the peer's own numbers at every step.

    `what` is "peer:name", as in "transformers:cosine" or "timm:CosineLRScheduler", and `parameters` are the
    peer's, under its names and with its defaults; or it is a live torch scheduler, which is read and continued
    from where it stands (`group` is the number of the group to read, where they differ). Where the peer speaks
    in absolute rates, `base_lr` is the lr that the optimizer's group will be created with (1 by default: then
    factors are the rates themselves).
    What the peer does after the end of the run comes as the schedule's `.after(...)`, and its known defects
    come too: each function's docstring names them and the lrkit spec without them.

    Raises SpecError for an unknown peer, name or parameter (with the nearest valid one), for a value that the
    peer would not take, and for a name that is a controller.

    >>> warm = schedule("transformers:linear", num_warmup_steps=2, num_training_steps=6)
    >>> str(warm), warm.over(6).chunk(0, 6).tolist()
    ('linear(2, to=1, start=0) >> linear(4, to=0)', [0.0, 0.5, 1.0, 0.75, 0.5, 0.25])
    """
    if not isinstance(what, str):
        more = [name for name in parameters if name != "group"]
        if more:
            raise SpecError(f"a live scheduler has its parameters already: leave out {', '.join(more)}")
        return schedule_of(what, group=cast("int | None", parameters.get("group")))
    peer, name = _split(what)
    table = _names(peer)
    build = table.get(name)
    if build is None:
        raise SpecError(f"{peer} has no schedule {name!r}{did_you_mean(name, table)}")
    _check_names(f"{peer}:{name}", inspect.signature(build), parameters)
    try:
        return build(**parameters)
    except SpecError as error:
        raise SpecError(f"{peer}:{name}: {error}") from None


def parse(text: str) -> Schedule:
    """A spec, as `lrkit.parse` reads it, or one call in a peer's dialect.

    >>> str(parse("composer:LinearScheduler(t_max='20ba', max_duration='50ba')"))
    'linear(20, to=0, start=1) >> hold()'
    >>> str(parse("cosine(to=0)"))
    'cosine(to=0)'
    """
    if not is_dialect(text):
        return lrkit.spec.parse(text)
    peer, call = _split(text)
    try:
        return parse_call(call, _names(peer), noun="schedule")
    except SpecError as error:
        raise SpecError(f"{peer}: {error}") from None


def parse_spec(text: str) -> Spec:
    """As `lrkit.spec.parse_spec`, where the schedule may be a call in a peer's dialect.

    >>> str(parse_spec("d2l:SquareRootScheduler & plateau(patience=5)"))
    'inverse_sqrt(1).after(continue) & plateau(patience=5)'
    """
    if not is_dialect(text):
        return lrkit.spec.parse_spec(text)
    call, sign, controllers = text.partition("&")
    control = lrkit.spec.parse_spec(f"hold() & {controllers}").control if sign else ()
    return Spec(parse(call), control)


def is_dialect(text: object) -> bool:
    """Whether a text has a peer's name in front, as no spec has."""
    return isinstance(text, str) and ":" in text.partition("(")[0]


def _check_names(where: str, signature: inspect.Signature, given: Mapping[str, object]) -> None:
    """Refuse names that the peer's function does not have, and the lack of those that it needs."""
    known = {
        key: p for key, p in signature.parameters.items() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    }
    closed = len(known) == len(signature.parameters)
    for key in given:
        if key not in known and closed:
            raise SpecError(f"{where} has no parameter {key!r}{did_you_mean(key, known)}")
    for key, parameter in known.items():
        if parameter.default is parameter.empty and key not in given:
            raise SpecError(f"{where} lacks its parameter {key!r}")


def _names(peer: str) -> dict[str, Callable[..., Schedule]]:
    return {**DIALECTS[peer], **REACTIONS.get(peer, {})}


def _split(text: str) -> tuple[str, str]:
    """The peer, which exists, and what follows the colon."""
    peer, colon, rest = (part.strip() for part in text.partition(":"))
    if not colon or not rest:
        raise SpecError(f"{brief(text)} is no name in a peer's dialect: write 'peer:name'")
    if peer not in DIALECTS:
        raise SpecError(f"unknown peer {brief(peer)}{did_you_mean(peer, DIALECTS)}")
    return peer, rest
