"""Signals of frozen transmitters, which no draw changes: made once and kept over the epochs of a run.

Letters: B sentences, S source tokens, C real channel dimensions a token.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from semcom.base.progress import Progress
from semcom.base.side_by_side import GoOn, side_by_side
from semcom.data.batching import Batch, Encoded, Places, collate, lengths_of

LIMIT = 512 << 20
"""Bytes of all signals of a run; where they are more, none is kept, and each step makes its own."""
LEAST_PASSES = 2
"""Over the sentences; in fewer, keeping signals gains no time."""
TOGETHER = 128

SignalsOf = Callable[[Batch], list[Tensor]]
"""[B, S, C] of each frozen transmitter."""


@dataclass(frozen=True)
class KeptSignals:
    """signals: of each transmitter [tokens + 1, C], the last row zeros. starts: of each sentence, by its
    place, the row of its first token."""

    signals: list[Tensor]
    starts: npt.NDArray[np.int64]

    @classmethod
    def room_for(
        cls, encoded: Sequence[Encoded], transmitters: Sequence[nn.Module], width: int
    ) -> "KeptSignals | None":
        """Of all sentences, not yet made; None where they are more than ``LIMIT``. width: C."""
        longest = lengths_of(encoded).longest
        ends = np.cumsum(longest, dtype=np.int64)
        types = [next(transmitter.parameters()).dtype for transmitter in transmitters]
        rows = int(ends[-1]) + 1
        if rows * width * sum(dtype.itemsize for dtype in types) > LIMIT:
            return None
        return cls([torch.zeros(rows, width, dtype=dtype) for dtype in types], ends - longest)

    # Six arguments: by what, of what, where, and whether it is still wanted.
    def fill(
        self,
        signals_of: SignalsOf,
        encoded: Sequence[Encoded],
        *,
        device: torch.device,
        go_on: GoOn,
        quiet: bool,
    ) -> None:
        """Make them, in batches by length that depend on nothing but the sentences: the same bits whenever
        they are made. ``go_on`` raises where the work is not wanted any more."""
        order = np.argsort(-lengths_of(encoded).longest, kind="stable")
        batches = [order[start : start + TOGETHER] for start in range(0, len(order), TOGETHER)]
        with Progress(len(batches), "the teacher's signals", quiet=quiet) as bar:

            def of_batch(places: Places, others_go_on: GoOn) -> None:
                others_go_on()
                go_on()
                batch = collate([encoded[place] for place in places.tolist()])
                self._put(places, batch.source_mask, signals_of(batch.to(device)))
                bar.advance()

            side_by_side(of_batch, batches, device)

    def of(self, places: Places, source_mask: Tensor) -> list[Tensor]:
        """[B, S, C] of each transmitter, zeros at padding. source_mask: [B, S] of the sentences at
        ``places``."""
        rows = self._rows(places, source_mask)
        return [kept[rows] for kept in self.signals]

    def _put(self, places: Places, source_mask: Tensor, signals: Sequence[Tensor]) -> None:
        rows = self._rows(places, source_mask)[source_mask]
        for kept, signal in zip(self.signals, signals):
            kept[rows] = signal.cpu()[source_mask]

    def _rows(self, places: Places, source_mask: Tensor) -> Tensor:
        """[B, S]"""
        first = torch.from_numpy(self.starts[places])
        rows = first[:, None] + torch.arange(source_mask.shape[1])
        return rows.masked_fill(~source_mask, len(self.signals[0]) - 1)
