"""A recorded graph without what nobody reads and without what is computed twice: each operation costs its dispatch."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import torch
from torch.fx import GraphModule, Node

__all__ = ["trimmed"]


def trimmed(module: GraphModule) -> GraphModule:
    """`module`, changed: pure operations that have no reader are gone, and equal ones are one.

    Where anything is changed in place, what is computed twice may differ, and stays.
    """
    graph = module.graph
    if all(_is_pure(node) for node in graph.nodes):
        _merge(list(graph.nodes))
    for node in reversed(list(graph.nodes)):
        if node.op == "call_function" and not node.users and _is_pure(node):
            graph.erase_node(node)
    module.recompile()
    return module


def _merge(nodes: list[Node]) -> None:
    seen: dict[Hashable, Node] = {}
    for node in nodes:
        if node.op == "call_function" and _is_pure(node):
            # Written out, 1 and 1.0 and True are different arguments.
            first = seen.setdefault((node.target, repr(node.args), repr(node.kwargs)), node)
            if first is not node:
                node.replace_all_uses_with(first)


def _is_pure(node: Node) -> bool:
    """Whether the node gives the same whenever it is called, and does nothing else."""
    if node.op != "call_function":
        return True
    target: Any = node.target
    schema = getattr(target, "_schema", None)
    if schema is None:  # not an operation of torch's: picking an entry of a tuple is one such
        return getattr(target, "__module__", "") == "_operator"
    return not schema.is_mutable and torch.Tag.nondeterministic_seeded not in target.tags
