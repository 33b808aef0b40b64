"""The state of a training loop as plain values and tensors: all that its further steps depend on, and what it
has told until now."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from semcom.distillation.history import Epoch, Result
from semcom.distillation.step_sums import Sum
from semcom.models.state_file import State

if TYPE_CHECKING:
    from semcom.distillation.training_loop import Loop


def state_of(loop: "Loop[Any]") -> State:
    """Called on every process."""
    result = loop.result
    return {
        "epoch": loop.epoch,
        "done": loop.done,
        "steps": result.steps,
        "total": result.total,
        "history": [asdict(epoch) for epoch in result.history],
        "best": [result.best_loss, result.best_epoch],
        "sums": {name: [of_epoch.value, of_epoch.rows] for name, of_epoch in loop.sums.items()},
        "positions": [loop.tokens, loop.cells],
        "seconds": loop.seconds,
        "lr": loop.lr,
        "optimizer": loop.updates.state_dict(),
        "task": loop.task.state(),
    }


def put_back(loop: "Loop[Any]", state: State) -> None:
    """Go on from a ``state_of``."""
    history = [Epoch(**epoch) for epoch in state["history"]]
    best_loss, best_epoch = state["best"]
    loop.result = Result(history, best_loss, best_epoch, state["steps"], state["total"])
    loop.start_epoch(state["epoch"])
    loop.done = state["done"]
    loop.sums = {name: Sum(*of_epoch) for name, of_epoch in state["sums"].items()}
    loop.tokens, loop.cells = state["positions"]
    loop.seconds = state["seconds"]
    # States of earlier versions have none: their rates follow from the step.
    loop.lr = state.get("lr", loop.updates.rate(state["steps"], state["total"]))
    loop.task.load_state(state["task"])
    loop.updates.load_state_dict(state["optimizer"])
    # What is logged of an epoch whose steps are all done is by the last of them.
    loop.set_progress()
    loop.kept = loop.epoch, loop.done
