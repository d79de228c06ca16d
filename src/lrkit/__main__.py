"""`python -m lrkit` is the command `lrkit`."""

from __future__ import annotations

from lrkit.cli import main

if __name__ == "__main__":
    main()
