"""Several processes at work on one run. Their launcher (torchrun, accelerate launch) tells each its number in
the environment.

A process that was started by hand is alone: nothing is imported for it here beyond the standard library.
"""

import atexit
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from semcom.base.errors import InterruptedRun, NothingToDo, SemcomError

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
GRACE_SECONDS = 10
LOST = ("closed by peer", "reset by peer", "Connection refused", "gloo", "NCCL")


def _told(name: str, alone: int) -> int:
    """A number that the launcher put into the environment; ``alone`` where it started no second process."""
    several = "RANK" in os.environ and int(os.environ.get("WORLD_SIZE", 1)) > 1
    return int(os.environ.get(name, alone)) if several else alone


def count() -> int:
    """How many processes a launcher started for this run, on all machines."""
    return _told("WORLD_SIZE", 1)


def rank() -> int:
    """This process's number in the run; 0 is the main one, which alone prints and writes."""
    return _told("RANK", 0)


def local_rank() -> int:
    """This process's number on its machine; 0 tells what went wrong there."""
    return _told("LOCAL_RANK", 0)


def local_count() -> int:
    """How many processes of the run are on this machine."""
    return _told("LOCAL_WORLD_SIZE", 1)


class Processes:
    """The processes of one run and what they do together; ``Processes()`` is one alone. Each calls the same
    methods in the same order.

    rank: this one's number, 0 the main one's. count: how many there are.
    """

    def __init__(self, rank: int = 0, count: int = 1):
        self.rank, self.count = rank, count

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """This process's part of ``items``: every count-th."""
        return items[self.rank :: self.count]

    def sum(self, values: Sequence[float]) -> list[float]:
        """Each value summed over the processes, in float64."""
        if self.count == 1:
            return list(values)
        import torch
        from accelerate import PartialState
        from accelerate.utils import reduce

        return reduce(torch.tensor(values, dtype=torch.float64, device=PartialState().device), "sum").tolist()

    def total(self, values: "torch.Tensor") -> "torch.Tensor":
        """The same of a tensor, where it is; nothing waits for it."""
        if self.count == 1:
            return values
        from accelerate.utils import reduce

        return reduce(values, "sum")

    def gather(self, value: T) -> list[T]:
        """Every process's ``value``, by rank, on every process."""
        if self.count == 1:
            return [value]
        from accelerate.utils import gather_object

        return gather_object([value])

    def from_main(self, make: Callable[..., T], *arguments: object) -> T:
        """What ``make`` returns on the main process, on every process; where it raises there, all raise."""
        if self.count == 1:
            return make(*arguments)
        from accelerate.utils import broadcast_object_list

        if not self.is_main:
            value, refusal = broadcast_object_list([None, None])
            if refusal:
                raise refusal
            return value
        try:
            value = make(*arguments)
        except Exception as error:
            known = isinstance(error, (SemcomError, InterruptedRun, NothingToDo))
            broadcast_object_list([None, error if known else SemcomError("the main process failed")])
            raise
        broadcast_object_list([value, None])
        return value


ALONE = Processes()


def join(device: "torch.device") -> Processes:
    """Join the processes that the launcher started with this one: over gloo on CPUs, over NCCL on GPUs."""
    if count() == 1:
        return ALONE
    try:
        from accelerate import PartialState
    except ImportError:
        raise SemcomError(
            "several processes need Hugging Face accelerate, which is not installed; pip install accelerate"
        ) from None
    state = PartialState(cpu=device.type == "cpu")
    return Processes(state.process_index, state.num_processes)


def leave() -> None:
    """Part from the others at the end of the program, once all have got there."""
    if count() > 1 and "accelerate" in sys.modules:
        from accelerate import PartialState

        if PartialState._shared_state:
            PartialState().wait_for_everyone()
            PartialState().destroy_process_group()


def end(code: int) -> None:
    """End this process of several with an exit code, once what it has to say is said; one alone goes on.

    Not by Python's own end, during which a thread of gloo that still holds a tensor cannot let it go: the
    system would end the process by SIGABRT, whatever its code.
    """
    if count() == 1:
        return
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(code)


def lost_another(error: BaseException) -> bool:
    """Whether ``error`` only says that another process is gone."""
    return count() > 1 and isinstance(error, RuntimeError) and any(sign in str(error) for sign in LOST)


def let_another_tell(code: int) -> None:
    """Wait until the launcher ends this process, which it does as soon as the one that prints the error is
    through."""
    signal.signal(signal.SIGTERM, lambda number, frame: os._exit(code))
    time.sleep(GRACE_SECONDS)
