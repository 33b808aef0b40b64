"""The same work on several items at a time, on the cores of a CPU."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Item = TypeVar("Item")
Made = TypeVar("Made")
GoOn = Callable[[], None]
"""Raises ``Stopped`` where the work is not wanted any more."""


class Stopped(Exception):
    """Another item's work failed, or the program was asked to end."""


def side_by_side(
    work: Callable[[Item, GoOn], Made], items: Sequence[Item], device: torch.device
) -> list[Made]:
    """What ``work`` makes of each item, in their order, without gradients. On a CPU several items are at work
    at a time and part torch's threads among them; elsewhere, and with one thread, it is one after the other.

    Threads that share one small operation wait for the slowest of them at its end: as long as another program
    has one of two cores, that takes several times as long as on one thread. Threads that share items do not
    wait.
    """
    threads = torch.get_num_threads()
    together = min(threads, len(items)) if device.type == "cpu" else 1
    if together < 2:
        with torch.inference_mode():
            return [work(item, lambda: None) for item in items]
    stopped = threading.Event()

    def go_on() -> None:
        if stopped.is_set():
            raise Stopped

    def of_one(item: Item) -> Made:
        with torch.inference_mode():
            return work(item, go_on)

    try:
        with ThreadPoolExecutor(
            together, initializer=torch.set_num_threads, initargs=(threads // together,)
        ) as pool:
            try:
                return [future.result() for future in [pool.submit(of_one, item) for item in items]]
            except BaseException:
                stopped.set()
                pool.shutdown(cancel_futures=True)
                raise
    finally:
        torch.set_num_threads(threads)
