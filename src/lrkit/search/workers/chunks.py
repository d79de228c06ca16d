"""A batch of proposals in chunks, one for each worker that is free: each may be trained as one population."""

from __future__ import annotations

from collections.abc import Sequence

from lrkit.search.trials import Proposal

__all__ = ["name_setting", "name_settings", "split"]


def split(proposals: Sequence[Proposal], parts: int) -> tuple[tuple[Proposal, ...], ...]:
    """At most `parts` chunks, none empty; a chunk's proposals stay in their order.

    Proposals with equal seed, values, start and stop may be trained as one population, which costs little more than one
    of them: they stay together, and are divided only where there are fewer such companies than parts, the costliest
    piece first. Then each piece, from the costliest on, goes to the chunk that has least to do: at worst a third above
    the best split of these pieces (Graham 1969, doi:10.1137/0117039).
    """
    companies: dict[tuple[object, ...], list[int]] = {}
    for index, p in enumerate(proposals):
        companies.setdefault((p.seed, p.values, p.start, p.stop), []).append(index)
    count = min(parts, len(proposals))
    pieces = _divided(proposals, list(companies.values()), count)
    chunks: list[list[int]] = [[] for _ in range(count)]
    loads = [0] * count
    for piece in sorted(pieces, key=lambda piece: -_cost(proposals, piece)):
        lightest = loads.index(min(loads))
        chunks[lightest].extend(piece)
        loads[lightest] += _cost(proposals, piece)
    return tuple(tuple(proposals[index] for index in sorted(chunk)) for chunk in chunks)


def _divided(
    proposals: Sequence[Proposal], companies: Sequence[Sequence[int]], count: int
) -> list[Sequence[int]]:
    """`count` pieces of the companies, or each whole where they are as many; `count` is at most that of proposals."""
    pieces = [1] * len(companies)
    while sum(pieces) < count:
        largest = [_cost(proposals, company[::n]) for company, n in zip(companies, pieces, strict=True)]
        divisible = [i for i, company in enumerate(companies) if pieces[i] < len(company)]
        pieces[max(divisible, key=lambda i: largest[i])] += 1
    return [company[i::n] for company, n in zip(companies, pieces, strict=True) for i in range(n)]


def _cost(proposals: Sequence[Proposal], indices: Sequence[int]) -> int:
    return sum(proposals[index].cost for index in indices)


def name_setting(proposal: Proposal) -> str:
    """`lr 0.001, weight_decay 0.1, seed 0`: a trial as a person would name it."""
    values = "".join(f"{name} {value}, " for name, value in proposal.values)
    return f"lr {proposal.lr:g}, {values}seed {proposal.seed}"


def name_settings(proposals: Sequence[Proposal]) -> str:
    """Several trials by name: the first three, and how many more."""
    more = len(proposals) - 3
    return "; ".join(map(name_setting, proposals[:3])) + (f"; and {more} more" if more > 0 else "")
