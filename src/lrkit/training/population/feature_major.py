"""A graph rewritten so that activations lie feature by feature: (members, features, batch) in memory.

`vmap` keeps (members, batch, features). Turned round, the first layers of all members are one wide matrix product, for
the batch is the same for all, and a softmax over few classes runs along the batch, where it vectorises. What is turned
is the activations of linear layers and what is done to them element by element; any other operation gets a transposed
view, so the graph computes what it did, up to the order of sums.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.fx import Graph, GraphModule, Node

__all__ = ["feature_major"]

_aten = torch.ops.aten
_RESHAPES = {_aten.view.default, _aten._unsafe_view.default}
_VIEWS = {*_RESHAPES, _aten.expand.default}
_SWAPPED = {0: 0, 1: 2, 2: 1, -3: 0, -2: 2, -1: 1}


def feature_major(module: GraphModule) -> GraphModule:
    """`module`, a graph of aten operations as `make_fx` records them, with its activations turned round.

    The very module is given back where nothing can be turned, or where something is changed in place that a view would
    no longer be a view of.
    """
    rewriting = _Rewriting(module.graph)
    if not rewriting.run():
        return module
    rewriting.new.lint()
    return GraphModule(module, rewriting.new)


class _Impossible(Exception):
    """This graph cannot be turned."""


class _Rewriting:
    """Copies a graph node by node. Of each old node there is the new one that is equal (`plain`), or the one that is
    its transpose in the last two axes (`turned`); the other form is a view of it, made when it is asked for.
    """

    def __init__(self, old: Graph) -> None:
        self.old, self.new = old, Graph(old.owning_module)
        self.new._codegen = old._codegen  # how arguments are unpacked and results packed
        self._plain: dict[Node, Node] = {}
        self._turned: dict[Node, Node] = {}
        self._natively_turned: set[Node] = set()

    def run(self) -> bool:
        """Whether anything was turned."""
        try:
            for node in self.old.nodes:
                self._copy(node)
        except _Impossible:
            return False
        return bool(self._natively_turned)

    def _copy(self, node: Node) -> None:
        if node.op == "call_function":
            if _keeps_everything(node):
                self._alias(node, _args(node)[0])
                return
            rule = _RULES.get(node.target) or (_pointwise if _is_pointwise(node.target) else None)
            if rule is not None and rule(self, node):
                return
            if _follows_memory(node.target) and any(map(self.is_turned, node.all_input_nodes)):
                raise _Impossible
            if node.target in _RESHAPES and self.is_turned(_args(node)[0]):
                self._reshape(node)
                return
        self._plain[node] = self.new.node_copy(node, self.plain)

    def _reshape(self, node: Node) -> None:
        """A view of what has been turned is a copy: no matter, unless one of the two is changed in place later."""
        if any(_changes_in_place(other) and not _is_given(_args(other)[0]) for other in self.old.nodes):
            raise _Impossible
        self._plain[node] = self.call(_aten.reshape.default, self.plain(_args(node)[0]), _args(node)[1])

    def _alias(self, node: Node, source: Any) -> None:
        for form in (self._plain, self._turned):
            if source in form:
                form[node] = form[source]
        if source in self._natively_turned:
            self._natively_turned.add(node)

    def set(self, node: Node, *, plain: Node | None = None, turned: Node | None = None) -> bool:
        """What an old node has become: the same, or turned round. True, as a rule says that it has served."""
        if plain is not None:
            self._plain[node] = plain
        if turned is not None:
            self._turned[node] = turned
            self._natively_turned.add(node)
        return True

    def call(self, target: Any, *args: Any, **kwargs: Any) -> Node:
        """A new operation."""
        return self.new.call_function(target, args, kwargs)

    def is_turned(self, node: Any) -> bool:
        """Whether the node lies feature by feature in memory."""
        return node in self._natively_turned

    def plain(self, node: Any) -> Node:
        """The new node that is equal to an old one."""
        if node not in self._plain:
            self._plain[node] = self.call(_aten.transpose.int, self._turned[node], 1, 2)
        return self._plain[node]

    def turned(self, node: Any) -> Node:
        """The new node that is an old one's transpose in its last two axes."""
        if node not in self._turned:
            self._turned[node] = (
                self.plain(_args(node)[0])
                if _is_transpose(node)
                else self.call(_aten.transpose.int, self._plain[node], 1, 2)
            )
        return self._turned[node]

    def turned_operand(self, value: Any) -> Any:
        """What is broadcast against a turned tensor, turned along; numbers stay as they are."""
        if not isinstance(value, Node):
            return value
        axes = len(_shape(value))
        if axes == 3:
            return self.turned(value)
        if axes == 0:
            return self.plain(value)
        if axes == 1:
            return self.call(_aten.unsqueeze.default, self.plain(value), 1)
        return self.call(_aten.transpose.int, self.plain(value), 0, 1)


