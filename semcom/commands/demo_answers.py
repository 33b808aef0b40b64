"""What the demo's page answers: a sentence and its circumstances in, fragments of the page out."""

import functools
import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

from semcom.base.errors import SemcomError
from semcom.base.failures import code_and_message
from semcom.base.messages import N_
from semcom.channel.channels import Channel, make_channel
from semcom.channel.settings import KINDS, ChannelConfig
from semcom.data.cleaning import clean
from semcom.data.sentences import Sentence
from semcom.evaluation.heard_sentence import Heard, as_sent, hear
from semcom.evaluation.parting import parting
from semcom.evaluation.sentence_fate import fate
from semcom.models.checkpoint import Checkpoint
from semcom.report import sentence_page
from semcom.report.catalogue import translation
from semcom.report.settings import LANGUAGES

if TYPE_CHECKING:
    import pandas as pd

    from semcom.commands.dial_stops import Stops

log = logging.getLogger(__name__)

DIALLED = N_("dialled hybrid")
LONGEST = 300
"""Characters of a sentence."""
MOST_PIECES = 100
"""Of a sentence: what is computed grows with their square."""
LOWEST_SNR, HIGHEST_SNR = -9.0, 18.0
FATE_SNRS = (-9.0, -6.0, -3.0, 0.0, 3.0, 6.0, 9.0, 12.0, 15.0, 18.0)
"""As far as one may ask, so that the line of the SNR stands where it is."""
FATE_DRAWS = 8
FIRST_SNRS = (6.0, 9.0, 3.0, 0.0)
"""Of the page when it is opened: the first at which a sentence parts the receivers."""
SECONDS = 15.0
"""A sentence that has taken so long has no curve."""
KEPT = 256
"""Curves of earlier sentences, which do not change with the SNR."""
LARGEST_SEED = 2**31 - 1
TOO_LONG = N_("The sentence is too long: {count} characters, {most} are allowed.")
TOO_MANY_PIECES = N_("The sentence is too long: {count} tokens, {most} are allowed.")
EMPTY = N_("Type a sentence, or click on one of the examples.")
WRONG = N_("The SNR is a number in dB from {low} to {high}, the noise seed a whole number of 0 or more.")
NO_SUCH_CHANNEL = N_("There is no such channel.")
FAULT = N_("Something went wrong; the console says what.")
TOO_SLOW = N_("The curve over SNR is left out: this machine is too busy.")
ONE_RECEIVER = N_("A second receiver is wanted to part from; name another checkpoint.")
VOCABULARIES = N_("These receivers have different vocabularies: no piece is common to all.")


@dataclass(frozen=True)
class Asked:
    """What the page asks. stop: of the dial."""

    text: str
    channel: str
    snr: float
    seed: int
    stop: int = 0
    language: str = "en"


class Refused(Exception):
    """What was asked is not answered; the message is for the visitor."""


