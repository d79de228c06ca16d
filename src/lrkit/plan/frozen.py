"""A mapping that cannot change: what a frozen value holds where it would hold a dict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

__all__ = ["FrozenMap"]

V = TypeVar("V", covariant=True)


class FrozenMap(Mapping[str, V]):
    """A read-only copy of a mapping, which hashes when its values do and keeps their order.

    It equals any mapping with the same items, in whatever order, and prints as the dict that makes it.

    >>> FrozenMap({"a": 1}) == {"a": 1}, FrozenMap({"a": 1}) | {"b": 2}
    (True, {'a': 1, 'b': 2})
    """

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[str, V] | None = None) -> None:
        self._items: dict[str, V] = dict(items or {})

    def __getitem__(self, key: str) -> V:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __or__(self, other: Mapping[str, V]) -> FrozenMap[V]:
        return FrozenMap({**self._items, **other})

    def __hash__(self) -> int:
        return hash(frozenset(self._items.items()))

    def __repr__(self) -> str:
        return repr(self._items)