Rule = Callable[[_Rewriting, Node], bool]  # whether it has served


def _product(graph: _Rewriting, node: Node) -> bool:
    """(members, m, n) = left @ right: turned where the left is, or where the left is shared by all members."""
    left, right = _args(node)
    members, rows, columns = _shape(node)
    shared_left, shared_right = _shared(left), _shared(right)
    if shared_left is not None and shared_right is None:
        weights = graph.call(_aten.reshape.default, graph.turned(right), [members * columns, -1])
        batch = graph.call(_aten.t.default, graph.plain(shared_left))
        wide = graph.call(_aten.mm.default, weights, batch)
        return graph.set(node, turned=graph.call(_aten.view.default, wide, [members, columns, rows]))
    if shared_right is not None and shared_left is None and not graph.is_turned(left):
        tall = graph.call(_aten.reshape.default, graph.plain(left), [members * rows, -1])
        wide = graph.call(_aten.mm.default, tall, graph.plain(shared_right))
        return graph.set(node, plain=graph.call(_aten.view.default, wide, [members, rows, columns]))
    if graph.is_turned(left):
        return graph.set(node, turned=graph.call(_aten.bmm.default, graph.turned(right), graph.turned(left)))
    return False


def _pointwise(graph: _Rewriting, node: Node) -> bool:
    if len(_shape(node)) != 3 or not any(graph.is_turned(a) for a in node.all_input_nodes):
        return False
    if _changes_in_place(node) and not graph.is_turned(_args(node)[0]):
        return False
    args = tuple(graph.turned_operand(value) for value in _args(node))
    kwargs = {key: graph.turned_operand(value) for key, value in node.kwargs.items()}
    return graph.set(node, turned=graph.call(node.target, *args, **kwargs))


def _along_an_axis(place: int) -> Rule:
    """The rule for an operation along one axis, which is its argument number `place`."""

    def rule(graph: _Rewriting, node: Node) -> bool:
        if len(_shape(node)) != 3 or not any(graph.is_turned(a) for a in node.all_input_nodes):
            return False
        args = [graph.turned_operand(value) for value in _args(node)]
        args[place] = _SWAPPED[_args(node)[place]]
        return graph.set(node, turned=graph.call(node.target, *args, **node.kwargs))

    return rule


def _reduction(graph: _Rewriting, node: Node) -> bool:
    """Of two axes one is left, or an axis of 1 beside it: the same either way round."""
    source, axes, *rest = _args(node)
    if not graph.is_turned(source) or not isinstance(axes, Sequence):
        return False
    swapped = [_SWAPPED[axis] for axis in axes]
    if not {1, 2} & set(swapped):
        return False
    reduced = graph.call(node.target, graph.turned(source), swapped, *rest, **node.kwargs)
    keeps = bool(rest and rest[0])
    return graph.set(node, plain=graph.call(_aten.transpose.int, reduced, 1, 2) if keeps else reduced)


