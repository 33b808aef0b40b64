"""What a run says while it works: the standard ``logging``, shown by the main process alone."""

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from threading import Lock
from typing import Any, NoReturn, TextIO

from semcom.base import distributed
from semcom.base.errors import Unwise


class _Console(logging.StreamHandler[TextIO]):
    """Lines to whatever standard output is at the moment; a warning says that it is one."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stdout

    def emit(self, record: logging.LogRecord) -> None:
        bars = sys.modules.get("tqdm")
        # A line begins where a bar stands: the bar is drawn again below it.
        aside = bars.tqdm.external_write_mode(self.stream) if bars else nullcontext()
        with aside:
            super().emit(record)

    def filter(self, record: logging.LogRecord) -> bool:
        return distributed.rank() == 0

    def format(self, record: logging.LogRecord) -> str:
        prefix = "warning: " if record.levelno == logging.WARNING else ""
        return prefix + record.getMessage()

    def handleError(self, record: logging.LogRecord) -> NoReturn:
        # A closed pipe or a full disk ends the run, as it does for print.
        raise


_CONSOLE = _Console()
_LOG = logging.getLogger(__name__)


_GATHERED: ContextVar[dict[str, list[str]] | None] = ContextVar("gathered", default=None)
"""What is said of files -> of which, while it is gathered."""


_SAID: set[str] = set()
_ONE_AT_A_TIME = Lock()


def say_once(line: str, level: int = logging.WARNING) -> None:
    """Once a process, however many of its threads come to it."""
    with _ONE_AT_A_TIME:
        if line not in _SAID:
            _SAID.add(line)
            _LOG.log(level, line)


@contextmanager
def gathered() -> Iterator[None]:
    """Of what ``warn_of`` is given meanwhile, one line at the end for all files of which it is said."""
    told: dict[str, list[str]] = {}
    before = _GATHERED.set(told)
    try:
        yield
    finally:
        _GATHERED.reset(before)
        for line, (first, *others) in told.items():
            more = f" (and {len(others)} more)" if others else ""
            _LOG.warning(f"{first}{more}: {line}")


def warn_of(where: str, line: str) -> None:
    """A warning about a file, at once or with others of its kind where they are ``gathered``."""
    told = _GATHERED.get()
    if told is None:
        _LOG.warning(f"{where}: {line}")
    else:
        told.setdefault(line, []).append(where)


@contextmanager
def unwise_said() -> Iterator[None]:
    """What the Python API warns of meanwhile is said as commands say it, each line once."""
    said: set[str] = set()
    show = warnings.showwarning

    def say(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if not issubclass(category, Unwise):
            show(message, category, *place, **more)
        elif str(message) not in said:
            said.add(str(message))
            _LOG.warning(str(message))

    with warnings.catch_warnings():
        warnings.simplefilter("always", Unwise)
        warnings.showwarning = say
        yield


@contextmanager
def libraries_heard() -> Iterator[None]:
    """What ``silence_libraries`` does meanwhile is undone at the end."""
    last_resort = logging.lastResort
    level = last_resort.level if last_resort else logging.WARNING
    try:
        with warnings.catch_warnings():
            yield
    finally:
        if last_resort:
            last_resort.setLevel(level)


def silence_libraries() -> None:
    """Their warnings, by ``warnings`` and by ``logging``, go nowhere; their errors are still shown."""
    warnings.simplefilter("ignore")
    if logging.lastResort:
        logging.lastResort.setLevel(logging.ERROR)


@contextmanager
def speaking() -> Iterator[None]:
    """Show what the package's loggers say meanwhile, here alone: the handlers of a host program's root logger
    would say it twice. What was set before is set again afterwards; may be nested."""
    log = logging.getLogger("semcom")
    level, propagate, speaks = log.level, log.propagate, _CONSOLE in log.handlers
    log.setLevel(logging.INFO)
    log.propagate = False
    log.addHandler(_CONSOLE)
    try:
        yield
    finally:
        log.setLevel(level)
        log.propagate = propagate
        if not speaks:
            log.removeHandler(_CONSOLE)
