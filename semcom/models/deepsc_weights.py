"""State dicts of public DeepSC code (Xie et al. 2021, arXiv 2006.10685, in PyTorch) as transceivers, and
back.

The architecture is the same, so weights keep their values and only change their names. What differs is the
link between the ends: there a signal has power 1 per real dimension, here 1 per complex symbol, which is half
of it.
"""

import math
import re
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from semcom.base.errors import SemcomError, escape
from semcom.data.settings import MAX_POSITIONS
from semcom.models.layers import sinusoidal_positions
from semcom.models.transceiver import LIMITS, Architecture, EndSize, Transceiver

AMPLITUDE = math.sqrt(2)
PUBLIC_CHANNEL_ENCODER, PUBLIC_CHANNEL_DECODER = (256, 16), 512
POSITION_TABLES = ("encoder.pos_encoding.pe", "decoder.pos_encoding.pe")
OUR_TABLES = ("transmitter.encoder.embedding.positions", "receiver.decoder.embedding.positions")
MOST_SHARED = 8  # tied embeddings, of 16 bits each; more than that is not a model
POSITION_TOLERANCE = (
    1e-4  # tables are float32 sines of arguments up to a thousand, made by another machine's library
)
RULE_ACTIVE = 1.0  # root mean square per real dimension above which public code scales a signal down
SOUNDINGS, SOUNDING_LENGTH = 256, 16
MARGIN = 2.0

_ATTENTION = {"query": "wq", "key": "wk", "value": "wv", "output": "dense"}
_FEED_FORWARD = {"feed_forward.0": "ffn.w_1", "feed_forward.2": "ffn.w_2"}
_ENCODER_LAYER = {
    **{f"attention.{ours}": f"mha.{theirs}" for ours, theirs in _ATTENTION.items()},
    **_FEED_FORWARD,
    "after_attention.norm": "layernorm1",
    "after_feed_forward.norm": "layernorm2",
}
_DECODER_LAYER = {
    **{f"attention.{ours}": f"self_mha.{theirs}" for ours, theirs in _ATTENTION.items()},
    **{f"cross_attention.{ours}": f"src_mha.{theirs}" for ours, theirs in _ATTENTION.items()},
    **_FEED_FORWARD,
    "after_attention.norm": "layernorm1",
    "after_cross_attention.norm": "layernorm2",
    "after_feed_forward.norm": "layernorm3",
}
_CHANNEL = {
    **{f"transmitter.channel_encoder.{i}": f"channel_encoder.{i}" for i in (0, 2)},
    **{f"receiver.channel_decoder.linear{i}": f"channel_decoder.linear{i}" for i in (1, 2, 3)},
    "receiver.channel_decoder.norm": "channel_decoder.layernorm",
}


def names(encoder_layers: int, decoder_layers: int) -> dict[str, str]:
    """Our name of each tensor -> its name in public code."""
    modules = {
        "transmitter.encoder.embedding.table": "encoder.embedding",
        **_CHANNEL,
        "receiver.decoder.embedding.table": "decoder.embedding",
        "receiver.decoder.projection": "dense",
    }
    for n in range(encoder_layers):
        modules |= {
            f"transmitter.encoder.layers.{n}.{ours}": f"encoder.enc_layers.{n}.{theirs}"
            for ours, theirs in _ENCODER_LAYER.items()
        }
    for n in range(decoder_layers):
        modules |= {
            f"receiver.decoder.layers.{n}.{ours}": f"decoder.dec_layers.{n}.{theirs}"
            for ours, theirs in _DECODER_LAYER.items()
        }
    return {
        f"{ours}.{kind}": f"{theirs}.{kind}"
        for ours, theirs in modules.items()
        for kind in (("weight",) if theirs.endswith("embedding") else ("weight", "bias"))
    }


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
    if state and all(name.startswith("module.") for name in state):  # of nn.DataParallel
        state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    if not state.keys() & {
        "encoder.embedding.weight",
        "channel_encoder.0.weight",
        "decoder.embedding.weight",
        "dense.weight",
    }:
        found = f"its first tensor is {escape(next(iter(state)))[:80]}" if state else "it holds no tensor"
        raise SemcomError(
            f"{where}: not a state dict of public DeepSC code ({found}); expected are encoder.embedding.weight, "
            "channel_encoder.0.weight and so on"
        )
    architecture = _architecture(state, heads, dropout, where)
    theirs = names(architecture.transmitter.layers, architecture.receiver.layers)
    with torch.device("meta"):
        wanted = {
            name: tensor for name, tensor in Transceiver(architecture).state_dict().items() if name in theirs
        }
    for name, tensor in wanted.items():
        _tensor(state, theirs[name], tuple(tensor.shape), where)
    held = sum(
        {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in state.values()}.values()
    )
    if (claimed := 4 * sum(tensor.numel() for tensor in wanted.values())) > MOST_SHARED * held:
        raise SemcomError(
            f"{where}: its tensors share {held:,} bytes and would be {claimed:,}; only unaltered DeepSC models can be imported"
        )
    tables = [
        _positions(state, name, size.d_model, where)
        for name, size in zip(POSITION_TABLES, (architecture.transmitter, architecture.receiver))
    ]
    given = [table for _, table in tables]
    architecture = replace(
        architecture,
        **{
            end: replace(getattr(architecture, end), stored_positions=table is not None)
            for end, table in zip(("transmitter", "receiver"), given)
        },
    )
    if strange := sorted(state.keys() - set(theirs.values()) - set(POSITION_TABLES)):
        raise SemcomError(
            f"{where}: tensor {escape(strange[0])} has no place in the public architecture"
            + (f" (and {len(strange) - 1} more)" if len(strange) > 1 else "")
            + "; only unaltered DeepSC models can be imported"
        )
    model = Transceiver(architecture)
    stored = {name: table for name, table in zip(OUR_TABLES, given) if table is not None}
    model.load_state_dict({name: state[theirs[name]] for name in wanted} | stored)
    return Imported(
        model.eval(),
        tuple(rows for rows, _ in tables),
        any(state[theirs[name]].dtype != torch.float32 for name in wanted),
    )


