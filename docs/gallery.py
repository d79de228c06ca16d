"""Makes docs/gallery.md and its pictures from the catalog: `python docs/gallery.py`. Nobody edits them by hand."""

from __future__ import annotations

import io
import re
import warnings
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from lrkit.duration import Duration
from lrkit.plot import style
from lrkit.schedule import Curve
from lrkit.schedule.printing import value_text
from lrkit.spec import CATALOG, Entry, parse
from lrkit.spec.recipes import RECIPES

DOCS: Final = Path(__file__).parent
PAGE: Final = DOCS / "gallery.md"
PICTURES: Final = DOCS / "pictures" / "gallery"

# What is drawn beside the example, to show what an argument does.
_BESIDE: Final[dict[str, tuple[str, ...]]] = {
    "warmup": (
        "warmup(20%, kind=cosine) >> cosine(to=0)",
        "warmup(20%, kind=exponential, start=0.01) >> cosine(to=0)",
    ),
    "hold": ("warmup(5%) >> hold(45%) >> hold(30%, level=0.5) >> hold(level=0.1)",),
    "linear": ("linear(to=0.3)", "linear(30%, start=0.2, to=1) >> linear(to=0)"),
    "cosine": ("cosine(to=0.2)", "cosine(to=0, k=2)", "cosine(to=0, exponent=2)", "cosine(to=0, cycles=1.5)"),
    "cosine_restarts": ("cosine_restarts(cycles=2.5, to=0.2)",),
    "exponential": ("exponential(to=0.1)", "exponential(rate=0.5, every=10%)"),
    "shifted_exponential": (
        "hold(80%) >> shifted_exponential(ratio=0.5)",
        "hold(80%) >> shifted_exponential(ratio=0.001)",
    ),
    "polynomial": ("polynomial(power=2)", "polynomial(power=0.5)", "polynomial(power=2, k=2)"),
    "one_minus_sqrt": ("hold(50%) >> one_minus_sqrt(to=0.2)",),
    "rex": ("rex(to=0.2)", "linear(to=0)"),
    "tanh": ("tanh(lower=-3, upper=3)", "tanh(to=0.2)"),
    "hyperbolic": (
        "hyperbolic(bound=120%)",
        "hyperbolic(bound=500%)",
        "hyperbolic(bound=250%, to=0.01, kind=exponential)",
    ),
    "inverse_sqrt": ("inverse_sqrt(20%)", "inverse_sqrt(5%, to=0.5)"),
    "power": ("power(2%, exponent=1)", "power(2%, exponent=0.25)"),
    "inverse_time": ("inverse_time(3, every=100%)", "inverse_time(1, every=10%, form=stair)"),
    "staircase": ("staircase(10%, factor=0.7)",),
    "milestones": ("milestones([20%, 40%, 80%], factor=[0.5, 0.5, 0.2])",),
    "table": ("table([1, 0.6, 0.8, 0.3, 0.1], every=20%)",),
    "one_cycle": ("one_cycle(anneal=linear)", "one_cycle(phases=3, rise=0.4)"),
    "one_cycle_momentum": ("one_cycle_momentum(low=0.8, anneal=linear)",),
    "cyclic": ("cyclic(10%, low=0.1, cycle_decay=0.5)", "cyclic(5%, down=20%, low=0.1, step_decay=0.999)"),
    "restarts": ("restarts(20%, decay=0.6, limit=3, to=0.05)", "restarts(25%, k=3)"),
    "wsd": ("wsd(shape=linear)", "wsd(shape=cosine)", "wsd(shape=exponential)", "wsd(decay=40%, to=0.2)"),
    "trapezoid": ("trapezoid(40%)",),
    "infinite": ("infinite()", "infinite(shape=inverse_sqrt, constant=0.4)"),
    "linear_to_zero": ("linear_to_zero(1%)",),
    "noam": ("noam(16)",),
    "flat_cosine": ("flat_cosine(50%, to=0.1)",),
    "slanted_triangle": ("slanted_triangle(30%, ratio=4)",),
    "natural_exponential": ("natural_exponential(2, every=100%)",),
    "ramp": ("ramp(1e-2)", "ramp(1e-4, kind=linear)"),
}
_STEPS: Final = {"noam": 100}  # the only one whose length is in steps
_COLOURS: Final = (style.ORANGE, style.GREEN, style.PURPLE, style.SKY)

