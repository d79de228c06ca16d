"""`lrkit plot`: schedules drawn in the terminal, and as a figure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from lrkit.cli import options

if TYPE_CHECKING:
    from lrkit.schedule import Curve
    from lrkit.spec import Spec

__all__ = ["command"]

_MOST_LETTERS = 300  # of a peer's schedule as a spec: a table has thousands
_MOST_STEPS = 10_000_000  # a curve is drawn from all of its steps, so that no spike is lost


@click.command("plot")
@click.argument("specs", metavar="SPEC...", nargs=-1, required=True)
@click.option(
    "--steps",
    type=click.IntRange(1, _MOST_STEPS),
    default=1000,
    show_default=True,
    metavar="N",
    help="Length in updates.",
)
@click.option(
    "--steps-per-epoch", type=click.IntRange(min=1), metavar="N", help="For specs that count epochs."
)
@click.option("--batch-size", type=click.IntRange(min=1), metavar="N", help="For specs that count samples.")
@click.option(
    "--tokens-per-step", type=click.IntRange(min=1), metavar="N", help="For specs that count tokens."
)
@click.option(
    "--base-lr",
    type=click.FloatRange(min=0, min_open=True),
    metavar="LR",
    help="Draw rates, not factors; needed by absolute(...).",
)
@click.option("--log", "log", is_flag=True, help="Logarithmic vertical axis.")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="A .png, .svg or .pdf.",
)
@options.json_option
@options.debug_option
def command(
    *,
    specs: tuple[str, ...],
    steps: int,
    steps_per_epoch: int | None,
    batch_size: int | None,
    tokens_per_step: int | None,
    base_lr: float | None,
    log: bool,
    out: Path | None,
    as_json: bool,
) -> None:
    """Draw each SPEC, such as "warmup(5%) >> cosine(to=0)": the very numbers that a training would use.

    A peer's schedule goes by its own words: "transformers:linear(num_warmup_steps=50, num_training_steps=1000)".

    Of "warmup(5%) >> hold() & plateau(patience=5)" the schedule is drawn; what plateau does is up to the metric.
    """
    from lrkit.cli.screen import print_json
    from lrkit.convert import is_dialect, parse_spec
    from lrkit.duration import Horizon
    from lrkit.plot import check_figure_path, save_figure, schedule_figure

    horizon = Horizon(
        steps, steps_per_epoch=steps_per_epoch, batch_size=batch_size, tokens_per_step=tokens_per_step
    )
    given = [parse_spec(spec) for spec in specs]
    curves = [spec.schedule.over(horizon, base_lr=base_lr) for spec in given]
    labels = [
        text if is_dialect(text) else str(spec.schedule) for text, spec in zip(specs, given, strict=True)
    ]
    if out is not None:
        check_figure_path(out)
        scale: Literal["log", "linear"] = "log" if log else "linear"
        figure = schedule_figure(curves, labels=labels, base_lr=base_lr, scale=scale)
        save_figure(figure, out)
    if as_json:
        drawn = [_data(spec, curve, base_lr) for spec, curve in zip(given, curves, strict=True)]
        print_json({"schedules": drawn, "steps": steps, "out": None if out is None else str(out)})
    else:
        _show(given, curves, labels, base_lr=base_lr, log=log, out=out)


def _data(spec: Spec, curve: Curve, base_lr: float | None) -> dict[str, Any]:
    scale = 1.0 if base_lr is None else base_lr
    phases = [
        {
            "text": text,
            "start": start,
            "stop": stop,
            "first": curve(start) * scale,
            "last": curve(stop - 1) * scale,
        }
        for start, stop, text in curve.phases
    ]
    control = [str(controller) for controller in spec.control]
    return {"schedule": str(curve.schedule), "control": control, "base_lr": base_lr, "phases": phases}


def _show(
    specs: list[Spec],
    curves: list[Curve],
    labels: list[str],
    *,
    base_lr: float | None,
    log: bool,
    out: Path | None,
) -> None:
    import numpy as np
    from rich.markup import escape

    from lrkit.cli.screen import out_console
    from lrkit.plot import terminal_plot

    console = out_console()
    for spec, curve, label in zip(specs, curves, labels, strict=True):
        values = curve.chunk(0, curve.steps) * (1.0 if base_lr is None else base_lr)
        console.print(f"\n  [bold]{escape(label)}[/]", soft_wrap=True)
        text = str(curve.schedule)
        if text != label:
            shown = text if len(text) <= _MOST_LETTERS else f"{text[:_MOST_LETTERS]}..."
            console.print(f"  [dim]{escape(shown)}[/]", soft_wrap=True)
        console.print()
        width = max(16, min(64, console.width - 16))
        plot = terminal_plot(np.arange(curve.steps), values, width=width, height=9, log_y=log)
        console.print("\n".join(f"  {line}" for line in plot.splitlines()), markup=False, no_wrap=True)
        for controller in spec.control:
            note = f"not drawn: {controller} multiplies this by what the metric calls for"
            console.print(f"  [dim]{escape(note)}[/]", soft_wrap=True)
    if out is not None:
        console.print(f"\n  [dim]in[/] [bold]{escape(str(out))}[/]", soft_wrap=True)
