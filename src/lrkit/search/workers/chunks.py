"""A batch of proposals in chunks, one for each worker that is free: each may be trained as one population."""

from __future__ import annotations

from collections.abc import Sequence

from lrkit.search.trials import Proposal

__all__ = ["name_setting", "name_settings", "split"]


def split(proposals: Sequence[Proposal], parts: int) -> tuple[tuple[Proposal, ...], ...]:
    """At most `parts` chunks of about equal cost, none empty; a chunk's proposals stay in their order.

    The costliest first, each to the chunk that has least to do: at worst a third above the best split (Graham 1969,
    doi:10.1137/0117039).
    """
    chunks: list[list[int]] = [[] for _ in range(min(parts, len(proposals)))]
    loads = [0] * len(chunks)
    for index in sorted(range(len(proposals)), key=lambda i: -proposals[i].cost):
        lightest = loads.index(min(loads))
        chunks[lightest].append(index)
        loads[lightest] += proposals[index].cost
    return tuple(tuple(proposals[index] for index in sorted(chunk)) for chunk in chunks)


def name_setting(proposal: Proposal) -> str:
    """`lr 0.001, weight_decay 0.1, seed 0`: a trial as a person would name it."""
    values = "".join(f"{name} {value}, " for name, value in proposal.values)
    return f"lr {proposal.lr:g}, {values}seed {proposal.seed}"


def name_settings(proposals: Sequence[Proposal]) -> str:
    """Several trials by name: the first three, and how many more."""
    more = len(proposals) - 3
    return "; ".join(map(name_setting, proposals[:3])) + (f"; and {more} more" if more > 0 else "")