def _architecture(state: dict[str, Tensor], heads: int, dropout: float, where: str) -> Architecture:
    vocab_size, width = _tensor(state, "encoder.embedding.weight", (None, None), where).shape
    _, other_width = _tensor(state, "decoder.embedding.weight", (vocab_size, None), where).shape
    hidden, _ = _tensor(state, "channel_encoder.0.weight", (None, width), where).shape
    channel_dim, _ = _tensor(state, "channel_encoder.2.weight", (None, hidden), where).shape
    decoder_hidden, _ = _tensor(state, "channel_decoder.linear2.weight", (None, other_width), where).shape
    ends = []
    for layers, prefix, d in (
        (_layers(state, "encoder.enc_layers", where), "encoder.enc_layers", width),
        (_layers(state, "decoder.dec_layers", where), "decoder.dec_layers", other_width),
    ):
        if d % heads:
            raise SemcomError(
                f"--heads {heads}: does not divide the model width {d} of {where}; give the number it was built with"
            )
        ends.append(
            EndSize(layers, d, heads, _tensor(state, f"{prefix}.0.ffn.w_1.weight", (None, d), where).shape[0])
        )
    sizes = (
        [("layers", end.layers) for end in ends]
        + [("d_model", end.d_model) for end in ends]
        + [("dff", end.dff) for end in ends]
    )
    for name, size in [
        *sizes,
        ("vocab_size", vocab_size),
        ("channel_dim", channel_dim),
        ("num_heads", heads),
        ("channel_encoder_hidden", hidden),
        ("channel_decoder_hidden", decoder_hidden),
    ]:
        if size > LIMITS[name]:
            raise SemcomError(f"{where}: has {name} {size:,}, at most {LIMITS[name]:,} can be imported")
    if channel_dim % 2:
        raise SemcomError(
            f"{where}: channel_encoder.2.weight sends {channel_dim} real dimensions a token; two make a complex symbol, "
            "so their number must be even"
        )
    return Architecture(vocab_size, *ends, channel_dim, dropout, hidden, decoder_hidden, AMPLITUDE)


def _layers(state: dict[str, Tensor], prefix: str, where: str) -> int:
    found = sorted(
        {int(m[1]) for name in state if (m := re.match(re.escape(prefix) + r"\.(\d{1,4})\.", name))}
    )
    if not found or found != list(range(len(found))):
        missing = next(n for n in range(len(found) + 1) if n not in found)
        raise SemcomError(
            f"{where}: tensors of {prefix}.{missing} are missing; only unaltered DeepSC models can be imported"
        )
    return len(found)


