"""What a channel is: all channels are this class's.

Letters: B sentences, S source tokens, C real channel dimensions a token.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import ClassVar

import torch
from torch import Tensor

from semcom.channel.deepsc_link import PublicLink
from semcom.channel.draws import Draw
from semcom.channel.gains import Theory
from semcom.channel.observation import Observation, complex_symbols
from semcom.channel.settings import ChannelConfig


def noise_power(signal: Tensor, snr_db: Tensor | float) -> Tensor:
    """N0 per complex symbol, [B, 1, 1]."""
    snr_db = torch.as_tensor(snr_db, dtype=signal.dtype, device=signal.device).expand(signal.shape[0])
    return (10 ** (-snr_db / 10))[:, None, None]


@dataclass(frozen=True)
class Channel(ABC):
    """A deterministic channel model; all randomness is in the ``Draw``. Its fields are those settings of
    ``ChannelConfig`` that it has.

    name: that of its row in ``CHANNELS`` and in ``settings.KINDS``. in_label: fields that ``label``
    tells.
    """

    name: ClassVar[str]
    in_label: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def of(cls, settings: ChannelConfig) -> "Channel":
        return cls(**{f.name: getattr(settings, f.name) for f in fields(cls)})

    def draw(self, generator: torch.Generator, length: int, width: int) -> Mapping[str, Tensor]:
        """What a sentence of ``length`` tokens meets here beside level, scatter and noise, drawn after those
        three from ``generator`` alone: name -> [length, ...], a row a token, in units that no SNR changes.

        ``width`` is C. What belongs to the whole sentence is the same in each row.
        """
        return {}

    @abstractmethod
    def apply(self, signal: Tensor, draw: Draw, snr_db: Tensor | float) -> Tensor:
        """What the receiver has after its equaliser.

        signal: [B, S, C], power 1 per complex symbol. snr_db: a number or [B]. Returns [B, S, C]; padded
        positions stay zero.
        """

    def observe(self, signal: Tensor, draw: Draw, snr_db: Tensor | float) -> Observation:
        """What the receiver has before its equaliser; the arguments are those of ``apply``.

        Where nothing fades, that is what ``apply`` returns, of gain 1.
        """
        y = complex_symbols(self.apply(signal, draw, snr_db))
        n0 = noise_power(signal, snr_db)
        return Observation(y, torch.ones_like(y), torch.zeros_like(n0), n0)

    def pilots(self, symbols: int) -> int:
        """Pilots of unit power that go with ``symbols`` complex symbols of a sentence."""
        return 0

    def uses(self, symbols: int) -> float:
        """Channel uses of ``symbols`` complex symbols of a sentence, with pilots and prefix."""
        return symbols + self.pilots(symbols)

    def charge_db(self, symbols: Sequence[int]) -> float:
        """By how many dB the SNR is above that told, once the energy of pilots is the data's too: 10 log10 of
        (N + P)/N over sentences of so many complex symbols."""
        data = sum(symbols)
        return 10 * math.log10((data + sum(map(self.pilots, symbols))) / data)

    @property
    def label(self) -> str:
        """Its name and what it has of the gain's settings; the name first."""
        return self.name

    def __str__(self) -> str:
        """The label and all other settings."""
        others = [str(getattr(self, f.name)) for f in fields(self) if f.name not in self.in_label]
        return " ".join([self.label, *others])

    @property
    def key(self) -> dict[str, object]:
        """All that decides what it makes of a signal and a draw, as JSON gives it back."""
        # Files kept by earlier versions name K and equaliser of every channel, and stay valid.
        return {"kind": self.name, "rician_k": 1.0, "equalizer": "zf", **asdict(self)}

    @property
    def theory(self) -> Theory | None:
        """What the doctor holds it against; None: nothing."""
        return None

    @property
    def public_link(self) -> PublicLink | None:
        """Its counterpart in the public DeepSC code; None: there is none."""
        return None
