"""The baseline of the benchmarks: a distillation step and a greedy decoder as textbooks and public DeepSC
code write them.

Explicit attention with an additive mask, every sentence padded to one length, full logits of both models,
``F.kl_div`` over them, ``torch.optim.Adam``, and a decoder that runs anew over the whole prefix for every
token. Modules bear the names that semcom's bear, so a state dict of one loads into the other.

Letters: B sentences, S source tokens, T target tokens, V pieces, D model width, H heads, C real channel
dimensions a token.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semcom.data.vocabulary import BOS, PAD
from semcom.models.architecture import Architecture
from semcom.models.layers import sinusoidal_positions
from semcom.models.transformer import TransformerSize


class Embedding(nn.Module):
    def __init__(self, vocab_size: int, width: int, dropout: float):
        super().__init__()
        self.table = nn.Embedding(vocab_size, width)
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("positions", sinusoidal_positions(512, width), persistent=False)

    def forward(self, ids: Tensor) -> Tensor:
        """[B, T] -> [B, T, D]"""
        embedded = self.table(ids) * math.sqrt(self.table.embedding_dim)
        return self.dropout(embedded + self.positions[: ids.shape[1]])


class Attention(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.output = (nn.Linear(width, width) for _ in range(4))

    def split(self, x: Tensor) -> Tensor:
        """[B, T, D] -> [B, H, T, D/H]"""
        return x.view(x.shape[0], x.shape[1], self.heads, -1).transpose(1, 2)

    def forward(self, x: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        """x: [B, T, D]; memory: [B, S, D]; mask: broadcasts to [B, H, T, S], 0 where attended, -1e9
        elsewhere. Returns [B, T, D]."""
        queries, keys, values = (
            self.split(self.query(x)),
            self.split(self.key(memory)),
            self.split(self.value(memory)),
        )
        scores = torch.matmul(queries, keys.transpose(-2, -1)) / math.sqrt(queries.shape[-1])
        mixed = torch.matmul(F.softmax(scores + mask, dim=-1), values)
        return self.output(mixed.transpose(1, 2).contiguous().view(x.shape))


class FeedForward(nn.Sequential):
    def __init__(self, width: int, hidden: int):
        super().__init__(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width))


class AddAndNorm(nn.Module):
    def __init__(self, width: int, dropout: float):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, x: Tensor, change: Tensor) -> Tensor:
        return self.norm(x + self.dropout(change))


class EncoderLayer(nn.Module):
    def __init__(self, size: TransformerSize, dropout: float):
        super().__init__()
        self.attention = Attention(size.d_model, size.num_heads)
        self.feed_forward = FeedForward(size.d_model, size.dff)
        self.after_attention = AddAndNorm(size.d_model, dropout)
        self.after_feed_forward = AddAndNorm(size.d_model, dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = self.after_attention(x, self.attention(x, x, mask))
        return self.after_feed_forward(x, self.feed_forward(x))


class DecoderLayer(nn.Module):
    def __init__(self, size: TransformerSize, dropout: float):
        super().__init__()
        self.attention = Attention(size.d_model, size.num_heads)
        self.cross_attention = Attention(size.d_model, size.num_heads)
        self.feed_forward = FeedForward(size.d_model, size.dff)
        self.after_attention = AddAndNorm(size.d_model, dropout)
        self.after_cross_attention = AddAndNorm(size.d_model, dropout)
        self.after_feed_forward = AddAndNorm(size.d_model, dropout)

    def forward(self, x: Tensor, memory: Tensor, mask: Tensor, memory_mask: Tensor) -> Tensor:
        x = self.after_attention(x, self.attention(x, x, mask))
        x = self.after_cross_attention(x, self.cross_attention(x, memory, memory_mask))
        return self.after_feed_forward(x, self.feed_forward(x))


class Encoder(nn.Module):
    def __init__(self, vocab_size: int, size: TransformerSize, dropout: float):
        super().__init__()
        self.embedding = Embedding(vocab_size, size.d_model, dropout)
        self.layers = nn.ModuleList(EncoderLayer(size, dropout) for _ in range(size.layers))

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        x = self.embedding(ids)
        for layer in self.layers:
            x = layer(x, mask)
        return x


class ChannelEncoder(nn.Sequential):
    def __init__(self, width: int, channel_dim: int):
        hidden = Architecture.channel_encoder_hidden
        super().__init__(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, channel_dim))


class ChannelDecoder(nn.Module):
    def __init__(self, channel_dim: int, width: int):
        super().__init__()
        self.linear1 = nn.Linear(channel_dim, width)
        self.linear2 = nn.Linear(width, Architecture.channel_decoder_hidden)
        self.linear3 = nn.Linear(Architecture.channel_decoder_hidden, width)
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, received: Tensor) -> Tensor:
        u = self.linear1(received)
        return self.norm(u + self.linear3(F.relu(self.linear2(F.relu(u)))))


class Decoder(nn.Module):
    def __init__(self, vocab_size: int, size: TransformerSize, dropout: float):
        super().__init__()
        self.embedding = Embedding(vocab_size, size.d_model, dropout)
        self.layers = nn.ModuleList(DecoderLayer(size, dropout) for _ in range(size.layers))
        self.projection = nn.Linear(size.d_model, vocab_size)

    def forward(self, ids: Tensor, memory: Tensor, mask: Tensor, memory_mask: Tensor) -> Tensor:
        x = self.embedding(ids)
        for layer in self.layers:
            x = layer(x, memory, mask, memory_mask)
        return x


class Transmitter(nn.Module):
    def __init__(self, a: Architecture):
        super().__init__()
        self.encoder = Encoder(a.vocab_size, a.transmitter, a.dropout)
        self.channel_encoder = ChannelEncoder(a.transmitter.d_model, a.channel_dim)

    def forward(self, source: Tensor) -> Tensor:
        """[B, S] ids -> [B, S, C], mean power 1 per complex symbol over the real tokens of each sentence."""
        real = (source != PAD).float()[..., None]
        signal = self.channel_encoder(self.encoder(source, padding_mask(source))) * real
        power = signal.square().sum((1, 2), keepdim=True) / (real.sum(1, keepdim=True) * signal.shape[-1] / 2)
        return signal / power.sqrt()


class Receiver(nn.Module):
    def __init__(self, a: Architecture):
        super().__init__()
        self.channel_decoder = ChannelDecoder(a.channel_dim, a.receiver.d_model)
        self.decoder = Decoder(a.vocab_size, a.receiver, a.dropout)

    def states(self, memory: Tensor, source: Tensor, target_in: Tensor) -> Tensor:
        """[B, S, D], [B, S] ids, [B, T] ids -> [B, T, D]"""
        mask = padding_mask(target_in) + causal_mask(target_in.shape[1], target_in.device)
        return self.decoder(target_in, memory, mask, padding_mask(source))

    def forward(self, received: Tensor, source: Tensor, target_in: Tensor) -> Tensor:
        """[B, S, C], [B, S] ids, [B, T] ids -> logits [B, T, V]"""
        return self.decoder.projection(self.states(self.channel_decoder(received), source, target_in))


class Transceiver(nn.Module):
    def __init__(self, architecture: Architecture):
        super().__init__()
        self.transmitter = Transmitter(architecture)
        self.receiver = Receiver(architecture)

    def forward(self, source: Tensor, noise: Tensor, snr_db: Tensor) -> Tensor:
        """[B, S] ids, [B, S, C] noise of unit variance, [B] dB -> logits [B, S-1, V] through an AWGN
        channel."""
        received = awgn(self.transmitter(source), noise, snr_db)
        return self.receiver(received, source, source[:, :-1])


def padding_mask(ids: Tensor) -> Tensor:
    """[B, T] ids -> [B, 1, 1, T] to add to attention scores."""
    return (ids == PAD).float()[:, None, None, :] * -1e9


def causal_mask(length: int, device: torch.device) -> Tensor:
    """[T, T] to add to attention scores."""
    return torch.triu(torch.ones(length, length, device=device), diagonal=1) * -1e9


def awgn(signal: Tensor, noise: Tensor, snr_db: Tensor) -> Tensor:
    """[B, S, C] with noise power 10^(-SNR/10) per complex symbol, half of it per real dimension."""
    return signal + noise * (10 ** (-snr_db / 10) / 2).sqrt()[:, None, None]


def mean_over_real(values: Tensor, targets: Tensor) -> Tensor:
    """[B, T] values and ids -> their mean where no padding stands."""
    real = (targets != PAD).float()
    return (values * real).sum() / real.sum()


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """[B, T, V], [B, T] -> mean over real tokens."""
    values = F.cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1), reduction="none")
    return mean_over_real(values.view(targets.shape), targets)


def distillation_loss(
    logits: Tensor, teacher_logits: Tensor, targets: Tensor, temperature: float, weight: float
) -> Tensor:
    """(1 - weight) * CE + weight * T^2 KL(teacher/T || student/T), each a mean over real tokens. Logits: [B,
    T, V]; targets: [B, T]."""
    divergence = F.kl_div(
        F.log_softmax(logits / temperature, dim=-1),
        F.softmax(teacher_logits / temperature, dim=-1),
        reduction="none",
    )
    soft = temperature**2 * mean_over_real(divergence.sum(-1), targets)
    return (1 - weight) * cross_entropy(logits, targets) + weight * soft


class Distillation:
    """A training step of a student, both ends, from a teacher; of a transceiver alone where ``teacher`` is
    None. products: fp32, or bf16 under torch's autocast."""

    products = "fp32"

    def __init__(
        self,
        student: Transceiver,
        teacher: Transceiver | None,
        *,
        temperature: float = 4.0,
        weight: float = 0.7,
        snr_range: tuple[float, float] = (-6.0, 18.0),
    ):
        self.student, self.teacher = student.train(), teacher and teacher.eval()
        self.temperature, self.weight, self.snr_range = temperature, weight, snr_range
        self.optimizer = torch.optim.Adam(student.parameters(), lr=1e-3, betas=(0.9, 0.98))

    def loss(self, source: Tensor, noise: Tensor, snr_db: Tensor) -> Tensor:
        """[B, S] ids, [B, S, C] noise of unit variance, [B] dB -> the loss."""
        logits, targets = self.student(source, noise, snr_db), source[:, 1:]
        if self.teacher is None:
            return cross_entropy(logits, targets)
        with torch.no_grad():
            teacher_logits = self.teacher(source, noise, snr_db)
        return distillation_loss(logits, teacher_logits, targets, self.temperature, self.weight)

    def step(self, source: Tensor, channel_dim: int) -> float:
        """One step on [B, S] ids; returns the loss."""
        low, high = self.snr_range
        noise = torch.randn(*source.shape, channel_dim, device=source.device)
        snr_db = torch.empty(len(source), device=source.device).uniform_(low, high)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.products == "bf16"):
            loss = self.loss(source, noise, snr_db)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.student.parameters(), 1.0)
        self.optimizer.step()
        return loss.item()


@torch.no_grad()
def greedy(
    receiver: Receiver, received: Tensor, source: Tensor, steps: int, *, project_last_only: bool = False
) -> Tensor:
    """[B, steps]: the most probable next piece, the whole decoder again over the whole prefix for each.

    received: [B, S, C]; source: [B, S] ids, for their padding. Public code projects every position of the
    prefix to the vocabulary and uses the last; with ``project_last_only`` the last alone is projected.
    """
    memory = receiver.channel_decoder(received)
    tokens = torch.full((len(received), 1), BOS, device=received.device)
    for _ in range(steps):
        states = receiver.states(memory, source, tokens)
        logits = receiver.decoder.projection(states[:, -1:] if project_last_only else states)
        tokens = torch.cat([tokens, logits[:, -1:].argmax(-1)], dim=1)
    return tokens[:, 1:]


def like(model: nn.Module) -> Transceiver:
    """The textbook's transceiver with the architecture and the weights of semcom's."""
    made = Transceiver(model.architecture)
    made.load_state_dict(model.state_dict())
    return made.train(model.training)
