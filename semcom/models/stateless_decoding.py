"""A transformer's decoding as functions of tensors alone, keys and values handed in and out: for graphs that
other programs run.

Letters: B sentences, S source tokens, T target tokens so far, V pieces, C real channel dimensions a token, L
layers, H heads, D model width.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from semcom.models.transformer import TransformerReceiver


class DecodingStart(nn.Module):
    """Received [B, S, C] and mask [B, S] -> keys and values of what was received, [L, B, H, S, D/H] each."""

    def __init__(self, receiver: "TransformerReceiver"):
        super().__init__()
        self.receiver = receiver

    def forward(self, received: Tensor, source_mask: Tensor) -> tuple[Tensor, Tensor]:
        memory = self.receiver.channel_decoder(received)
        made = [layer.cross_attention.keys_values(memory) for layer in self.receiver.decoder.layers]
        keys, values = zip(*made)
        return torch.stack(keys), torch.stack(values)


class DecodingStep(nn.Module):
    """The tokens that follow [B], keys and values of the T tokens so far, [L, B, H, T, D/H] each, those of
    what was received, [L, B, H, S, D/H] each, and its mask [B, S] -> logits of the next tokens [B, V], and
    keys and values with those of the new tokens, [L, B, H, T + 1, D/H] each. T is 0 at first."""

    def __init__(self, receiver: "TransformerReceiver"):
        super().__init__()
        self.receiver = receiver

    # Six arguments beside itself: all that is known.
    def forward(
        self,
        tokens: Tensor,
        keys: Tensor,
        values: Tensor,
        memory_keys: Tensor,
        memory_values: Tensor,
        source_mask: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        decoder = self.receiver.decoder
        place = torch.full((1,), keys.shape[3], device=tokens.device)
        x = decoder.embedding.at(tokens[:, None], place)
        mask = source_mask[:, None, None, :]
        grown_keys, grown_values = [], []
        for index, layer in enumerate(decoder.layers):
            new_keys, new_values = layer.attention.keys_values(x)
            past = torch.cat((keys[index], new_keys), 2), torch.cat((values[index], new_values), 2)
            x = layer(x, past, None, (memory_keys[index], memory_values[index]), mask)
            grown_keys.append(past[0])
            grown_values.append(past[1])
        return self.receiver.project(x[:, 0]), torch.stack(grown_keys), torch.stack(grown_values)
