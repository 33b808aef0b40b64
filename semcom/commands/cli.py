"""What the scripts call: flags are parsed, settings made of them, the verb's function called; exit codes and
``--debug``.

Nothing here imports torch before the flags are known to be good.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import shlex
import sys
import traceback
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from semcom.base import console, distributed, run_files, signals, streams
from semcom.base.errors import ChecksFailed, InterruptedRun, NothingToDo, SemcomError
from semcom.base.failures import FAILED, code_and_message
from semcom.base.flags import settings_of
from semcom.base.settings import Request
from semcom.base.varied_flags import values_of, variants
from semcom.channel.advice import advice
from semcom.commands import parsers
from semcom.commands.analyse_settings import AnalysisSettings
from semcom.commands.channels_met import channels_met
from semcom.commands.distil_settings import DistilSettings

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from semcom.commands.distil import Outcome

    Settings = TypeVar("Settings", bound=DataclassInstance)

log = logging.getLogger(__name__)

_DEBUG: ContextVar[bool] = ContextVar("debug", default=False)
"""Whether a run file asks for ``--debug``."""


def run(verb: Callable[[Sequence[str]], object], argv: Sequence[str] | None) -> int:
    """Call ``verb`` with the arguments and turn what goes wrong into a line on stderr and an exit code.

    argv: None in a program of its own, whose arguments they are; one of several processes ends here.
    """
    with signals.raised():
        if argv is not None:
            return _run(verb, list(argv))
        code = _run(verb, sys.argv[1:])
        distributed.end(code)
        return code


def _run(verb: Callable[[Sequence[str]], object], argv: Sequence[str]) -> int:
    _DEBUG.set(False)
    try:
        streams.prepare()
        with console.speaking(), console.libraries_heard(), console.gathered():
            code = _call(verb, argv)
            distributed.leave()
        # What standard output holds back: a full disk is to be told, not met when Python ends.
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # The reader of our output has gone (| head): nobody is left to tell.
        streams.give_up()
        return FAILED
    except (Exception, KeyboardInterrupt) as error:
        if "--debug" in argv or _DEBUG.get():
            traceback.print_exception(error)
        return _tell(error)


def _call(verb: Callable[[Sequence[str]], object], argv: Sequence[str]) -> int:
    try:
        verb(argv)
    except NothingToDo as found:
        log.info(str(found))
    except SystemExit as done:
        # Of --help and --version.
        return int(done.code or 0)
    return 0


def _tell(error: BaseException) -> int:
    """One line on stderr; the exit code."""
    code, line = code_and_message(error)
    # Nobody is left to tell where standard error is closed or full too.
    with contextlib.suppress(OSError):
        _tell_where_it_happened(error, code, line)
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        return code
    streams.give_up()
    return code


def _tell_where_it_happened(error: BaseException, code: int, line: str) -> None:
    if distributed.local_rank() == 0:
        print(line, file=sys.stderr)
        return
    # What all meet is told once a machine.
    all_meet = isinstance(error, (SemcomError, ChecksFailed, InterruptedRun, KeyboardInterrupt))
    if not all_meet and not distributed.lost_another(error):
        print(f"process {distributed.rank()}: {line}", file=sys.stderr)
    distributed.let_another_tell(code)


def _settings(
    kind: type[Settings], flags: argparse.Namespace, program: str, argv: Sequence[str]
) -> Settings | None:
    """What the flags ask for; None where ``--print-config`` asks to be shown it alone."""
    _DEBUG.set(flags.debug)
    _heed_quiet(flags)
    settings = settings_of(kind, flags)
    if flags.print_config:
        if distributed.rank() == 0:
            print(run_files.page(settings, program), end="")
        return None
    for line in advice(channels_met(settings)):
        log.warning(line)
    if "request" not in kind.__dataclass_fields__:
        return settings
    file, record = flags.record or ("", None)
    request = Request(shlex.join([*program.split(), *argv]), file, record)
    return replace(settings, request=request)


def _heed_quiet(flags: argparse.Namespace) -> None:
    if getattr(flags, "quiet", False):
        console.silence_libraries()


def distil(argv: Sequence[str]) -> Outcome | None:
    """``python distillation.py``"""
    flags = parsers.distillation_parser().parse_args(argv)
    settings = _settings(DistilSettings, flags, "python distillation.py", argv)
    if settings is None:
        return None
    from semcom.commands.distil import distil

    return distil(settings)


def analyse(argv: Sequence[str]) -> object:
    """``python semantic_analysis.py``"""
    flags = parsers.analysis_parser().parse_args(argv)
    settings = _settings(AnalysisSettings, flags, "python semantic_analysis.py", argv)
    if settings is None:
        return None
    from semcom.commands.analyse import analyse

    return analyse(settings)


def package(argv: Sequence[str]) -> None:
    """``python -m semcom``"""
    parser = parsers.package_parser()
    if not argv:
        return parser.print_help()
    if not argv[0].startswith("-"):
        parsers.check_verb(argv[0])
    flags = parser.parse_args(argv)
    verb = parsers.VERBS[flags.verb]
    if verb.varies:
        _run_variants(verb, verb.varies, flags, f"python -m semcom {flags.verb}")
    elif distributed.rank() == 0 or verb.together:
        settings = _settings(verb.settings, flags, f"python -m semcom {flags.verb}", argv[1:])
        if settings is not None:
            verb.load()(settings)


def _run_variants(
    verb: parsers.Verb, varies: type[DataclassInstance], flags: argparse.Namespace, program: str
) -> None:
    """A verb with settings of which several values may be given."""
    if distributed.count() > 1:
        raise SemcomError(f"{program}: starts its processes itself; start it alone, with --jobs N")
    _heed_quiet(flags)
    settings = settings_of(verb.settings, flags)
    asked = variants(varies, flags, paired=settings.zip_)
    if flags.print_config:
        page = run_files.page(settings, program, asked[0].settings, varied=values_of(flags))
        print(page, end="")
    else:
        verb.load()(settings, asked)
