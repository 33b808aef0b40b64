"""Greedy decoding, 29 tokens of each of 512 sentences: the textbook's uncached decoder, ours, and CTranslate2
in float32.

    pip install -e '.[bench]'
    python benchmarks/decoding.py --json decoding.json

Every side goes the whole way from a sentence's ids to the decoded ids: transmitter, channel and receiver;
CTranslate2, which knows no channel, runs encoder and decoder of the same weights. All decode the same number
of tokens, since a bias keeps the end token away. First it checks that textbook and ours decode the same
tokens, and that CTranslate2 decodes those that ours decodes when its channel is taken out; a tie, two pieces
whose logits differ by less than 1e-4, may fall either way.
"""

import copy
import importlib.util
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch  # noqa: E402
from torch import nn  # noqa: E402

from benchmarks import harness, textbook  # noqa: E402
from semcom.base.device import keep_freed_memory
from semcom.channel.channels import AWGN
from semcom.data.batching import Batch, Encoded, collate  # noqa: E402
from semcom.data.vocabulary import BOS  # noqa: E402
from semcom.models import decoding  # noqa: E402
from semcom.models.layers import LAYER_NORM_EPS, sinusoidal_positions  # noqa: E402
from semcom.models.transceiver import Transceiver, build  # noqa: E402

SCRIPT = "decoding.py"
TIE = 1e-4
LAST_ONLY = "textbook, projecting the last position alone"
SPECIAL = ["<blank>", "<s>", "</s>", "<unk>"]  # pieces 0 to 3, in CTranslate2's words
Tokens = list[list[int]]


def main(argv: list[str] | None = None) -> None:
    parser = harness.parser_of(SCRIPT, __doc__)
    parser.add_argument("--sentences", type=int, default=512)
    parser.add_argument(
        "--batch",
        type=int,
        default=128,
        help="sentences that are decoded together; ours and CTranslate2 also take all at once",
    )
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args(argv)
    shape = harness.QUICK if given.quick else harness.Shape()
    if given.quick:
        given.sentences, given.batch = min(given.sentences, 16), min(given.batch, 8)
    keep_freed_memory()
    report = harness.Report(SCRIPT, argv)
    encoded = harness.sentences(shape, given.sentences)
    model = harness.never_ending(build(shape.architecture(shape.teacher_layers), 0))
    print(
        f"{given.sentences} sentences, {harness.STEPS} tokens each, "
        f"{shape.teacher_layers}+{shape.teacher_layers} layers, V={shape.vocab_size:,}\n"
    )

    plain = textbook.like(model)
    sizes = {given.batch: f"batches of {given.batch}", given.sentences: "all at once"}
    sides = {
        "textbook": lambda e: in_batches(e, given.batch, lambda b: uncached(plain, b)),
        LAST_ONLY: lambda e: in_batches(e, given.batch, lambda b: uncached(plain, b, project_last_only=True)),
    }
    sides |= {
        f"ours, {name}": lambda e, size=size: in_batches(e, size, lambda b: cached(model, b))
        for size, name in sizes.items()
    }
    with harness.forced(harness.STEPS), tempfile.TemporaryDirectory() as folder:
        if importlib.util.find_spec("ctranslate2"):
            translator = ctranslate2_of(model, folder)
            check_ctranslate2(translator, model, encoded[: given.batch])
            sides |= {
                f"CTranslate2, {name}": lambda e, size=size: translate(translator, e, size)
                for size, name in sizes.items()
            }
        else:
            print("CTranslate2 is not installed, its columns are left out: pip install 'ctranslate2>=4'\n")
        check_textbook(plain, model, encoded[: given.batch])
        seconds = race(sides, encoded, given.rounds)

    def best(name: str) -> float:
        return min(s for side, s in seconds.items() if side.startswith(name))

    rows = [
        (
            name,
            f"{s:.2f}",
            f"{given.sentences / s:,.0f}",
            f"{seconds['textbook'] / s:.2f}",
            f"{best('CTranslate2') / s:.2f}" if "CTranslate2" in str(seconds) else "",
        )
        for name, s in seconds.items()
    ]
    report.table(
        "Greedy decoding",
        ("decoder", "median s", "sentences/s", "times the textbook's speed", "times CTranslate2's best"),
        rows,
    )
    report.record("greedy_decoding", seconds["textbook"], best("ours"), "s")
    if "CTranslate2" in str(seconds):
        report.record("greedy_vs_ctranslate2", best("CTranslate2"), best("ours"), "s", "CTranslate2 fp32")
    report.write(given.json)


def race(sides: dict, encoded: list[Encoded], rounds: int) -> dict[str, float]:
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


def cached(model: Transceiver, batch: Batch) -> Tokens:
    """Our way from ids to ids."""
    return decoding.greedy(model.receiver, harness.received_of(model, batch), batch.source_mask)


def translate(translator, encoded: list[Encoded], size: int) -> Tokens:
    """CTranslate2's way from ids to ids; it sorts by length and forms batches by itself."""
    words = [[word(piece) for piece in e.source] for e in encoded]
    results = translator.translate_batch(
        words,
        max_batch_size=size,
        beam_size=1,
        min_decoding_length=harness.STEPS,
        max_decoding_length=harness.STEPS,
    )
    return [[piece_of(w) for w in result.hypotheses[0]] for result in results]


