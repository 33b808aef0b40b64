"""Signals that ask a program to end: Ctrl-C, and what clusters, launchers and closing terminals send.

The first one raises ``Interrupt`` wherever the program is, or is noted where it must not be torn from a step;
a second one ends the process at once. Only the main thread can be asked.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

CTRL_C = ("SIGINT",)
ALL = (*CTRL_C, "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGHUP")
"""By name, since a system may lack some. Which a cluster sends ahead of the end is the user's choice:
SIGUSR1 is usual, SIGUSR2 submitit's."""
SAME_SECONDS = 0.5
"""``timeout`` signals a process and then its group, a terminal the group and the launcher its processes: what
comes so soon is the first signal once more."""

Asked = Callable[[], int]
"""The number of the signal that has asked for the end; 0 for none."""


class Interrupt(KeyboardInterrupt):
    """number: of the signal."""

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number


def number_of(interrupt: KeyboardInterrupt) -> int:
    """Of the signal behind it; Python itself raises KeyboardInterrupt for Ctrl-C."""
    return interrupt.number if isinstance(interrupt, Interrupt) else signal.SIGINT


class _Watch:
    """Handles signals in the place of others, ``before``.

    ends: whether a second signal ends the process at once; otherwise it does what it did before. noting: how
    many ``noted`` blocks are entered. first: number of the first signal, 0 for none.
    """

    def __init__(self, ends: bool):
        self.ends, self.noting, self.first = ends, 0, 0
        self.at = 0.0
        self.process = os.getpid()
        self.before: dict[int, Any] = {}

    def install(self, names: tuple[str, ...], over: Callable[[Any], bool]) -> None:
        """In the place of those handlers of which ``over`` is true."""
        for name in names:
            number = getattr(signal, name, None)
            if number is not None and over(before := signal.getsignal(number)):
                self.before[number] = before
                signal.signal(number, self.handle)

    def remove(self) -> None:
        for number, before in self.before.items():
            signal.signal(number, before)

    def handle(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self.process:
            # Inherited by a child that was forked: it is asked as if we were not.
            self._as_before(number)
        elif not self.first:
            self.first, self.at = number, time.monotonic()
            if not self.noting:
                raise Interrupt(number)
        elif number != self.first or time.monotonic() - self.at > SAME_SECONDS:
            self._end(number)

    def _end(self, number: int) -> None:
        if self.ends:
            os._exit(128 + number)
        else:
            self._as_before(number)

    def _as_before(self, number: int) -> None:
        signal.signal(number, self.before[number])
        os.kill(os.getpid(), number)


_watch: _Watch | None = None


def asked_already() -> bool:
    """Whether one of these signals has come."""
    return _watch is not None and _watch.first != 0


@contextmanager
def raised() -> Iterator[None]:
    """Meanwhile each of these signals, unless it was ignored from the start (as SIGHUP is by nohup), raises
    ``Interrupt``; a second one ends the process at once with exit code 128 + its number."""
    with _watching(ends=True, names=ALL, over=lambda handler: handler not in (signal.SIG_IGN, None)):
        yield


@contextmanager
def noted(names: tuple[str, ...] = ALL) -> Iterator[Asked]:
    """Meanwhile these signals are noted instead, so that what must not be torn apart can ask between its
    steps.

    Outside ``raised``, in a program of others, those of ``names`` are noted that it has no handler of its own
    for; a second one does there what it always did.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: 0
    elif _watch is not None:
        with _noting(_watch) as asked:
            yield asked
    else:
        untouched = (signal.SIG_DFL, signal.default_int_handler)
        with _watching(ends=False, names=names, over=lambda handler: handler in untouched) as watch:
            with _noting(watch) as asked:
                yield asked


@contextmanager
def _noting(watch: _Watch | None) -> Iterator[Asked]:
    assert watch is not None
    watch.noting += 1
    try:
        yield lambda: watch.first
    finally:
        watch.noting -= 1


@contextmanager
def _watching(ends: bool, names: tuple[str, ...], over: Callable[[Any], bool]) -> Iterator[_Watch | None]:
    """None where another already watches, or in another thread than the main one."""
    global _watch
    if _watch is not None or threading.current_thread() is not threading.main_thread():
        yield None
        return
    _watch = _Watch(ends)
    _watch.install(names, over)
    try:
        yield _watch
    finally:
        _watch.remove()
        _watch = None