_HEAD: Final = """\
# Gallery

Every schedule of the catalog: what it looks like, its formula, where it comes from, when to use it and when not.
`lrkit plot` draws any of them, `lrkit schedules NAME` prints what is said here, and [Schedules](schedules.md) tells how
they are joined. In the formulas `i` is the step of a phase, `n` its length in steps, `p = i / n`, `v` the level at its
start and `L` its `to`; an arrow is a straight rise. The example is the thick line. This page is made from the catalog
by `python docs/gallery.py`.

```python
import numpy

from lrkit import parse
```
"""


def picture_path(entry: Entry) -> Path:
    """Where the picture of an entry is."""
    return PICTURES / f"{entry.name}.png"


def picture_specs(entry: Entry) -> tuple[str, ...]:
    """What its picture shows, the example first."""
    return (entry.example, *_BESIDE[entry.name])


def picture_description(entry: Entry) -> str:
    """What the metadata of its picture say, so that an old picture gives itself away."""
    return "; ".join((*picture_specs(entry), entry.formula))


def page() -> str:
    """The whole page."""
    shapes = [entry for entry in CATALOG if entry not in RECIPES]
    parts = [_HEAD, f"Shapes: {_links(shapes)}.\n", f"Recipes, made of shapes: {_links(RECIPES)}.\n"]
    parts += ["## Shapes\n", *map(_section, shapes), "## Recipes\n", *map(_section, RECIPES)]
    return "\n".join(parts)


def draw(entry: Entry) -> None:
    """Make the picture of an entry, which carries in its metadata the specs that it shows."""
    figure = style.new_figure(7.4, 2.2)
    figure.set_layout_engine(None)
    ax = figure.add_axes((0.075, 0.125, 0.58, 0.69))  # the same in every picture, one below the other
    style.dress(ax, ylabel="factor")
    style.step_axis(ax, _steps(entry))
    low, high = 0.0, 1.0
    for number, spec in reversed(list(enumerate(picture_specs(entry)))):
        curve = _curve(spec, _steps(entry))
        values = curve.chunk(0, curve.steps)
        low, high = min(low, float(values.min())), max(high, float(values.max()))
        colour, width = (style.BLUE, 2.0) if number == 0 else (_COLOURS[number - 1], 1.1)
        ax.plot(
            np.arange(curve.steps),
            values,
            color=colour,
            linewidth=width,
            label=spec,
            zorder=4 - 0.1 * number,
            drawstyle="steps-post" if entry.name in ("staircase", "milestones", "hold") else "default",
        )
    if entry.name == "ramp":
        style.log_rate_axis(ax, 7e-5, 1.4, which="y", most=6)
    else:
        ax.set_ylim(low - 0.03, high + 0.06)
    ax.set_title(
        f"${_mathtext(entry.formula)}$", loc="left", fontsize=13, math_fontfamily="cm", color=style.INK, pad=8
    )
    handles, labels = ax.get_legend_handles_labels()
    figure.legend(
        handles[::-1],
        [_wrapped(label) for label in labels[::-1]],
        loc="upper left",
        bbox_to_anchor=(0.665, 0.9),
        fontsize=style.LABEL_SIZE - 0.5,
        labelcolor=style.INK,
        frameon=False,
        handlelength=1.4,
        handletextpad=0.5,
        labelspacing=0.6,
    )
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=160, facecolor="white")
    said = PngInfo()
    said.add_text("Description", picture_description(entry))
    # Few colours are enough for a few lines, and make a third of the bytes.
    Image.open(drawn).convert("RGB").quantize(48).save(picture_path(entry), optimize=True, pnginfo=said)


