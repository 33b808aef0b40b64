"""What the sections on one study share: its language, its names, its tables and curves over SNR."""

from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass
from functools import cached_property
from gettext import NullTranslations

import pandas as pd

from semcom.base.messages import N_
from semcom.evaluation import frames, measures
from semcom.evaluation.intervals import Interval
from semcom.evaluation.measures import Measure
from semcom.evaluation.pairs import Pair
from semcom.evaluation.study import Study
from semcom.evaluation.text_scoring import TOO_SHORT
from semcom.report.document import Column, Table
from semcom.report.figures import Curve, Curves

RUNGS_SHARE = N_(
    "The hybrids of one ladder come from one run and meet the same sentences and draws: they are not "
    "independent of each other."
)


@dataclass(frozen=True)
class StudyReport:
    """One study's part of the report.

    lost: ``Study.words_lost``. number, teacher: which study of how many, and whose, where there are
    ``several``.
    """

    study: Study
    translation: NullTranslations
    lost: pd.DataFrame
    number: int = 1
    teacher: str = ""
    several: bool = False

    def gettext(self, text: str) -> str:
        """``text`` in the report's language."""
        return self.translation.gettext(text)

    def name(self, base: str) -> str:
        """Of a section, table or figure, once in a report."""
        return f"{base}_{self.number}" if self.several else base

    def title(self, text: str) -> str:
        """Of a section, with what tells its study from the others."""
        if not self.several:
            return text
        return " · ".join(part for part in (text, self.teacher, self.study.channel) if part)

    @property
    def where(self) -> str:
        """The channel, in brackets, where there are several."""
        return f" ({self.study.channel})" if self.several else ""

    @property
    def snr(self) -> str:
        return f"{self.study.reference_snr:g} dB"

    def pair(self, pair: Pair) -> str:
        return self.study.pairing.label(pair)

    @cached_property
    def too_short(self) -> str:
        """A sentence where BLEU says little of the sentences measured, else nothing."""
        texts = [sentence.text for sentence in self.study.sentences]
        scoring = self.study.measured.scoring
        if not scoring.bleu_says_little(texts):
            return ""
        short, tokenizer = scoring.too_short(texts), scoring.tokenizer
        return self.gettext(TOO_SHORT).format(short=short, all=len(texts), tokenizer=tokenizer)

    def first_shown(self, found: Sequence[Measure]) -> Sequence[Measure]:
        """These measures in the order in which they are shown of the sentences measured."""
        return measures.first_of_short_texts(found) if self.too_short else found

    @property
    def first_draws(self) -> list[Pair]:
        """All pairs but the teacher's own under another draw of the channel."""
        return [pair for pair in self.study.pairing.pairs if pair.draw == 0]

    def with_unit(self, text: str, measure: Measure) -> str:
        """``text``, which names the measure, in the report's language and with the unit."""
        if not measure.unit:
            return self.gettext(text)
        told = self.gettext("{measure}, {unit}")
        return told.format(measure=self.gettext(text), unit=self.gettext(measure.unit))

    def followed_label(self, measure: Measure) -> str:
        """Of what is followed of a measure: itself, or its gap to the teacher's."""
        label = self.gettext(measure.label)
        return self.gettext("{measure} gap").format(measure=label) if measure.gap else label

    def listed(self, texts: Sequence[str]) -> str:
        """``texts``, in the report's language already, as a sentence lists them."""
        if len(texts) < 2:
            return "".join(texts)
        *others, last = texts
        several = self.gettext(", ").join(others)
        return self.gettext("{several} and {last}").format(several=several, last=last)

    def first(self, shown: Sized, limit: int) -> str:
        """What a caption adds where not all are shown."""
        if len(shown) <= limit:
            return ""
        return self.gettext(" (the first {limit} of {all})").format(limit=limit, all=len(shown))

    def table(
        self,
        name: str,
        caption: str,
        columns: Mapping[str, Column],
        frame: pd.DataFrame,
        note: str = "",
    ) -> Table:
        """columns: those of ``frame`` that are shown."""
        return Table(self.name(name), caption, columns, frames.none_where_missing(frame[list(columns)]), note)

    def table_by_snr(
        self, name: str, caption: str, places: int | None, lines: Mapping[str, tuple[Pair, str]]
    ) -> Table:
        """Plain values of a pair's measure, a column an SNR. lines: label -> pair and measure."""
        snrs = sorted(self.study.snrs)
        columns = {"pair": Column(self.gettext("pair"))}
        columns |= {str(snr): Column(f"{snr:g}", places) for snr in snrs}
        rows = [
            [label, *(value_of(self.study.row(pair, snr)[measure]) for snr in snrs)]
            for label, (pair, measure) in lines.items()
        ]
        return self.table(name, caption, columns, frames.frame_of(rows, list(columns)))

    def curve(self, pair: Pair, measure: str) -> Curve:
        """A pair's measure by SNR, where it is known."""
        values = [(snr, self.study.row(pair, snr)[measure]) for snr in sorted(self.study.snrs)]
        return [(snr, value) for snr, value in values if value is not None]


def value_of(interval: Interval | None) -> float | None:
    return None if interval is None else interval.value


def bounds_of(interval: Interval) -> dict[str, float]:
    return {"value": interval.value, "low": interval.low, "high": interval.high}


def curve_data(panels: Mapping[str, Curves]) -> pd.DataFrame:
    """The numbers of curves, a row a point."""
    points_of_all = [
        {"measure": title, "name": name, "x": x, **bounds_of(interval)}
        for title, lines in panels.items()
        for name, points in lines.items()
        for x, interval in points
    ]
    return frames.frame_of(points_of_all)