def word(piece: int) -> str:
    return SPECIAL[piece] if piece < len(SPECIAL) else str(piece)


def piece_of(word: str) -> int:
    return SPECIAL.index(word) if word in SPECIAL else int(word)


def check_textbook(plain: textbook.Transceiver, model: Transceiver, encoded: list[Encoded]) -> None:
    """Stop unless textbook and ours decode the same."""
    batch = collate(encoded)
    agree(
        "textbook",
        uncached(plain, batch),
        cached(model, batch),
        model.receiver,
        harness.received_of(model, batch),
        batch,
    )


def check_ctranslate2(translator, model: Transceiver, encoded: list[Encoded]) -> None:
    """Stop unless CTranslate2 decodes what ours decodes from the encoder's states."""
    batch = collate(encoded)
    receiver = copy.deepcopy(model.receiver)
    receiver.channel_decoder = nn.Identity()
    with torch.inference_mode():
        _, states = model.transmitter(batch.source, batch.source_mask)
    ours = decoding.greedy(receiver, states, batch.source_mask)
    agree("CTranslate2", translate(translator, encoded, len(encoded)), ours, receiver, states, batch)


@torch.inference_mode()
def agree(name: str, theirs: Tokens, ours: Tokens, receiver, received: torch.Tensor, batch: Batch) -> None:
    """Stop unless both decoded ``harness.STEPS`` tokens of each sentence, the same ones but for ties."""
    ties = 0
    for row, (a, b) in enumerate(zip(theirs, ours, strict=True)):
        if len(a) != harness.STEPS or len(b) != harness.STEPS:
            raise SystemExit(
                f"sentence {row}: {name} decoded {len(a)} tokens and ours {len(b)}, not {harness.STEPS}"
            )
        if a != b:
            place = next(i for i in range(harness.STEPS) if a[i] != b[i])
            state = receiver(
                received[row : row + 1], batch.source_mask[row : row + 1], torch.tensor([[BOS, *b[:place]]])
            )
            logits = receiver.project(state[0, -1])
            if abs(logits[a[place]] - logits[b[place]]) > TIE:
                raise SystemExit(
                    f"sentence {row}, token {place}: {name} says {a[place]} and ours {b[place]}, and this is "
                    "no tie"
                )
            ties += 1
    print(f"{name} and ours decode the same tokens of {len(ours)} sentences, {ties} of which part at a tie\n")


def ctranslate2_of(model: Transceiver, folder: str):
    """A CTranslate2 translator with the encoder's and the decoder's weights of ``model``; the model's files
    go to ``folder``."""
    import ctranslate2
    from ctranslate2.specs import TransformerSpec

    a = model.architecture
    spec = TransformerSpec.from_config(
        (a.transmitter.layers, a.receiver.layers), a.transmitter.num_heads, pre_norm=False
    )
    spec.config.layer_norm_epsilon = LAYER_NORM_EPS
    encoder, decoder = model.transmitter.encoder, model.receiver.decoder
    set_embedding(spec.encoder.embeddings[0], spec.encoder.position_encodings, encoder)
    set_embedding(spec.decoder.embeddings, spec.decoder.position_encodings, decoder)
    set_linear(spec.decoder.projection, decoder.projection)
    for layer_spec, layer in zip(
        [*spec.encoder.layer, *spec.decoder.layer], [*encoder.layers, *decoder.layers]
    ):
        set_layer(layer_spec, layer)
    words = [word(piece) for piece in range(a.vocab_size)]
    spec.register_source_vocabulary(words)
    spec.register_target_vocabulary(words)
    spec.validate()
    spec.optimize(quantization="float32")
    spec.save(folder)
    return ctranslate2.Translator(
        folder, device="cpu", compute_type="float32", inter_threads=1, intra_threads=torch.get_num_threads()
    )


def set_embedding(embeddings, positions, end) -> None:
    embeddings.weight = end.embedding.table.weight.detach().numpy()
    positions.encodings = sinusoidal_positions(512, embeddings.weight.shape[1]).numpy()


def set_layer(spec, layer) -> None:
    attention = layer.attention
    set_linear(spec.self_attention.linear[0], attention.query, attention.key, attention.value)
    set_linear(spec.self_attention.linear[1], attention.output)
    set_norm(spec.self_attention.layer_norm, layer.after_attention.norm)
    if hasattr(spec, "attention"):
        cross = layer.cross_attention
        set_linear(spec.attention.linear[0], cross.query)
        set_linear(spec.attention.linear[1], cross.key, cross.value)
        set_linear(spec.attention.linear[2], cross.output)
        set_norm(spec.attention.layer_norm, layer.after_cross_attention.norm)
    set_linear(spec.ffn.linear_0, layer.feed_forward[0])
    set_linear(spec.ffn.linear_1, layer.feed_forward[2])
    set_norm(spec.ffn.layer_norm, layer.after_feed_forward.norm)


def set_linear(spec, *layers: nn.Linear) -> None:
    spec.weight = torch.cat([layer.weight.detach() for layer in layers]).numpy()
    spec.bias = torch.cat([layer.bias.detach() for layer in layers]).numpy()


def set_norm(spec, norm: nn.LayerNorm) -> None:
    spec.gamma, spec.beta = norm.weight.detach().numpy(), norm.bias.detach().numpy()


if __name__ == "__main__":
    main()