def _section(entry: Entry) -> str:
    known = f" Elsewhere: {', '.join(f'`{name}`' for name in entry.also)}.\n" if entry.also else ""
    built = f"It is `{parse(entry.example)}`.\n\n" if entry in RECIPES else ""
    return f"""\
### {entry.name}

![{entry.name}: {entry.example}](pictures/gallery/{entry.name}.png)

`{entry.example}`

{built}**Use it when** {entry.use}. **Avoid it when** {entry.avoid}.

Source: {_linked(entry.source)}.{known or chr(10)}
{_arguments(entry)}

{_example(entry)}
"""


def _arguments(entry: Entry) -> str:
    rows = ["| argument | by default | may be |", "| --- | --- | --- |"]
    for p in entry.parameters:
        default = p.default if isinstance(p.default, (Duration, str, int, type(None))) else float(p.default)  # type: ignore[arg-type]
        shown = (
            "" if p.required else "left out" if default is None else f"`{value_text(default, python=False)}`"
        )
        rows.append(f"| `{p.name}` | {shown or 'to be given'} | {p.range} |")
    return "\n".join(rows)


def _example(entry: Entry) -> str:
    """The example as Python, with the factors that it has."""
    steps = _steps(entry)
    asked = [0, steps // 20, steps // 4, steps // 2, 3 * steps // 4, steps - 1]
    schedule = parse(entry.example)
    names = sorted(set(re.findall(r"\b([a-z_]+)\(", repr(schedule))))
    factors = ", ".join(f"{factor:.4g}" for factor in _curve(entry.example, steps)(np.array(asked)))
    python = repr(schedule).replace("'", '"')
    return f"""\
```python
from lrkit import {", ".join(names)}

schedule = {python}
assert schedule == parse("{entry.example}")
factors = schedule.over({steps})([{", ".join(map(str, asked))}])
assert numpy.allclose(factors, [{factors}], rtol=1e-3)
```
"""


def _curve(spec: str, steps: int) -> Curve:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return parse(spec).over(steps)


def _steps(entry: Entry) -> int:
    return _STEPS.get(entry.name, 1000)


def _links(entries: tuple[Entry, ...] | list[Entry]) -> str:
    return ", ".join(f"[{entry.name}](#{entry.name})" for entry in entries)


def _linked(source: str) -> str:
    source = re.sub(r"arXiv:(\d{4}\.\d{5})", r"[arXiv:\1](https://arxiv.org/abs/\1)", source)
    source = re.sub(r"doi:(10\.[^\s;,]+)", r"[doi:\1](https://doi.org/\1)", source)
    return re.sub(r"(?<!\()(https://(?!arxiv|doi)\S+)", r"<\1>", source)


def _wrapped(spec: str, most: int = 34) -> str:
    """A spec on as many lines as it needs, broken before a `>>` or between arguments."""
    lines = [""]
    for word in re.split(r"(?<=,) | (?=>>)", spec):
        if lines[-1] and len(lines[-1]) + len(word) >= most:
            lines.append(f"    {word}")
        else:
            lines[-1] += f" {word}" if lines[-1] else word
    return "\n".join(lines)


def _mathtext(tex: str) -> str:
    """A formula as matplotlib's own typesetting reads it."""
    tex = (
        tex.replace(r"\tfrac", r"\frac").replace(r"\bmod", r"\;\mathrm{mod}\;").replace(r"\text", r"\mathrm")
    )
    tex = re.sub(r"\\frac(\d)(\d)", r"\\frac{\1}{\2}", tex)
    tex = re.sub(r"\\le\b", r"\\leq", tex)
    return re.sub(r"\\mathrm\{([^}]*)\}", lambda m: rf"\mathrm{{{m[1].replace(' ', chr(92) + ' ')}}}", tex)


if __name__ == "__main__":
    PICTURES.mkdir(parents=True, exist_ok=True)
    for each in CATALOG:
        draw(each)
    PAGE.write_text(page())