def _squeeze(graph: _Rewriting, node: Node) -> bool:
    source, axes = _args(node)
    if not graph.is_turned(source) or not {1, 2, -1, -2} & set(axes):
        return False
    swapped = [_SWAPPED[axis] for axis in axes]
    return graph.set(node, plain=graph.call(node.target, graph.turned(source), swapped))


def _transpose(graph: _Rewriting, node: Node) -> bool:
    """Of what has been turned it is there already; twice is not at all."""
    source = _args(node)[0]
    if not _is_transpose(node):
        return False
    if graph.is_turned(source):
        return graph.set(node, plain=graph.turned(source))
    return _is_transpose(source) and graph.set(node, plain=graph.plain(_args(source)[0]))


def _shared(node: Node) -> Node | None:
    """The matrix that is repeated for every member, where `node` is nothing else."""
    while node.op == "call_function" and _keeps_everything(node):
        node = _args(node)[0]
    repeated: Node | None = _args(node)[0] if node.target == _aten.expand.default else None
    return repeated if repeated is not None and len(_shape(repeated)) == 2 else None


def _args(node: Node) -> tuple[Any, ...]:
    return node.args


def _keeps_everything(node: Node) -> bool:
    """A view of the same shape, or a product with 1."""
    source = _args(node)[0] if _args(node) else None
    if not isinstance(source, Node) or _shape(source) != _shape(node):
        return False
    if node.target in _VIEWS:
        return True
    return node.target == _aten.mul.Scalar and _args(node)[1] == 1 and _dtype(source) == _dtype(node)


def _is_transpose(node: Node) -> bool:
    return (
        node.target == _aten.transpose.int
        and len(_shape(node)) == 3
        and {axis % 3 for axis in _args(node)[1:]} == {1, 2}
    )


def _is_pointwise(target: Any) -> bool:
    return torch.Tag.pointwise in getattr(target, "tags", ()) and not _follows_memory(target)


def _follows_memory(target: Any) -> bool:
    """Whether random numbers are drawn, or will be, in the order in which a tensor lies in memory."""
    return target == _aten.empty_like.default or torch.Tag.nondeterministic_seeded in getattr(
        target, "tags", ()
    )


def _changes_in_place(node: Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    return schema is not None and schema.is_mutable


def _is_given(node: Any) -> bool:
    """An input of the graph, or a view of one."""
    while node.op == "call_function" and _is_view(node.target):
        node = _args(node)[0]
    return bool(node.op == "placeholder")


def _is_view(target: Any) -> bool:
    schema = getattr(target, "_schema", None)
    return schema is not None and any(
        a.alias_info is not None and not a.alias_info.is_write for a in schema.arguments
    )


def _shape(node: Node) -> tuple[int, ...]:
    value: Any = node.meta.get("val", node.meta.get("tensor_meta"))
    return tuple(value.shape) if hasattr(value, "shape") else ()


def _dtype(node: Node) -> Any:
    value = node.meta.get("val", node.meta.get("tensor_meta"))
    return getattr(value, "dtype", None)


_RULES: dict[Any, Rule] = {
    _aten.bmm.default: _product,
    _aten.transpose.int: _transpose,
    _aten.sum.dim_IntList: _reduction,
    _aten.mean.dim: _reduction,
    _aten.amax.default: _reduction,
    _aten.squeeze.dims: _squeeze,
    _aten.clone.default: _pointwise,
    _aten._to_copy.default: _pointwise,
    _aten.zeros_like.default: _pointwise,
    _aten.ones_like.default: _pointwise,
    _aten.threshold_backward.default: _pointwise,
    _aten._log_softmax.default: _along_an_axis(1),
    _aten._softmax.default: _along_an_axis(1),
    _aten._log_softmax_backward_data.default: _along_an_axis(2),
    _aten._softmax_backward_data.default: _along_an_axis(2),
    _aten.gather.default: _along_an_axis(1),
    _aten.scatter.value: _along_an_axis(1),
}
