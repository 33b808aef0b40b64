"""A program without its pictures, which are most of a short run: ``undrawn.py SCRIPT ARGUMENT...``, or
``undrawn.py semcom ARGUMENT...`` for ``python -m semcom``."""

import runpy
import sys

from semcom.report import look


def main() -> None:
    look.pictures = lambda draw, place, *kinds: [b"" for _ in kinds]
    del sys.argv[0]
    program = sys.argv[0]
    if program == "semcom":
        runpy.run_module(program, run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(program, run_name="__main__")


if __name__ == "__main__":
    main()
