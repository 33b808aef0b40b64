"""Decoding 29 tokens of each of many sentences, greedily and by beam search: the textbook's uncached decoder,
ours without and with --compile, and CTranslate2 in every type of this machine.

    pip install -e '.[bench]'
    python benchmarks/decoding.py --json decoding.json

Every side goes the whole way from a sentence's ids to the decoded ids: transmitter, channel and receiver;
CTranslate2, which knows no channel, runs encoder and decoder of the same weights. All decode the same number
of tokens, since a bias keeps the end token away. First it checks that textbook and ours decode the same
tokens, and which of CTranslate2's types decode those that ours decodes when its channel is taken out: the
others do not count. A tie may fall either way: two pieces whose logits, or two sentences whose
log-probabilities, differ by less than 1e-4.
"""

import copy
import importlib.util
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from benchmarks import ctranslate2_model, harness, textbook  # noqa: E402
from semcom.base.device import keep_freed_memory  # noqa: E402
from semcom.channel.channels import AWGN  # noqa: E402
from semcom.data.batching import Batch, Encoded, collate  # noqa: E402
from semcom.data.vocabulary import BOS  # noqa: E402
from semcom.models.decoding import Search  # noqa: E402
from semcom.models.kernels import native  # noqa: E402
from semcom.models.transceiver import Transceiver, build  # noqa: E402

SCRIPT = "decoding.py"
TIE = 1e-4
LAST_ONLY = "textbook, projecting the last position alone"
CTRANSLATE2 = "CTranslate2"
GREEDY = Search()
Tokens = list[list[int]]
Sides = dict[str, Callable[[list[Encoded]], Tokens]]


def main(argv: list[str] | None = None) -> None:
    given = arguments(argv)
    shape = harness.QUICK if given.quick else harness.Shape()
    keep_freed_memory()
    report = harness.Report(SCRIPT, argv)
    encoded = harness.sentences(shape, given.sentences)
    model = harness.never_ending(build(shape.architecture(shape.teacher_layers), 0))
    print(
        f"{given.sentences} sentences, by beam search {given.beam_sentences}, {harness.STEPS} tokens each, "
        f"{shape.teacher_layers}+{shape.teacher_layers} layers, V={shape.vocab_size:,}\n"
    )
    with harness.forced(harness.STEPS), tempfile.TemporaryDirectory() as folder:
        if importlib.util.find_spec("ctranslate2"):
            ctranslate2_model.saved(model, folder)
        else:
            print("CTranslate2 is not installed, its columns are left out: pip install 'ctranslate2>=4'\n")
            folder = ""
        for search in (GREEDY, Search(given.width)):
            number = given.sentences if search.width == 1 else given.beam_sentences
            compare(report, model, encoded[:number], search, given, folder)
    report.write(given.json)


def arguments(argv: list[str] | None):
    parser = harness.parser_of(SCRIPT, __doc__)
    parser.add_argument("--sentences", type=int, default=512)
    parser.add_argument("--beam-sentences", type=int, default=256)
    parser.add_argument("--width", type=int, default=4, help="hypotheses of beam search")
    parser.add_argument(
        "--batch",
        type=int,
        default=128,
        help="sentences that are decoded together; ours and CTranslate2 also take all at once",
    )
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args(argv)
    if given.quick:
        given.sentences, given.beam_sentences, given.batch = 16, 8, 8
    return given


# Six arguments: where it is told, of what, how, and where CTranslate2's model is.
def compare(
    report: harness.Report, model: Transceiver, encoded: list[Encoded], search: Search, given, folder: str
) -> None:
    """One table and its records. folder: CTranslate2's model; empty where there is none."""
    sizes = {f"batches of {given.batch}": given.batch, "all at once": len(encoded)}
    sides = {}
    if search.width == 1:
        sides |= textbooks(model, encoded, given.batch)
    sides |= ours(model, search, sizes)
    if folder:
        sides |= ctranslate2s(model, encoded, search, sizes, folder, given.batch)
    seconds = race(sides, encoded, given.rounds)
    best = {
        name: min((s for side, s in seconds.items() if side.startswith(name)), default=None)
        for name in ("textbook", "ours", CTRANSLATE2)
    }
    report.table(
        str(search).capitalize(),
        ("decoder", "median s", "sentences/s", "times the textbook's speed", f"times {CTRANSLATE2}'s best"),
        [
            (
                name,
                f"{s:.2f}",
                f"{len(encoded) / s:,.0f}",
                f"{seconds['textbook'] / s:.2f}" if "textbook" in seconds else "",
                f"{best[CTRANSLATE2] / s:.2f}" if best[CTRANSLATE2] else "",
            )
            for name, s in seconds.items()
        ],
    )
    measure = "greedy" if search.width == 1 else "beam"
    if "textbook" in seconds:
        report.record("greedy_decoding", seconds["textbook"], best["ours"], "s")
    if best[CTRANSLATE2]:
        fastest = next(side for side, s in seconds.items() if s == best[CTRANSLATE2])
        report.record(f"{measure}_vs_ctranslate2", best[CTRANSLATE2], best["ours"], "s", fastest)


