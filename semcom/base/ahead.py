"""What is needed next, made before it is asked for, or in a thread meanwhile."""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from queue import SimpleQueue
from typing import TypeVar

import torch

Item = TypeVar("Item")
_END = object()


def with_first(items: Iterable[Item]) -> Iterator[Item]:
    """The same items, the first of them made already."""
    left = iter(items)
    return chain([*islice(left, 1)], left)


class _Failed(Exception):
    """What the thread hands over in the place of an item. Its cause is what was raised there."""


@contextmanager
def ahead(items: Iterable[Item], number: int) -> Iterator[Iterator[Item]]:
    """Within, the same items in their order, made in a thread, ``number`` of them at most before they are
    asked for. What is raised there is raised where the item is asked for.

    The thread has one of torch's threads: it is for small operations, which are not to wait for those of the
    main thread. At the end of the block it ends with the item that it is at.
    """
    made: SimpleQueue = SimpleQueue()
    room, begun, stopped = threading.Semaphore(number), threading.Event(), threading.Event()

    def make() -> None:
        torch.set_num_threads(1)
        begun.set()
        try:
            for item in _while_wanted(items, room, stopped):
                made.put(item)
            made.put(_END)
        except BaseException as error:
            failed = _Failed()
            failed.__cause__ = error
            made.put(failed)

    threads = torch.get_num_threads()
    maker = threading.Thread(target=make, name="ahead", daemon=True)
    maker.start()
    begun.wait()
    # A thread's number is also that of all threads that begin later.
    torch.set_num_threads(threads)
    try:
        yield _handed_over(made, room)
    finally:
        stopped.set()
        room.release()
        maker.join()


def _while_wanted(
    items: Iterable[Item], room: threading.Semaphore, stopped: threading.Event
) -> Iterator[Item]:
    """The items, each made once there is room for it, until it is stopped."""
    room.acquire()
    if stopped.is_set():
        return
    for item in items:
        yield item
        room.acquire()
        if stopped.is_set():
            return


def _handed_over(made: SimpleQueue, room: threading.Semaphore) -> Iterator:
    while (item := made.get()) is not _END:
        if isinstance(item, _Failed):
            assert item.__cause__ is not None
            raise item.__cause__
        room.release()
        yield item
