"""The transceiver's encoder and decoder as a model of CTranslate2, which knows no channel."""

import torch
from torch import nn

from benchmarks import harness
from semcom.data.batching import Encoded
from semcom.models.layers import LAYER_NORM_EPS, sinusoidal_positions
from semcom.models.transceiver import Transceiver

SPECIAL = ["<blank>", "<s>", "</s>", "<unk>"]  # pieces 0 to 3, in CTranslate2's words


def translate(translator, encoded: list[Encoded], size: int, width: int = 1) -> list[list[int]]:
    """CTranslate2's way from ids to ids; it sorts by length and forms batches of ``size`` by itself. width:
    of the beam."""
    words = [[word(piece) for piece in e.source] for e in encoded]
    results = translator.translate_batch(
        words,
        max_batch_size=size,
        beam_size=width,
        min_decoding_length=harness.STEPS,
        max_decoding_length=harness.STEPS,
    )
    return [[piece_of(w) for w in result.hypotheses[0]] for result in results]


def word(piece: int) -> str:
    return SPECIAL[piece] if piece < len(SPECIAL) else str(piece)


def piece_of(word: str) -> int:
    return SPECIAL.index(word) if word in SPECIAL else int(word)


def saved(model: Transceiver, folder: str) -> None:
    """The encoder's and the decoder's weights of ``model`` as a CTranslate2 model, to ``folder``."""
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


def translator_of(folder: str, compute_type: str):
    """What translates by the model in ``folder``."""
    import ctranslate2

    threads = torch.get_num_threads()
    return ctranslate2.Translator(
        folder, device="cpu", compute_type=compute_type, inter_threads=1, intra_threads=threads
    )


def compute_types() -> list[str]:
    """Those that CTranslate2 has for this machine, float32 first."""
    import ctranslate2

    there = ctranslate2.get_supported_compute_types("cpu")
    return sorted(there, key=lambda name: (name != "float32", name))


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
