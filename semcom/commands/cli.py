"""What the scripts call: flags are parsed, settings made of them, and the verb's function called; exit codes and
``--debug``.

Nothing here imports torch before the flags are known to be good.
"""

import sys
import traceback
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from semcom.base import console, distributed
from semcom.base.errors import ChecksFailed, InterruptedRun, SemcomError, escape
from semcom.base.flags import settings_of
from semcom.commands import parsers
from semcom.commands.analyse_settings import AnalysisSettings
from semcom.commands.distil_settings import DistilSettings

if TYPE_CHECKING:
    from semcom.commands.distil import Outcome

BAD_INPUT, FAILED, INTERRUPTED = 2, 1, 130


def run(verb: Callable[[Sequence[str]], object], argv: Sequence[str] | None) -> int:
    """Call ``verb`` with the arguments and turn what goes wrong into a line on stderr and an exit code."""
    argv = sys.argv[1:] if argv is None else list(argv)
    for stream in (sys.stdout, sys.stderr):
        # A console that knows fewer characters than the corpus shows their numbers instead.
        stream.reconfigure(errors="backslashreplace")
    console.speak()
    failure: BaseException
    lost = False
    try:
        verb(argv)
        distributed.leave()
        return 0
    except SemcomError as error:
        failure, code, message = error, BAD_INPUT, f"error: {error}"
    except ChecksFailed as finding:
        failure, code, message = finding, FAILED, str(finding)
    except InterruptedRun as stop:
        failure, code, message = stop, INTERRUPTED, str(stop)
    except KeyboardInterrupt as stop:
        failure, code, message = stop, INTERRUPTED, "interrupted; what was finished is kept"
    except BrokenPipeError:
        # The reader of our output has gone (| head): nobody is left to tell.
        sys.stderr.close()
        return FAILED
    except Exception as error:
        failure = error
        if lost := distributed.lost_another(error):
            code, message = (
                FAILED,
                "error: another process of this run ended early; what it says stands above or on its machine",
            )
        elif _out_of_memory(error):
            code, message = (
                BAD_INPUT,
                "error: out of memory; give a smaller --batch-size (or --eval-batch-size)",
            )
        else:
            code, message = (
                FAILED,
                (
                    f"error: {type(error).__name__}: {escape(str(error)[:300])}; this is a fault of the program, "
                    "please report it with what --debug shows"
                ),
            )
    if "--debug" in argv:
        traceback.print_exception(failure)
    if distributed.local_rank() == 0:
        print(" ".join(message.splitlines()), file=sys.stderr)
    else:
        # What all meet is told once a machine.
        if not (lost or isinstance(failure, (SemcomError, ChecksFailed, InterruptedRun, KeyboardInterrupt))):
            print(f"process {distributed.rank()}: " + " ".join(message.splitlines()), file=sys.stderr)
        distributed.let_another_tell(code)
    return code


def _out_of_memory(error: Exception) -> bool:
    return (
        isinstance(error, MemoryError)
        or "OutOfMemory" in type(error).__name__
        or any(sign in str(error) for sign in ("can't allocate memory", "out of memory", "not enough memory"))
    )


def distil(argv: Sequence[str]) -> "Outcome":
    """``python distillation.py``"""
    settings = settings_of(DistilSettings, parsers.distillation_parser().parse_args(argv))
    from semcom.commands.distil import distil

    return distil(settings)


def analyse(argv: Sequence[str]) -> object:
    """``python semantic_analysis.py``"""
    settings = settings_of(AnalysisSettings, parsers.analysis_parser().parse_args(argv))
    from semcom.commands.analyse import analyse

    return analyse(settings)


def package(argv: Sequence[str]) -> None:
    """``python -m semcom``"""
    flags = parsers.package_parser().parse_args(argv)
    verb = parsers.VERBS[flags.verb]
    if distributed.rank() == 0 or verb.together:
        verb.call(settings_of(verb.settings, flags))
