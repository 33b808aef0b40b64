"""State dicts of public DeepSC code (Xie et al. 2021, arXiv 2006.10685, in PyTorch) as transceivers, and
back.

The architecture is the same, so weights keep their values and only change their names. What differs is the
link between the ends: there a signal has power 1 per real dimension, here 1 per complex symbol, which is half
of it.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from semcom.base.errors import SemcomError, escape
from semcom.data.settings import MAX_POSITIONS
from semcom.models.architecture import LIMITS, Architecture
from semcom.models.deepsc_names import (
    OUR_TABLES,
    POSITION_TABLES,
    UNALTERED,
    layers_of,
    names,
    positions_of,
    tensor_of,
)
from semcom.models.layers import sinusoidal_positions
from semcom.models.transceiver import Transceiver
from semcom.models.transformer import LIMITS as END_LIMITS
from semcom.models.transformer import TransformerReceiver, TransformerSize, TransformerTransmitter

USUAL = {
    "encoder.embedding.weight",
    "channel_encoder.0.weight",
    "channel_decoder.linear1.weight",
    "decoder.embedding.weight",
    "dense.weight",
}
"""Names by which a public model is known."""
AMPLITUDE = math.sqrt(2)
LAYERS = ("encoder.enc_layers", "decoder.dec_layers")
PUBLIC_CHANNEL_ENCODER, PUBLIC_CHANNEL_DECODER = (256, 16), 512
MOST_SHARED = 8  # tied embeddings, of 16 bits each; more than that is not a model
RULE_ACTIVE = 1.0  # root mean square per real dimension above which public code scales a signal down
SOUNDINGS, SOUNDING_LENGTH = 256, 16
MARGIN = 2.0


@dataclass(frozen=True)
class Imported:
    """A public model as a transceiver. positions: rows of its two position tables, 0 where it has none.
    rounded: it was not float32."""

    model: Transceiver
    positions: tuple[int, int]
    rounded: bool


def from_state(state: dict[str, Tensor], heads: int, dropout: float, where: str) -> Imported:
    """The transceiver of a public state dict; sizes are read from the shapes, attention heads leave no trace
    in them.

    where: how messages name the file. Raises SemcomError naming the first tensor that is missing, strange or
    of another shape.
    """
    _check_kin(state, where)
    ends = _ends(state, heads, where)
    architecture = _architecture(state, ends, dropout, where)
    theirs = names(*(end.layers for end in ends))
    with torch.device("meta"):
        sketch = Transceiver(architecture).state_dict()
    wanted = {name: tensor for name, tensor in sketch.items() if name in theirs}
    for name, tensor in wanted.items():
        tensor_of(state, theirs[name], tuple(tensor.shape), where)
    _check_memory(state, 4 * sum(tensor.numel() for tensor in wanted.values()), where)
    (sending_rows, sending_table), (receiving_rows, receiving_table) = (
        positions_of(state, name, end.d_model, where) for name, end in zip(POSITION_TABLES, ends)
    )
    _check_all_known(state, {*theirs.values(), *POSITION_TABLES}, where)
    model = Transceiver(
        replace(
            architecture,
            transmitter=replace(ends[0], stored_positions=sending_table is not None),
            receiver=replace(ends[1], stored_positions=receiving_table is not None),
        )
    )
    tables = zip(OUR_TABLES, (sending_table, receiving_table))
    stored = {name: table for name, table in tables if table is not None}
    model.load_state_dict({name: state[theirs[name]] for name in wanted} | stored)
    rounded = any(state[theirs[name]].dtype != torch.float32 for name in wanted)
    return Imported(model.eval(), (sending_rows, receiving_rows), rounded)


def _check_kin(state: dict[str, Tensor], where: str) -> None:
    """Raise where not one of the usual names is there."""
    if not state.keys() & USUAL:
        found = f"its first tensor is {escape(next(iter(state)))[:80]}" if state else "it holds no tensor"
        raise SemcomError(
            f"{where}: not a state dict of public DeepSC code ({found}); "
            "expected are encoder.embedding.weight, channel_encoder.0.weight and so on"
        )


def _check_memory(state: dict[str, Tensor], claimed: int, where: str) -> None:
    """Raise where far more bytes are claimed than there are."""
    memory = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in state.values()}
    if claimed > MOST_SHARED * (held := sum(memory.values())):
        raise SemcomError(f"{where}: its tensors share {held:,} bytes and would be {claimed:,}; {UNALTERED}")


def _check_all_known(state: dict[str, Tensor], known: set[str], where: str) -> None:
    if strange := sorted(state.keys() - known):
        more = f" (and {len(strange) - 1} more)" if len(strange) > 1 else ""
        raise SemcomError(
            f"{where}: tensor {escape(strange[0])} has no place in the public architecture{more}; {UNALTERED}"
        )


def _ends(state: dict[str, Tensor], heads: int, where: str) -> tuple[TransformerSize, TransformerSize]:
    vocab_size, width = tensor_of(state, "encoder.embedding.weight", (None, None), where).shape
    _, other_width = tensor_of(state, "decoder.embedding.weight", (vocab_size, None), where).shape
    hidden, _ = tensor_of(state, "channel_encoder.0.weight", (None, width), where).shape
    tensor_of(state, "channel_encoder.2.weight", (None, hidden), where)
    tensor_of(state, "channel_decoder.linear2.weight", (None, other_width), where)
    ends = []
    counted = [layers_of(state, prefix, where) for prefix in LAYERS]
    for layers, prefix, d in zip(counted, LAYERS, (width, other_width)):
        if d % heads:
            raise SemcomError(
                f"--heads {heads}: does not divide the model width {d} of {where}; "
                "give the number it was built with"
            )
        dff, _ = tensor_of(state, f"{prefix}.0.ffn.w_1.weight", (None, d), where).shape
        ends.append(TransformerSize(layers, d, heads, dff))
    return ends[0], ends[1]


def _architecture(
    state: dict[str, Tensor], ends: tuple[TransformerSize, TransformerSize], dropout: float, where: str
) -> Architecture:
    """Its sizes, bounded. The tensors that tell them are there."""
    vocab_size = len(state["encoder.embedding.weight"])
    channel_dim, hidden = state["channel_encoder.2.weight"].shape
    decoder_hidden = len(state["channel_decoder.linear2.weight"])
    for name, limit in END_LIMITS.items():
        _check_limit(name, max(getattr(end, name) for end in ends), limit, where)
    for name, size in (
        ("vocab_size", vocab_size),
        ("channel_dim", channel_dim),
        ("channel_encoder_hidden", hidden),
        ("channel_decoder_hidden", decoder_hidden),
    ):
        _check_limit(name, size, LIMITS[name], where)
    if channel_dim % 2:
        raise SemcomError(
            f"{where}: channel_encoder.2.weight sends {channel_dim} real dimensions a token; "
            "two make a complex symbol, so their number must be even"
        )
    return Architecture(vocab_size, *ends, channel_dim, dropout, hidden, decoder_hidden, AMPLITUDE)


def _check_limit(name: str, size: int, limit: int, where: str) -> None:
    if size > limit:
        raise SemcomError(f"{where}: has {name} {size:,}, at most {limit:,} can be imported")


@torch.no_grad()
def loudness(model: Transceiver) -> Tensor:
    """[256] root mean square per real dimension, before any scaling, of sentences of 16 random words: public
    code scales down what is above 1."""
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(
        4, max(5, model.architecture.vocab_size), (SOUNDINGS, SOUNDING_LENGTH), generator=generator
    )
    ids = ids.clamp_max(model.architecture.vocab_size - 1).to(device)
    transmitter = model.transmitter
    symbols = transmitter.channel_encoder(transmitter.encoder(ids, torch.ones_like(ids, dtype=torch.bool)))
    return symbols.float().square().mean((1, 2)).sqrt().cpu()


@dataclass(frozen=True)
class Exported:
    """A state dict for public code. gain: what the last layer of the channel encoder was multiplied by, a
    power of two."""

    state: dict[str, Tensor]
    gain: float


def to_state(model: Transceiver, positions: tuple[int, int], *, keep_level: bool) -> Exported:
    """Weights under the public names, with position tables of these lengths.

    The receiver's first layer takes up what its amplitude differs from the public one. Public code scales a
    signal down only, so a transmitter that was trained here, where the scale of its output means nothing, is
    made loud enough for that rule to act on every sentence; keep_level leaves it alone, as one that comes
    from public code must be. Raises SemcomError where an end is no transformer.
    """
    a = model.architecture
    sizes = _transformers(a)
    ours = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
    if a.amplitude != AMPLITUDE:
        ours["receiver.channel_decoder.linear1.weight"] *= a.amplitude / AMPLITUDE
    gain = 1.0
    if not keep_level and (quietest := float(loudness(model).min())) < MARGIN * RULE_ACTIVE:
        gain = 2.0 ** math.ceil(math.log2(MARGIN * RULE_ACTIVE / max(quietest, 1e-6)))
        for kind in ("weight", "bias"):
            ours[f"transmitter.channel_encoder.2.{kind}"] *= gain
    theirs = names(*(size.layers for size in sizes))
    state = {theirs[name]: tensor for name, tensor in ours.items() if name in theirs}
    for name, rows, own in zip(POSITION_TABLES, positions, _position_tables(model)):
        if rows:
            table, known = sinusoidal_positions(rows, own.shape[1]), min(rows, MAX_POSITIONS)
            table[:known] = own[:known].cpu()
            state[name] = table[None]
    return Exported(state, gain)


def _transformers(a: Architecture) -> tuple[TransformerSize, TransformerSize]:
    if a.aligner is not None or a.snr_aware:
        before = "an aligner" if a.aligner is not None else "a bias made of the SNR"
        raise SemcomError(
            f"its receiver stands behind {before}, for which public DeepSC code has no place; "
            "export the checkpoint that its receiver is from"
        )
    for end, size in (("transmitter", a.transmitter), ("receiver", a.receiver)):
        if not isinstance(size, TransformerSize):
            raise SemcomError(
                f"its {end} is of kind {size.kind}, and public DeepSC code knows transformers alone"
            )
    return a.transmitter, a.receiver  # type: ignore[return-value]  # as was just found out


def _position_tables(model: Transceiver) -> tuple[Tensor, Tensor]:
    assert isinstance(model.transmitter, TransformerTransmitter)
    assert isinstance(model.receiver, TransformerReceiver)
    return model.transmitter.encoder.embedding.positions, model.receiver.decoder.embedding.positions


def constructor(a: Architecture, positions: tuple[int, int]) -> list[str]:
    """Lines of Python that build the public model that such a state dict fits."""
    (t, r), v = _transformers(a), a.vocab_size
    sending, receiving = (rows or v for rows in positions)
    hidden, c = a.channel_encoder_hidden, a.channel_dim
    lines = [
        f"net = DeepSC({t.layers}, {v}, {v}, {sending}, {receiving}, {t.d_model}, {t.num_heads}, {t.dff})"
    ]
    if t != r:
        lines.append(
            f"net.decoder = Decoder({r.layers}, {v}, {receiving}, {r.d_model}, {r.num_heads}, {r.dff})"
        )
    if (hidden, c) != PUBLIC_CHANNEL_ENCODER:
        first, last = f"nn.Linear({t.d_model}, {hidden})", f"nn.Linear({hidden}, {c})"
        lines.append(f"net.channel_encoder = nn.Sequential({first}, nn.ReLU(), {last})")
    usual = PUBLIC_CHANNEL_ENCODER[1], t.d_model, PUBLIC_CHANNEL_DECODER
    if (given := (c, r.d_model, a.channel_decoder_hidden)) != usual:
        lines.append(f"net.channel_decoder = ChannelDecoder{given}")
    if r.d_model != t.d_model:
        lines.append(f"net.dense = nn.Linear({r.d_model}, {v})")
    return lines
