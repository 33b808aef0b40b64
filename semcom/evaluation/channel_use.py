"""How much of the channel a text takes: complex symbols, which the field calls channel uses."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from semcom.base.messages import N_, Message
from semcom.data.batching import Encoded
from semcom.data.languages import length


@dataclass(frozen=True)
class ChannelUse:
    """a_token: C/2 complex symbols. a_character: the symbols of all source tokens, bos and eos too, with the
    channel's pilots and prefix, over the characters of the sentences, without blanks and signs on letters;
    None of no characters."""

    a_token: float
    a_character: float | None

    @property
    def told(self) -> Message:
        if self.a_character is None:
            return Message(N_("{a_token:g} a token"), a_token=self.a_token)
        of_both = N_("{a_token:g} a token, {a_character:.2f} a character")
        return Message(of_both, a_token=self.a_token, a_character=self.a_character)

    def __str__(self) -> str:
        return str(self.told)

    def record(self) -> dict[str, object]:
        """As records and results have it."""
        return {"channel_uses_per_token": self.a_token, "channel_uses_per_character": self.a_character}


def channel_use(
    encoded: Sequence[Encoded], channel_dim: int, uses: Callable[[int], float] = float
) -> ChannelUse:
    """Of sentences as a vocabulary cuts them. channel_dim: C. uses: of so many symbols of a sentence, those
    of the channel."""
    a_token = channel_dim / 2
    symbols = sum(uses(len(e.source) * channel_dim // 2) for e in encoded)
    characters = sum(length(e.sentence.text, "characters") for e in encoded)
    return ChannelUse(a_token, symbols / characters if characters else None)
