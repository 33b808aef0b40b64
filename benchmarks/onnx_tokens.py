"""Whether onnxruntime decodes the tokens that torch decodes: one checkpoint by both, the whole way from
sentences through the same draws of the channel.

    python -m semcom export checkpoints/teacher.pt --format onnx --output teacher-onnx
    python benchmarks/onnx_tokens.py checkpoints/teacher.pt teacher-onnx

Each side sends by its own transmitter and decodes by its own receiver. Where two decodings part, the logits
of torch tell whether it is a tie: at the first token that differs, those of the two pieces differ by less
than rounding can account for. Exit code 1 where other tokens differ, which those of int8 do.
"""

import argparse
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch  # noqa: E402

from semcom.channel.channels import AWGN, Channel  # noqa: E402
from semcom.data import batching, corpus  # noqa: E402
from semcom.data.batching import Batch  # noqa: E402
from semcom.data.settings import CorpusConfig  # noqa: E402
from semcom.data.vocabulary import BOS, EOS  # noqa: E402
from semcom.models import checkpoint, onnx_link  # noqa: E402
from semcom.models.decoding import greedy  # noqa: E402
from semcom.models.link import send  # noqa: E402
from semcom.models.transceiver import Transceiver  # noqa: E402

TIE = 1e-4
"""Logits that differ by less may fall either way."""
BATCH = 64


@dataclass
class Found:
    """Sentences and tokens compared, sentences whose tokens differ in a tie and otherwise, and the largest
    difference of the signals."""

    sentences: int = 0
    tokens: int = 0
    ties: int = 0
    wrong: int = 0
    signal: float = 0.0

    def __str__(self) -> str:
        equal = self.sentences - self.ties - self.wrong
        return (
            f"{equal:,} of {self.sentences:,} sentences decode to the same tokens ({self.tokens:,} of them), "
            f"{self.ties} to others by a tie, {self.wrong} otherwise; "
            f"signals differ by {self.signal:.1e} at most"
        )


@torch.inference_mode()
def compared(
    ours: Transceiver, theirs: Transceiver, batches: Iterable[Batch], channel: Channel, snr: float, seed: int
) -> Found:
    """ours: run by torch."""
    found = Found()
    for batch in batches:
        sent = [send(model.transmitter, batch, channel, [snr], seed=seed) for model in (ours, theirs)]
        heard = [each.heard_by(ours.receiver)[0] for each in sent]
        wanted = greedy(ours.receiver, heard[0], batch.source_mask)
        got = greedy(theirs.receiver, heard[1], batch.source_mask)
        found.sentences += len(batch)
        found.tokens += sum(map(len, wanted))
        found.signal = max(found.signal, float((sent[0].signal - sent[1].signal).abs().max()))
        for row, (one, other) in enumerate(zip(wanted, got)):
            if one != other:
                mask = batch.source_mask[row : row + 1]
                tied = gap(ours, heard[0][row : row + 1], mask, one, other) < TIE
                found.ties += tied
                found.wrong += not tied
    return found


def gap(
    model: Transceiver, received: torch.Tensor, mask: torch.Tensor, one: list[int], other: list[int]
) -> float:
    """Between the logits of the first two pieces that differ. received: [1, S, C]; mask: [1, S]."""
    one, other = [*one, EOS], [*other, EOS]
    place = next(k for k in range(len(one)) if one[k] != other[k])
    prefix = torch.tensor([[BOS, *one[:place]]])
    logits = model.receiver.project(model.receiver(received, mask, prefix))[0, -1]
    return float((logits[one[place]] - logits[other[place]]).abs())


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("folder")
    parser.add_argument("--sentences", type=int, default=1000)
    parser.add_argument("--snr", type=float, nargs="+", default=[0.0, 6.0, 12.0])
    parser.add_argument("--seed", type=int, default=42)
    given = parser.parse_args(argv)
    ours, theirs = checkpoint.load(given.checkpoint), onnx_link.load(given.folder)
    checkpoint.check_same_vocabulary(ours, theirs)
    built_in = corpus.built_in(CorpusConfig().corpus_size, (), (), ours.vocabulary)
    sentences = list(built_in.split("test").lowest(given.sentences))
    encoded = batching.encode(sentences, ours.vocabulary, leave_out_long=True)
    batches = batching.by_length(encoded, BATCH)
    wrong = 0
    for snr in given.snr:
        found = compared(ours.model, theirs.model, batches, AWGN(), snr, given.seed)
        print(f"{snr:g} dB: {found}", flush=True)
        wrong += found.wrong
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