class Answers:
    """models: by label, those that stand always. path: what the dial goes through, if there is one."""

    def __init__(
        self,
        models: Mapping[str, Checkpoint],
        channel: ChannelConfig,
        path: "Stops | None" = None,
    ):
        self.models, self.channel, self.path = models, channel, path
        self.stops = path.stops if path else []
        self.first_stop = 3 * max(0, len(self.stops) - 1) // 4
        """Of the dial when the page is opened: half a way to what has learnt understands little."""
        self._fate_of = functools.lru_cache(KEPT)(self._fate_alone)

    def answer(
        self, text: object, channel: object, snr: object, seed: object, stop: object, language: object
    ) -> tuple[str, str, str]:
        """What the dial reads, the receivers' cards and the pictures below them, as HTML. Whatever is given,
        nothing is raised: it comes from the page, or from whoever writes to its address."""
        started = time.monotonic()
        in_words = language if language in LANGUAGES else "en"
        _ = translation(str(in_words)).gettext
        try:
            asked = self.checked(text, channel, snr, seed, stop, str(in_words))
            heard = self.heard(asked)
            cards = sentence_page.receivers(heard, asked.language)
            return (
                _whole(self.reading(asked)),
                _whole(cards),
                _whole(self.pictures(asked, heard, time.monotonic() - started)),
            )
        except (Refused, SemcomError) as why:
            return "", _whole(sentence_page.note(str(why), "wrong")), ""
        except Exception as error:
            log.error(code_and_message(error)[1])
            return "", _whole(sentence_page.note(_(FAULT), "wrong")), ""

    # Six arguments and the language: what the page asks, from a stranger.
    def checked(
        self, text: object, channel: object, snr: object, seed: object, stop: object, language: str
    ) -> Asked:
        """Raises Refused, in the language, for what is not allowed."""
        _ = translation(language).gettext
        if not isinstance(text, str) or not clean(text[: LONGEST + 1]):
            raise Refused(_(EMPTY))
        if len(text) > LONGEST:
            raise Refused(_(TOO_LONG).format(count=len(text), most=LONGEST))
        if not isinstance(channel, str) or channel not in KINDS:
            raise Refused(_(NO_SUCH_CHANNEL))
        numbers = _number(snr, LOWEST_SNR, HIGHEST_SNR), _number(seed, 0, LARGEST_SEED)
        if numbers[0] is None or numbers[1] is None or numbers[1] % 1:
            raise Refused(_(WRONG).format(low=f"{LOWEST_SNR:g}".replace("-", "−"), high=f"{HIGHEST_SNR:g}"))
        place = _number(stop, 0, max(0, len(self.stops) - 1)) or 0
        asked = Asked(text, channel, numbers[0], int(numbers[1]), int(place), language)
        most = self._most_pieces(asked)
        if most > MOST_PIECES:
            raise Refused(_(TOO_MANY_PIECES).format(count=most, most=MOST_PIECES))
        return asked

    def _most_pieces(self, asked: Asked) -> int:
        text = self.sent(asked.text).text
        return max(len(c.vocabulary.encode([text])[0]) for c in self.models.values())

    def present(self, stop: int) -> dict[str, Checkpoint]:
        """All receivers while the dial stands there."""
        dialled = {DIALLED: self.stops[stop].hybrid} if self.stops else {}
        return {**self.models, **dialled}

    def reading(self, asked: Asked) -> str:
        """Of the dial."""
        if self.path is None:
            return ""
        stop, where = self.stops[asked.stop], (self.path.sentences, self.path.channel, self.path.snr)
        return sentence_page.reading(stop.place, stop.kl, stop.bleu, *where, asked.language)

    def through(self, name: str) -> Channel:
        return make_channel(replace(self.channel, channel=name))

    def heard(self, asked: Asked) -> list[Heard]:
        models = self.present(asked.stop)
        return hear(models, self.sent(asked.text), self.through(asked.channel), asked.snr, asked.seed)

    def first_seen(self, texts: Sequence[str], seed: int) -> tuple[list[str], float]:
        """The same sentences, the first that the receivers understand differently ahead of all others, and
        the SNR at which they do; as they are, where no receiver differs."""
        # A hybrid of the dial that has not learnt yet differs whatever is sent.
        standing = self.models if len(self.models) > 1 else self.present(self.first_stop)
        for snr, text in product(FIRST_SNRS, texts):
            heard = hear(standing, self.sent(text), self.through(self.channel.channel), snr, seed)
            if len({one.text for one in heard}) > 1:
                return sorted(texts, key=lambda other: other != text), snr
        return list(texts), FIRST_SNRS[0]

    def sent(self, text: str) -> Sentence:
        """The sentence, the same to receivers of all vocabularies, so that all meet one draw."""
        return as_sent(text, [c.vocabulary for c in self.models.values()])

    def pictures(self, asked: Asked, heard: Sequence[Heard], seconds: float) -> str:
        """All below the cards. seconds: since the sentence was asked for."""
        parts = [self._parting(asked, heard), self._curve(asked, seconds)]
        parts += [sentence_page.constellations(heard, asked.language)]
        return f'<div class="pictures">{"".join(parts)}</div>' + sentence_page.attentions(
            heard, asked.language
        )

    def _parting(self, asked: Asked, heard: Sequence[Heard]) -> str:
        """Of the first receiver and the first that understood something else, or, if all understood the same,
        the last."""
        _ = translation(asked.language).gettext
        if len(heard) < 2:
            return sentence_page.note(_(ONE_RECEIVER))
        first, *others = heard
        other = next((one for one in others if one.text != first.text), others[-1])
        models = self.present(asked.stop)
        two = {label: models[label] for label in (first.label, other.label)}
        found = parting(two, self.sent(asked.text), self.through(asked.channel), asked.snr, asked.seed)
        if found is None:
            return sentence_page.note(_(VOCABULARIES))
        numbers = [heard.index(first), heard.index(other)]
        return sentence_page.parting(found, numbers, asked.language)

    def _curve(self, asked: Asked, seconds: float) -> str:
        if seconds > SECONDS:
            return sentence_page.note(translation(asked.language).gettext(TOO_SLOW))
        return sentence_page.fate(self._fate(asked), asked.snr, FATE_DRAWS, asked.language)

    def _fate(self, asked: Asked) -> "pd.DataFrame":
        import pandas as pd

        return pd.concat(
            # The curves of those that the dial does not move are kept whatever it reads.
            self._fate_of(asked.text, asked.channel, asked.seed, label, asked.stop if label == DIALLED else 0)
            for label in self.present(asked.stop)
        )

    def _fate_alone(self, text: str, channel: str, seed: int, label: str, stop: int) -> "pd.DataFrame":
        model = {label: self.present(stop)[label]}
        return fate(model, self.sent(text), self.through(channel), FATE_SNRS, seed, draws=FATE_DRAWS)


def _number(value: object, low: float, high: float) -> float | None:
    """A number within these bounds, else None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value if math.isfinite(value) and low <= value <= high else None


def _whole(fragments: str) -> str:
    return f'<div class="sentence">{fragments}</div>'
