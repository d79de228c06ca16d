"""Writing a figure to disk: whole or not at all, the same bytes for the same figure."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrkit.errors import LrkitError, did_you_mean
from lrkit.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FIGURE_SUFFIXES", "check_figure_path", "save_figure"]

# Dates and version numbers are left out, so that a figure made twice is one file.
_METADATA: dict[str, dict[str, Any]] = {
    ".pdf": {"CreationDate": None, "Creator": "lrkit", "Producer": None},
    ".png": {"Software": None},
    ".svg": {"Date": None, "Creator": "lrkit"},
}
FIGURE_SUFFIXES = tuple(_METADATA)


def check_figure_path(path: str | os.PathLike[str]) -> Path:
    """`path`, if a figure can be written there as far as its name and folder tell.

    Raises LrkitError for a suffix other than .png, .svg and .pdf, and for a folder that does not exist; to be
    asked before the minutes that lead to the figure, not after.
    """
    target = Path(path)
    if target.suffix.lower() not in _METADATA:
        what = f"no figure format {target.suffix!r}" if target.suffix else "no suffix"
        near = (
            did_you_mean(target.suffix.lower(), FIGURE_SUFFIXES)
            if target.suffix
            else ": use .png, .svg or .pdf"
        )
        raise LrkitError(f"cannot save the figure {str(target)!r}: {what}{near}")
    if not target.parent.is_dir():
        raise LrkitError(
            f"cannot save the figure {str(target)!r}: no folder {str(target.parent)!r}; make it first"
        )
    return target


def save_figure(figure: Figure, path: str | os.PathLike[str], *, dpi: float = 150) -> Path:
    """Write `figure` as PNG, SVG or PDF, by the suffix of `path`, and return the path.

    The file appears whole or not at all. `dpi` matters to PNG only: 150 is sharp on a screen at 100 %, print
    asks for 300. Fonts are embedded in PDF as TrueType, which journals require. Raises LrkitError for another
    suffix, a missing folder, or when the system refuses the write (it says why).
    """
    import matplotlib

    target = check_figure_path(path)
    suffix = target.suffix.lower()
    drawn = io.BytesIO()
    # The salt makes the identifiers inside an SVG depend on the drawing alone.
    with matplotlib.rc_context({"svg.hashsalt": "lrkit", "pdf.fonttype": 42, "savefig.bbox": None}):
        figure.savefig(drawn, format=suffix[1:], dpi=dpi, metadata=_METADATA[suffix], facecolor="white")
    try:
        atomic_write(target, drawn.getvalue())
    except OSError as error:
        raise LrkitError(f"cannot save the figure {str(target)!r}: {error.strerror or error}") from error
    return target
