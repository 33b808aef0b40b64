"""How far a long work is: a bar where standard error is a terminal, elsewhere a line a minute there. Without
colours; the main process alone shows it."""

import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

from tqdm import tqdm

from semcom.base import distributed
from semcom.base.errors import escape
from semcom.base.widths import cut

Item = TypeVar("Item")

COLUMNS = 80
SECONDS_A_LINE = 60.0
WIDEST_NAME = 40
LAYOUT = "{desc}: {n_fmt}/{total_fmt} |{bar}| {remaining} left{postfix}"


def each(items: Sequence[Item], doing: str, *, quiet: bool) -> Iterator[Item]:
    """The same items, with the progress through them; what is shown goes at the end."""
    with Progress(len(items), doing, quiet=quiet) as progress:
        for item in items:
            yield item
            progress.advance()


class Progress:
    """Progress through ``total`` of something, ``done`` of them before this process began. doing: in a word
    or two. leave: whether the bar stays at the end. delay: seconds until it is shown first."""

    # Many arguments: those after the second are choices by name.
    def __init__(
        self,
        total: int,
        doing: str,
        *,
        quiet: bool,
        done: int = 0,
        leave: bool = False,
        delay: float = 0.0,
    ):
        doing = _fitting(doing)
        silent = quiet or distributed.rank() > 0
        on_terminal = not silent and _is_terminal()
        self._bar = _Bar(
            total=total,
            initial=done,
            desc=doing,
            disable=not on_terminal,
            leave=leave,
            bar_format=LAYOUT,
            mininterval=0.5,
            delay=delay,
        )
        self._lines = None if silent or on_terminal else _Lines(total, done)
        self.doing, self._numbers = doing, ""
        self._lock = threading.Lock()

    def advance(self, number: int = 1) -> None:
        """Any thread may."""
        with self._lock:
            self._bar.update(number)
            if self._lines:
                self._lines.advance(number, self.doing, self._numbers)

    def name(self, doing: str) -> None:
        """What is done from here on."""
        self.doing = _fitting(doing)
        self._bar.set_description_str(self.doing)

    def show(self, doing: str, loss: float, tokens_per_second: float | None) -> None:
        """What is done from the next ``advance`` on, the mean loss until there, and how fast it goes."""
        self.doing, self._numbers = _fitting(doing), f"loss {loss:.3f}"
        if tokens_per_second is not None:
            self._numbers += f", {tokens_per_second:,.0f} tok/s"
        self._bar.set_description_str(self.doing, refresh=False)
        self._bar.set_postfix_str(self._numbers, refresh=False)

    def say(self, line: str) -> None:
        """A line on standard output, above the bar."""
        tqdm.write(line)

    def close(self) -> None:
        self._bar.close()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _fitting(doing: str) -> str:
    """So that numbers have room beside a stranger's file name."""
    return cut(escape(doing), WIDEST_NAME)


class _Bar(tqdm):
    """No wider than ``COLUMNS``, or than the terminal if that is narrower."""

    @property
    def format_dict(self) -> dict[str, object]:
        return {**super().format_dict, "ncols": _columns()}


def _is_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


def _columns() -> int:
    """The last column stays empty: some terminals begin a new line when it is filled."""
    try:
        there = os.get_terminal_size(sys.stderr.fileno()).columns
    except (OSError, ValueError):
        there = 0
    return min(COLUMNS, there or COLUMNS) - 1


class _Lines:
    """A line a minute on standard error."""

    def __init__(self, total: int, done: int):
        self.total, self.done = total, done
        self.begun = self.said = time.monotonic()
        self.at_first = done

    def advance(self, number: int, doing: str, numbers: str) -> None:
        self.done += number
        now = time.monotonic()
        if now - self.said < SECONDS_A_LINE:
            return
        self.said = now
        words = [f"{doing}: {self.done}/{self.total}", f"{self._left(now)} left", *filter(None, [numbers])]
        print(", ".join(words), file=sys.stderr, flush=True)

    def _left(self, now: float) -> str:
        """Time, as the bar shows it."""
        here = self.done - self.at_first
        if not here:
            return "?"
        return tqdm.format_interval(int((now - self.begun) / here * max(0, self.total - self.done)))