def textbooks(model: Transceiver, encoded: list[Encoded], size: int) -> Sides:
    """The textbook's two sides, once it is seen that they decode what ours does."""
    plain, batch = textbook.like(model), collate(encoded[:size])
    received = harness.received_of(model, batch)
    agree("textbook", uncached(plain, batch), cached(model, batch), model.receiver, received, batch)
    return {
        "textbook": lambda e: in_batches(e, size, lambda b: uncached(plain, b)),
        LAST_ONLY: lambda e: in_batches(e, size, lambda b: uncached(plain, b, project_last_only=True)),
    }


def ours(model: Transceiver, search: Search, sizes: dict[str, int]) -> Sides:
    """Without and, where there is a compiler, with kernels."""
    searches = {"ours": search}
    if reason := native.cannot_compile(native.DECODING):
        print(f"no compiled decoder: {reason}\n")
    else:
        searches["ours, compiled"] = Search(search.width, search.length_penalty, compiled=True)
    return {
        f"{side}, {name}": lambda e, size=size, by=by: in_batches(e, size, lambda b: cached(model, b, by))
        for side, by in searches.items()
        for name, size in sizes.items()
    }


# Six arguments: what is decoded by whom, how, where its model is, and how many sentences are compared.
def ctranslate2s(
    model: Transceiver, encoded: list[Encoded], search: Search, sizes: dict[str, int], folder: str, some: int
) -> Sides:
    """CTranslate2 in those of its types that decode what ours decodes from the encoder's states."""
    batch = collate(encoded[:some])
    receiver = copy.deepcopy(model.receiver)
    receiver.channel_decoder = nn.Identity()
    with torch.inference_mode():
        _, states = model.transmitter(batch.source, batch.source_mask)
    expected = search(receiver, states, batch.source_mask)
    sides: Sides = {}
    for kind in ctranslate2_model.compute_types():
        by = ctranslate2_model.translator_of(folder, kind)
        found = ctranslate2_model.translate(by, encoded[:some], some, search.width)
        try:
            agree(f"{CTRANSLATE2} {kind}", found, expected, receiver, states, batch, search.width)
        except SystemExit as error:
            print(f"{CTRANSLATE2} {kind} does not count, {search}: {error}\n")
            continue
        sides |= {
            f"{CTRANSLATE2} {kind}, {name}": lambda e, size=size, by=by: ctranslate2_model.translate(
                by, e, size, search.width
            )
            for name, size in sizes.items()
        }
    return sides


def race(sides: Sides, encoded: list[Encoded], rounds: int) -> dict[str, float]:
    """Median seconds of each side over all sentences, after a few that do not count."""
    for side in sides.values():
        side(encoded[:8])
    return harness.alternate(
        {name: lambda side=side: side(encoded) for name, side in sides.items()}, rounds, warm=0
    )


def in_batches(encoded: list[Encoded], size: int, decode) -> Tokens:
    return [
        tokens
        for start in range(0, len(encoded), size)
        for tokens in decode(collate(encoded[start : start + size]))
    ]


def uncached(plain: textbook.Transceiver, batch: Batch, **choice) -> Tokens:
    """The textbook's way from ids to ids."""
    with torch.no_grad():
        noise = batch.draw(AWGN(), plain.transmitter.channel_encoder[-1].out_features, seed=0, number=0).noise
        received = textbook.awgn(
            plain.transmitter(batch.source), noise, torch.full((len(batch),), harness.DECODING_SNR)
        )
    return textbook.greedy(plain.receiver, received, batch.source, harness.STEPS, **choice).tolist()


def cached(model: Transceiver, batch: Batch, search: Search = GREEDY) -> Tokens:
    """Our way from ids to ids."""
    return search(model.receiver, harness.received_of(model, batch), batch.source_mask)


# Seven arguments: who decoded what, and all that it was decoded of.
@torch.inference_mode()
def agree(
    name: str, theirs: Tokens, ours: Tokens, receiver, received: Tensor, batch: Batch, width: int = 1
) -> None:
    """Stop unless both decoded ``harness.STEPS`` tokens of each sentence, the same ones but for ties."""
    ties = 0
    for row, (a, b) in enumerate(zip(theirs, ours, strict=True)):
        if len(a) != harness.STEPS or len(b) != harness.STEPS:
            raise SystemExit(
                f"sentence {row}: {name} decoded {len(a)} tokens and ours {len(b)}, not {harness.STEPS}"
            )
        if a != b:
            part = slice(row, row + 1)
            logs = [of_tokens(receiver, received[part], batch.source_mask[part], each) for each in (a, b)]
            place = next(i for i in range(harness.STEPS) if a[i] != b[i])
            gaps = [float(x - y) for x, y in zip(*logs)]
            if abs(gaps[place] if width == 1 else sum(gaps)) > TIE:
                raise SystemExit(
                    f"sentence {row}, token {place}: {name} says {a[place]} and ours {b[place]}, and this is "
                    "no tie"
                )
            ties += 1
    print(f"{name} and ours decode the same tokens of {len(ours)} sentences, {ties} of which part at a tie\n")


def of_tokens(receiver, received: Tensor, mask: Tensor, tokens: list[int]) -> Tensor:
    """[tokens]: log-probability of each after those before it; received: [1, S, C]."""
    state = receiver(received, mask, torch.tensor([[BOS, *tokens[:-1]]]))[0]
    logs = receiver.project(state).double().log_softmax(-1)
    return logs.gather(1, torch.tensor(tokens)[:, None])[:, 0]


if __name__ == "__main__":
    main()