def _tensor(state: dict[str, Tensor], name: str, shape: tuple[int | None, ...], where: str) -> Tensor:
    """The named tensor, of this shape (None is any size), floating and finite."""
    wanted = "x".join("any" if size is None else str(size) for size in shape)
    if name not in state:
        raise SemcomError(
            f"{where}: tensor {name} ({wanted}) is missing; only unaltered DeepSC models can be imported"
        )
    tensor = state[name]
    if (
        tensor.dim() != len(shape)
        or any(size not in (None, given) for size, given in zip(shape, tensor.shape))
        or not tensor.numel()
    ):
        raise SemcomError(
            f"{where}: tensor {name} has shape {'x'.join(map(str, tensor.shape)) or 'of a number'}, expected {wanted}; "
            "only unaltered DeepSC models can be imported"
        )
    if not tensor.is_floating_point() or not tensor.isfinite().all():
        raise SemcomError(
            f"{where}: tensor {name} holds {'numbers that are not finite' if tensor.is_floating_point() else str(tensor.dtype)}; "
            "a trained model has finite floating weights"
        )
    return tensor


def _positions(state: dict[str, Tensor], name: str, width: int, where: str) -> tuple[int, Tensor | None]:
    """Rows of a position table, which must be the usual sines and cosines as far as we use it; and the table,
    where its bits are not ours."""
    if name not in state:
        return 0, None
    table = state[name]
    if (
        not table.is_floating_point()
        or table.dim() not in (2, 3)
        or table.shape[-1] != width
        or table.numel() != table.shape[-2] * width
    ):
        raise SemcomError(
            f"{where}: tensor {name} is {table.dtype} of shape {'x'.join(map(str, table.shape)) or 'of a number'}, expected are "
            f"floating 1xLENGTHx{width}"
        )
    rows = min(table.shape[-2], MAX_POSITIONS)
    given = table.reshape(-1, width)[:rows].float()
    difference = float((given - sinusoidal_positions(rows, width)).abs().max()) if rows else 0.0
    if not difference <= POSITION_TOLERANCE + torch.finfo(table.dtype).eps:
        raise SemcomError(
            f"{where}: tensor {name} is not the table of sines and cosines that public code makes (it differs by "
            f"{difference:.2g}); learned or altered positions cannot be imported"
        )
    whole = sinusoidal_positions(MAX_POSITIONS, width)
    whole[:rows] = given
    return table.shape[-2], None if torch.equal(given, sinusoidal_positions(rows, width)) else whole


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
    from public code must be.
    """
    a = model.architecture
    ours = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
    if a.amplitude != AMPLITUDE:
        ours["receiver.channel_decoder.linear1.weight"] *= a.amplitude / AMPLITUDE
    gain = 1.0
    if not keep_level and (quietest := float(loudness(model).min())) < MARGIN * RULE_ACTIVE:
        gain = 2.0 ** math.ceil(math.log2(MARGIN * RULE_ACTIVE / max(quietest, 1e-6)))
        for kind in ("weight", "bias"):
            ours[f"transmitter.channel_encoder.2.{kind}"] *= gain
    theirs = names(a.transmitter.layers, a.receiver.layers)
    state = {theirs[name]: tensor for name, tensor in ours.items() if name in theirs}
    for name, rows, own in zip(
        POSITION_TABLES, positions, (model.transmitter.encoder, model.receiver.decoder)
    ):
        if rows:
            table, known = (
                sinusoidal_positions(rows, own.embedding.positions.shape[1]),
                min(rows, MAX_POSITIONS),
            )
            table[:known] = own.embedding.positions[:known].cpu()
            state[name] = table[None]
    return Exported(state, gain)


def constructor(a: Architecture, positions: tuple[int, int]) -> list[str]:
    """Lines of Python that build the public model that such a state dict fits."""
    t, r, v = a.transmitter, a.receiver, a.vocab_size
    lengths = [rows or v for rows in positions]
    lines = [
        f"net = DeepSC({t.layers}, {v}, {v}, {lengths[0]}, {lengths[1]}, {t.d_model}, {t.num_heads}, {t.dff})"
    ]
    if t != r:
        lines.append(
            f"net.decoder = Decoder({r.layers}, {v}, {lengths[1]}, {r.d_model}, {r.num_heads}, {r.dff})"
        )
    if (a.channel_encoder_hidden, a.channel_dim) != PUBLIC_CHANNEL_ENCODER:
        h = a.channel_encoder_hidden
        lines.append(
            f"net.channel_encoder = nn.Sequential(nn.Linear({t.d_model}, {h}), nn.ReLU(), nn.Linear({h}, {a.channel_dim}))"
        )
    if (a.channel_dim, r.d_model, a.channel_decoder_hidden) != (
        PUBLIC_CHANNEL_ENCODER[1],
        t.d_model,
        PUBLIC_CHANNEL_DECODER,
    ):
        lines.append(
            f"net.channel_decoder = ChannelDecoder({a.channel_dim}, {r.d_model}, {a.channel_decoder_hidden})"
        )
    if r.d_model != t.d_model:
        lines.append(f"net.dense = nn.Linear({r.d_model}, {v})")
    return lines
