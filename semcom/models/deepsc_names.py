"""The tensors of public DeepSC code: their names there and here, and what they must be to be taken over."""

import re

import torch
from torch import Tensor

from semcom.base.errors import SemcomError
from semcom.data.settings import MAX_POSITIONS
from semcom.models.layers import sinusoidal_positions

POSITION_TABLES = ("encoder.pos_encoding.pe", "decoder.pos_encoding.pe")
OUR_TABLES = ("transmitter.encoder.embedding.positions", "receiver.decoder.embedding.positions")
# Tables are float32 sines of arguments up to a thousand, made by another machine's library.
POSITION_TOLERANCE = 1e-4
UNALTERED = "only unaltered DeepSC models can be imported"

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


def layers_of(state: dict[str, Tensor], prefix: str, where: str) -> int:
    """How many there are under this prefix. Raises SemcomError unless they are numbered from 0 on."""
    numbered = re.compile(re.escape(prefix) + r"\.(\d{1,4})\.")
    found = {int(match[1]) for match in map(numbered.match, state) if match}
    if not found or found != set(range(len(found))):
        missing = next(n for n in range(len(found) + 1) if n not in found)
        raise SemcomError(f"{where}: tensors of {prefix}.{missing} are missing; {UNALTERED}")
    return len(found)


def tensor_of(state: dict[str, Tensor], name: str, shape: tuple[int | None, ...], where: str) -> Tensor:
    """The named tensor, of this shape (None is any size), floating and finite. Raises SemcomError."""
    wanted = "x".join("any" if size is None else str(size) for size in shape)
    if name not in state:
        raise SemcomError(f"{where}: tensor {name} ({wanted}) is missing; {UNALTERED}")
    tensor = state[name]
    fits = tensor.dim() == len(shape) and all(
        size in (None, given) for size, given in zip(shape, tensor.shape)
    )
    if not fits or not tensor.numel():
        raise SemcomError(
            f"{where}: tensor {name} has shape {_shape(tensor)}, expected {wanted}; {UNALTERED}"
        )
    if not tensor.is_floating_point() or not tensor.isfinite().all():
        what = "numbers that are not finite" if tensor.is_floating_point() else str(tensor.dtype)
        raise SemcomError(f"{where}: tensor {name} holds {what}; a trained model has finite floating weights")
    return tensor


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "of a number"


def positions_of(state: dict[str, Tensor], name: str, width: int, where: str) -> tuple[int, Tensor | None]:
    """Rows of a position table, which must be the usual sines and cosines as far as we use it, 0 where there
    is none; and the table, where its bits are not ours. Raises SemcomError."""
    if name not in state:
        return 0, None
    table = state[name]
    fits = table.dim() in (2, 3) and table.shape[-1] == width and table.numel() == table.shape[-2] * width
    if not fits or not table.is_floating_point():
        raise SemcomError(
            f"{where}: tensor {name} is {table.dtype} of shape {_shape(table)}, expected are "
            f"floating 1xLENGTHx{width}"
        )
    rows = min(table.shape[-2], MAX_POSITIONS)
    given, usual = table.reshape(-1, width)[:rows].float(), sinusoidal_positions(rows, width)
    difference = float((given - usual).abs().max()) if rows else 0.0
    if not difference <= POSITION_TOLERANCE + torch.finfo(table.dtype).eps:
        raise SemcomError(
            f"{where}: tensor {name} is not the table of sines and cosines that public code makes "
            f"(it differs by {difference:.2g}); learned or altered positions cannot be imported"
        )
    whole = sinusoidal_positions(MAX_POSITIONS, width)
    whole[:rows] = given
    return table.shape[-2], None if torch.equal(given, usual) else whole
