"""The one list of shapes: parser, command line, docs and parity tests learn of a shape from here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from lrkit import schedule as s
from lrkit.schedule import Schedule

__all__ = ["CATALOG", "Entry"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A shape: how it is built and what a person needs to choose it.

    `name` is what a spec calls it, `build` the function behind it, whose parameters are the spec's arguments.
    `example` is a spec that parses and peaks at factor 1, `formula` is TeX, `source` the paper. `use` and
    `avoid` complete "use it when ..." and "avoid it when ...".
    """

    name: str
    build: Callable[..., Schedule]
    example: str
    formula: str
    source: str
    use: str
    avoid: str


CATALOG: Final[tuple[Entry, ...]] = (
    Entry(
        "warmup",
        s.warmup,
        example="warmup(5%) >> cosine(to=0)",
        formula=r"v + (1 - v)\,\tfrac{i+1}{n+1}",
        source="Goyal et al., arXiv:1706.02677",
        use="the first updates are the riskiest: almost always, and always with Adam or large batches",
        avoid="a trained model goes on at a small rate",
    ),
    Entry(
        "hold",
        s.hold,
        example="warmup(5%) >> hold(75%) >> one_minus_sqrt(to=0)",
        formula=r"v",
        source="Hu et al., arXiv:2404.06395 (the stable part of warmup-stable-decay)",
        use="the run may be extended, or several runs branch off one",
        avoid="the length is fixed and nothing follows: a run that ends at its peak gives its last gain away",
    ),
    Entry(
        "linear",
        s.linear,
        example="warmup(5%) >> linear(to=0)",
        formula=r"v + (L - v)\,p",
        source="Bergsma et al., arXiv:2502.15938",
        use="the horizon is known: as good as cosine or better, and simpler",
        avoid="the run may be extended",
    ),
    Entry(
        "cosine",
        s.cosine,
        example="warmup(5%) >> cosine(to=0)",
        formula=r"L + (v - L)\,\tfrac12(1 + \cos 2\pi c p)",
        source="Loshchilov and Hutter, arXiv:1608.03983",
        use="the horizon is known and results are to be compared with the literature",
        avoid="the run may be extended, or stopped early",
    ),
    Entry(
        "exponential",
        s.exponential,
        example="exponential(to=0.01)",
        formula=r"v\,(L/v)^p \text{ or } v\,r^{i/e}",
        source="Li and Arora, arXiv:1910.07454",
        use="the same relative change per step matters, as with weight decay and batch norm",
        avoid="the rate must end at 0",
    ),
    Entry(
        "polynomial",
        s.polynomial,
        example="polynomial(power=0.9, to=0)",
        formula=r"L + (v - L)(1 - p)^k",
        source="Chen et al., arXiv:1606.00915",
        use="a segmentation or detection recipe is followed",
        avoid="there is no recipe: linear has one knob less",
    ),
    Entry(
        "one_minus_sqrt",
        s.one_minus_sqrt,
        example="warmup(5%) >> hold(75%) >> one_minus_sqrt(to=0)",
        formula=r"L + (v - L)(1 - \sqrt{p})",
        source="Hagele et al., arXiv:2405.18392",
        use="a stable phase is to be cooled down",
        avoid="it is the whole run: the rate is large for too short a time",
    ),
    Entry(
        "inverse_sqrt",
        s.inverse_sqrt,
        example="warmup(5%) >> inverse_sqrt(5%)",
        formula=r"v\,\sqrt{s/(i+s)}",
        source="Zhai et al., arXiv:2106.04560; Vaswani et al., arXiv:1706.03762",
        use="the length of the run is unknown",
        avoid="the horizon is known: it never gets small enough at the end",
    ),
    Entry(
        "staircase",
        s.staircase,
        example="staircase(30%, factor=0.1)",
        formula=r"v\,g^{\lfloor i/e \rfloor}",
        source="He et al., arXiv:1512.03385",
        use="an older vision recipe is followed",
        avoid="there is no recipe: smooth decays need no choice of steps",
    ),
    Entry(
        "milestones",
        s.milestones,
        example="milestones([50%, 75%], factor=0.1)",
        formula=r"v \prod_{a_k \le i} g_k",
        source="He et al., arXiv:1512.03385",
        use="an older vision recipe is followed",
        avoid="there is no recipe: smooth decays need no choice of steps",
    ),
    Entry(
        "one_cycle",
        s.one_cycle,
        example="one_cycle()",
        formula=r"a \to 1 \to L",
        source="Smith and Topin, arXiv:1708.07120",
        use="a short run with a large peak rate and SGD with momentum, which takes the mirrored momentum",
        avoid="the run may be extended",
    ),
    Entry(
        "one_cycle_momentum",
        s.one_cycle_momentum,
        example="one_cycle_momentum()",
        formula=r"1 \to \mu \to 1",
        source="Smith, arXiv:1803.09820",
        use="the rate follows one_cycle: give it to the momentum or to beta1",
        avoid="it would drive the learning rate itself",
    ),
    Entry(
        "cyclic",
        s.cyclic,
        example="cyclic(10%, low=0.25)",
        formula=r"\ell + (1 - \ell)\,h\,d^c g^i",
        source="Smith, arXiv:1506.01186",
        use="good rates are known as a range only, or snapshots are taken at the lows",
        avoid="one good final model is all that is wanted",
    ),
    Entry(
        "restarts",
        s.restarts,
        example="restarts(10%, growth=2)",
        formula=r"L + (v d^c - L)\,\tfrac12(1 + \cos \pi p_c)",
        source="Loshchilov and Hutter, arXiv:1608.03983",
        use="a usable model is wanted at several points of a run of unknown length",
        avoid="the horizon is known: one decay ends lower",
    ),
)
