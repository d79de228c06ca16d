"""The catalog's second part: compositions of shapes that the literature has a name for."""

from __future__ import annotations

from typing import Final

from lrkit import schedule as s
from lrkit.spec.entry import LENGTH, LEVEL, Entry

__all__ = ["RECIPES"]

RECIPES: Final[tuple[Entry, ...]] = (
    Entry(
        "wsd",
        s.wsd,
        example="wsd(warmup=2%, decay=20%)",
        formula=r"v\uparrow 1,\; 1,\; \text{then } L + (1 - L)(1 - \sqrt{p})",
        source="Hu et al., arXiv:2404.06395; Hagele et al., arXiv:2405.18392",
        use="the run may be extended, or models of several lengths are wanted from one trunk",
        avoid="the length is fixed and short: a plain decay needs no choice of where to begin it",
        ranges=(
            ("warmup", "duration"),
            ("decay", LENGTH),
            ("shape", "one of one_minus_sqrt, linear, cosine, exponential"),
        ),
        also=("warmup_stable_decay", "WSDLRScheduler"),
    ),
    Entry(
        "trapezoid",
        s.trapezoid,
        example="trapezoid(20%)",
        formula=r"v\uparrow 1,\; 1,\; 1 + (L - 1)\,p",
        source="Xing et al., arXiv:1802.08770",
        use="a speed run: long straight ramps forgive a peak that is a little too high",
        avoid="the ramps should differ: wsd takes a length for each",
        ranges=(("ramp", LENGTH),),
        also=("trapezoidal",),
    ),
    Entry(
        "infinite",
        s.infinite,
        example="infinite(cooldown=24%, constant=0.55, decay=10%)",
        formula=r"v\uparrow 1,\; c + (1 - c)\,\tfrac12(1 + \cos \pi p),\; c,\; c\,(L/c)^p",
        source="Ibrahim et al., arXiv:2403.08763",
        use="training goes on whenever new data come, and each model is branched off by a short decay",
        avoid="there is one data set and one run",
        ranges=(
            ("warmup", "duration"),
            ("cooldown", LENGTH),
            ("constant", LEVEL),
            ("shape", "one of cosine, inverse_sqrt"),
            ("decay", "duration above 0, or no decay"),
        ),
        also=("cosine_infinite", "inverse_sqrt_infinite"),
    ),
    Entry(
        "linear_to_zero",
        s.linear_to_zero,
        example="linear_to_zero(10%)",
        formula=r"v\uparrow 1,\; 1 - p",
        source="Bergsma et al., arXiv:2502.15938",
        use="a language model is trained on many tokens per parameter, once, for a known time",
        avoid="training may go on: from a rate of 0 there is no way back but another warmup",
        ranges=(("warmup", "duration"),),
        also=("d2z", "get_linear_schedule_with_warmup"),
    ),
    Entry(
        "noam",
        s.noam,
        example="noam(4)",
        formula=r"\sqrt{w}\,\min\left(t^{-1/2},\, t\,w^{-3/2}\right),\; t = i + 1",
        source="Vaswani et al., arXiv:1706.03762",
        use="the Transformer paper is to be repeated to the digit",
        avoid="a relative length is wanted: warmup(5%) >> inverse_sqrt(5%) takes one",
        ranges=(("warmup", "whole number from 1"),),
        also=("NoamLR",),
    ),
    Entry(
        "flat_cosine",
        s.flat_cosine,
        example="flat_cosine(75%)",
        formula=r"1,\; L + (1 - L)\,\tfrac12(1 + \cos \pi p)",
        source="fastai, its fit_flat_cos, https://github.com/fastai/fastai",
        use="the optimizer needs no warmup, as RAdam or Ranger, and a large rate does most of the work",
        avoid="the optimizer is plain Adam, whose first updates want a warmup",
        ranges=(("flat", LENGTH),),
        also=("fit_flat_cos", "flat_cos"),
    ),
    Entry(
        "slanted_triangle",
        s.slanted_triangle,
        example="slanted_triangle(10%, ratio=32)",
        formula=r"\tfrac{1 + q\,(\rho - 1)}{\rho},\; q: 0 \to 1 \to 0",
        source="Howard and Ruder, arXiv:1801.06146",
        use="a pretrained model is fine-tuned for a few epochs",
        avoid="training starts from scratch: linear_to_zero ends lower",
        ranges=(("rise", LENGTH), ("ratio", "number from 1")),
        also=("STLR", "SlantedTriangular"),
    ),
    Entry(
        "natural_exponential",
        s.natural_exponential,
        example="natural_exponential(5, every=100%)",
        formula=r"v\,e^{-k i/e}",
        source="TensorFlow 1, its natural_exp_decay, https://github.com/tensorflow/tensorflow",
        use="a recipe gives the speed as an exponent",
        avoid="it does not: exponential(to=...) says where it ends",
        ranges=(("k", "number above 0, at most 700"),),
        also=("natural_exp_decay",),
    ),
    Entry(
        "ramp",
        s.ramp,
        example="ramp(1e-4)",
        formula=r"a^{1 - p} \text{, or } a + (1 - a)\,p",
        source="Smith, arXiv:1506.01186",
        use="another trainer is to run a range test: plot its loss against the rate",
        avoid="lrkit can run the test itself, with repeats and a verdict: find_lr",
        ranges=(("low", "level above 0, and 0 with kind=linear"), ("kind", "one of exponential, linear")),
        also=("LRRangeTest", "range_test"),
    ),
)
