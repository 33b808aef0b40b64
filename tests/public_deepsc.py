"""The forward pass of public DeepSC code, written anew from its formulas over a plain state dict; and random
ones to run it on.

Nothing of the package is used here: this is the second derivation that import and export are held against.
"""

import json
import math

import torch


def positions(length, width):
    place, i = torch.arange(length, dtype=torch.float32)[:, None], torch.arange(width)
    angle = place * torch.exp((i - i % 2).float() * -(math.log(10000.0) / width))
    return torch.where(i % 2 == 0, torch.sin(angle), torch.cos(angle))


def random_state(
    v=30,
    d=16,
    dff=24,
    c=8,
    hidden=20,
    wide=28,
    encoder_layers=2,
    decoder_layers=2,
    length=40,
    d_receiver=None,
    seed=0,
):
    """Weights under the public names, uniform within fan_in^-0.5; norms away from 1 and 0."""
    generator = torch.Generator().manual_seed(seed)
    e = d_receiver or d
    state = {}

    def uniform(name, *shape, bound):
        state[name] = (torch.rand(*shape, generator=generator) * 2 - 1) * bound

    def linear(name, inputs, outputs):
        uniform(f"{name}.weight", outputs, inputs, bound=inputs**-0.5)
        uniform(f"{name}.bias", outputs, bound=inputs**-0.5)

    def norm(name, width):
        uniform(f"{name}.weight", width, bound=0.3)
        state[f"{name}.weight"] += 1
        uniform(f"{name}.bias", width, bound=0.3)

    for end, layers, width, attentions, norms, stack in (
        ("encoder", encoder_layers, d, ["mha"], 2, "enc_layers"),
        ("decoder", decoder_layers, e, ["self_mha", "src_mha"], 3, "dec_layers"),
    ):
        uniform(f"{end}.embedding.weight", v, width, bound=1.0)
        state[f"{end}.pos_encoding.pe"] = positions(length, width)[None]
        for n in range(layers):
            for attention in attentions:
                for part in ("wq", "wk", "wv", "dense"):
                    linear(f"{end}.{stack}.{n}.{attention}.{part}", width, width)
            linear(f"{end}.{stack}.{n}.ffn.w_1", width, dff)
            linear(f"{end}.{stack}.{n}.ffn.w_2", dff, width)
            for k in range(norms):
                norm(f"{end}.{stack}.{n}.layernorm{k + 1}", width)
    linear("channel_encoder.0", d, hidden)
    linear("channel_encoder.2", hidden, c)
    linear("channel_decoder.linear1", c, e)
    linear("channel_decoder.linear2", e, wide)
    linear("channel_decoder.linear3", wide, e)
    norm("channel_decoder.layernorm", e)
    linear("dense", e, v)
    return state


class Public:
    """The public forward over ``state``, in the precision of ``dtype``."""

    def __init__(self, state, heads, dtype=torch.float64):
        self.w = {name: tensor.to(dtype) for name, tensor in state.items()}
        self.heads = heads

    def linear(self, name, x):
        return x @ self.w[f"{name}.weight"].T + self.w[f"{name}.bias"]

    def norm(self, name, x):
        centred = x - x.mean(-1, keepdim=True)
        return (
            centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt() * self.w[f"{name}.weight"]
            + self.w[f"{name}.bias"]
        )

    def attend(self, name, queries, memory, mask):
        q, k, v = (
            self.linear(f"{name}.wq", queries),
            self.linear(f"{name}.wk", memory),
            self.linear(f"{name}.wv", memory),
        )
        width = q.shape[-1] // self.heads
        mixed = []
        for head in range(self.heads):
            part = slice(head * width, (head + 1) * width)
            scores = q[..., part] @ k[..., part].transpose(1, 2) / math.sqrt(width)
            if mask is not None:
                scores = scores + mask * -1e9
            mixed.append(scores.softmax(-1) @ v[..., part])
        return self.linear(f"{name}.dense", torch.cat(mixed, -1))

    def feed_forward(self, name, x):
        return self.linear(f"{name}.w_2", self.linear(f"{name}.w_1", x).relu())

    def embed(self, end, ids):
        table = self.w[f"{end}.embedding.weight"]
        return table[ids] * math.sqrt(table.shape[1]) + self.w[f"{end}.pos_encoding.pe"][:, : ids.shape[1]]

    def layers(self, prefix):
        return sorted({int(name.split(".")[2]) for name in self.w if name.startswith(f"{prefix}.")})

    def symbols(self, source):
        """[B, S] ids padded with 0 -> [B, S, C], before power is scaled."""
        mask = (source == 0)[:, None, :].to(self.w["dense.weight"].dtype)
        x = self.embed("encoder", source)
        for n in self.layers("encoder.enc_layers"):
            at = f"encoder.enc_layers.{n}"
            x = self.norm(f"{at}.layernorm1", x + self.attend(f"{at}.mha", x, x, mask))
            x = self.norm(f"{at}.layernorm2", x + self.feed_forward(f"{at}.ffn", x))
        return self.linear("channel_encoder.2", self.linear("channel_encoder.0", x).relu())

    def logits(self, received, target_in, source=None):
        """[B, S, C] and [B, T] -> [B, T, V]; with ``source`` its padding is masked, as in training."""
        u = self.linear("channel_decoder.linear1", received)
        memory = self.norm(
            "channel_decoder.layernorm",
            u
            + self.linear("channel_decoder.linear3", self.linear("channel_decoder.linear2", u.relu()).relu()),
        )
        ahead = torch.ones(target_in.shape[1], target_in.shape[1]).triu(1)[None].to(received.dtype)
        ahead = torch.maximum(ahead, (target_in == 0)[:, None, :].to(received.dtype))
        unsent = None if source is None else (source == 0)[:, None, :].to(received.dtype)
        x = self.embed("decoder", target_in)
        for n in self.layers("decoder.dec_layers"):
            at = f"decoder.dec_layers.{n}"
            x = self.norm(f"{at}.layernorm1", x + self.attend(f"{at}.self_mha", x, x, ahead))
            x = self.norm(f"{at}.layernorm2", x + self.attend(f"{at}.src_mha", x, memory, unsent))
            x = self.norm(f"{at}.layernorm3", x + self.feed_forward(f"{at}.ffn", x))
        return self.linear("dense", x)


def scale_power(x):
    """The public rule: over the whole batch, and down only."""
    rms = x.square().mean().sqrt()
    return x / rms if rms > 1 else x


def batch(v=30, lengths=(9, 5, 7), seed=1):
    """Padded source ids with START and END, and target prefixes, both [B, S]."""
    generator = torch.Generator().manual_seed(seed)
    source = torch.zeros(len(lengths), max(lengths), dtype=torch.long)
    for row, length in enumerate(lengths):
        source[row, :length] = torch.tensor(
            [1, *torch.randint(4, v, (length - 2,), generator=generator).tolist(), 2]
        )
    return source, source[:, :-1]


WORDS = (
    "",
    "!",
    "session",
    "resumption",
    "of",
    "the",
    "we",
    "vote",
    "on",
    "report",
    "is",
    "closed",
    "mr",
    "president",
    "madam",
    "this",
    "that",
    "thank",
    "you",
    "very",
    "much",
    "debate",
    "open",
    "tomorrow",
    "will",
    "take",
)


def vocabulary(words=WORDS):
    """The JSON of ``words`` behind the four specials."""
    return json.dumps(
        {"token_to_idx": {word: i for i, word in enumerate(["<PAD>", "<START>", "<END>", "<UNK>", *words])}}
    )
