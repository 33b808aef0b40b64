"""One run of a sweep as a process of its own: an ordinary distillation that shares what others made, and ends
with the process that started it.

python -m semcom.commands.sweep_child FOLDER [flags of distillation.py]
"""

import os
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from semcom.base import signals
from semcom.base.flags import settings_of
from semcom.commands import cli
from semcom.commands.distil_settings import DistilSettings
from semcom.commands.parsers import distillation_parser


def main(argv: Sequence[str]) -> int:
    """argv: the folder of what the runs share, then what is typed after ``distillation.py``."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    return run(argv[0], argv[1:])


def run(shared: str, words: Sequence[str]) -> int:
    """The exit code of a distillation. shared: the folder of what the runs of a sweep share."""
    return cli.run(partial(_distil, shared), words)


def _end_with_parent() -> None:
    """Standard input is a pipe that nobody writes to: it ends when its other end, the parent's, is gone. Read
    by its number, as a stream would be locked when Python ends."""
    while os.read(0, 1):
        pass
    # A second signal would end the process at once: one that was asked already is saving its state.
    if not signals.asked_already():
        os.kill(os.getpid(), signal.SIGTERM)


def _distil(shared: str, words: Sequence[str]) -> None:
    settings = settings_of(DistilSettings, distillation_parser().parse_args(words))
    from semcom.commands.distil import distil

    distil(replace(settings, shared=shared))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
