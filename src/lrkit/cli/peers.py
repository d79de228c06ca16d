"""What `lrkit schedules` shows of peers: who they are, the schedules of one, or one schedule in full."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from lrkit.errors import SpecError, did_you_mean

__all__ = ["is_peer_name", "show_peers"]


def is_peer_name(name: str) -> bool:
    """Whether it is a peer, or "peer:name" (right or wrong)."""
    from lrkit.convert import DIALECTS

    return ":" in name or name in DIALECTS


def show_peers(name: str | None, *, as_json: bool) -> None:
    """All peers, one, or one of its schedules; SpecError with the nearest name for what there is not."""
    from lrkit.cli.screen import print_json
    from lrkit.convert import DIALECTS

    if name is None:
        if as_json:
            print_json({"peers": {peer: sorted(entries) for peer, entries in DIALECTS.items()}})
        else:
            _list_peers(DIALECTS)
        return
    peer, _, entry = (part.strip() for part in name.partition(":"))
    if peer not in DIALECTS:
        raise SpecError(f"unknown peer {peer!r}{did_you_mean(peer, DIALECTS)}")
    entries = DIALECTS[peer]
    if entry and entry not in entries:
        raise SpecError(f"{peer} has no schedule {entry!r}{did_you_mean(entry, entries)}")
    shown = {entry: entries[entry]} if entry else dict(entries)
    if as_json:
        print_json({"peer": peer, "schedules": [_data(key, build) for key, build in shown.items()]})
    elif entry:
        _explain(f"{peer}:{entry}", entries[entry])
    else:
        _list_schedules(peer, shown)


def _data(name: str, build: Callable[..., object]) -> dict[str, Any]:
    return {"name": name, "arguments": _arguments(build), "what": inspect.getdoc(build) or ""}


def _arguments(build: Callable[..., object]) -> str:
    """The peer's parameters and defaults, without Python's annotations."""
    signature = inspect.signature(build)
    bare = [each.replace(annotation=inspect.Parameter.empty) for each in signature.parameters.values()]
    return str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty)).replace(
        "(*, ", "("
    )


def _list_peers(peers: Mapping[str, Mapping[str, object]]) -> None:
    from lrkit.cli.screen import facts, out_console

    console = out_console()
    console.print(facts([(peer, ", ".join(sorted(entries))) for peer, entries in peers.items()]))
    console.print("\n  With their parameters: lrkit schedules transformers", style="dim", markup=False)


def _list_schedules(peer: str, entries: Mapping[str, Callable[..., object]]) -> None:
    from rich.markup import escape

    from lrkit.cli.screen import out_console

    console = out_console()
    for name, build in entries.items():
        first = (inspect.getdoc(build) or "").partition("\n")[0]
        console.print(f"\n  [bold]{peer}:{name}[/]{escape(_arguments(build))}", soft_wrap=True)
        console.print(f"  [dim]{escape(first)}[/]", soft_wrap=True)


def _explain(name: str, build: Callable[..., object]) -> None:
    from rich.markup import escape

    from lrkit.cli.screen import out_console

    console = out_console()
    console.print(f"\n  [bold]{name}[/]{escape(_arguments(build))}\n", soft_wrap=True)
    for line in (inspect.getdoc(build) or "").splitlines():
        console.print(f"  {line}", markup=False, soft_wrap=True)
