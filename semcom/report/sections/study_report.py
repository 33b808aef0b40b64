"""What the sections on one study share: its language, its names, its tables and curves over SNR."""

import re
from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from gettext import NullTranslations

import pandas as pd

from semcom.base.messages import N_, said
from semcom.evaluation import frames, measures
from semcom.evaluation.groups import Group, Role
from semcom.evaluation.intervals import Interval
from semcom.evaluation.measures import Measure
from semcom.evaluation.pairs import DRAWS, Pair, Pairing
from semcom.evaluation.study import Study
from semcom.evaluation.text_scoring import TOO_SHORT
from semcom.report.cells import supported
from semcom.report.document import Block, Column, Folded, Table, Text
from semcom.report.figures import SNR, Curve, Curves
from semcom.report.names_in_words import ONE_SENTENCE, channel_told

SENTENCES = {
    "test": N_("{count:,} test sentences"),
    "validation": N_("{count:,} validation sentences"),
    "all": N_("{count:,} sentences, the whole corpus"),
}
"""How many of which split of the corpus."""
ANY_SNR = N_("any SNR")
"""Of a channel without noise."""
RUNGS_SHARE = N_(
    "Hybrids that were dialled from one run meet the same sentences and draws: they are not independent of "
    "each other."
)


def pair_told(pairing: Pairing, pair: Pair, gettext: Callable[[str], str]) -> str:
    """A pair's label in a report's language."""
    label = pairing.label(pair)
    draw = DRAWS[pair.draw]
    return label.removesuffix(draw) + gettext(draw) if draw else label


@dataclass(frozen=True)
class Shared:
    """Conditions that all studies of a report share. split: of the corpus, the part that is measured on.
    decoding: how texts were decoded."""

    corpus: str = ""
    split: str = "test"
    decoding: str = ""


@dataclass(frozen=True)
class StudyReport:
    """One study's part of the report.

    lost: ``ByGroup.words_lost``. number, teacher: which study of how many, and whose, where there are
    ``several``. shared: conditions. figure_language: of labels in figures, where no font here has the
    report's.
    """

    study: Study
    translation: NullTranslations
    lost: pd.DataFrame
    number: int = 1
    teacher: str = ""
    several: bool = False
    shared: Shared = Shared()
    figure_language: NullTranslations | None = None

    def gettext(self, text: str) -> str:
        """``text`` in the report's language."""
        return self.translation.gettext(text)

    def told(self, name: str) -> str:
        """A name, of a pair or an end, in the report's language."""
        return said(name, self.gettext)

    def in_figure(self, text: str) -> str:
        """``text`` as labels in figures have it."""
        return (self.figure_language or self.translation).gettext(text)

    def drawn(self, name: str) -> str:
        """A name as labels in figures have it."""
        return said(name, self.in_figure)

    @property
    def with_labels_of_figures(self) -> "StudyReport":
        """The same, all in the language of labels in figures."""
        return replace(self, translation=self.figure_language or self.translation)

    def name(self, base: str) -> str:
        """Of a section, table or figure, once in a report."""
        return f"{base}_{self.number}" if self.several else base

    def title(self, text: str) -> str:
        """Of a section, with what tells its study from the others."""
        if not self.several:
            return text
        return " · ".join([text, *self._apart])

    @property
    def apart(self) -> str:
        """What tells its study from the others; nothing of the only one."""
        return " · ".join(self._apart)

    @property
    def _apart(self) -> list[str]:
        """What tells its study from the others: the teacher's file, where there are several, and channel."""
        return [part for part in (self.teacher, self.channel) if part] if self.several else []

    def told_apart(self, block: Block) -> Block:
        """A table or figure with what tells its study from the others in its caption."""
        if isinstance(block, Text) or not self._apart:
            return block
        if isinstance(block, Folded):
            return replace(block, blocks=[self.told_apart(folded) for folded in block.blocks])
        return replace(block, caption=" · ".join([*self._apart, block.caption]))

    @property
    def where(self) -> str:
        """What tells its study from the others, in brackets."""
        return self.in_brackets(self.gettext(", ").join(self._apart))

    def in_brackets(self, text: str) -> str:
        """Behind a word; nothing of nothing."""
        return self.gettext(" ({aside})").format(aside=text) if text else ""

    def with_head(self, head: str, text: str) -> str:
        return self.gettext("{head}: {text}").format(head=head, text=text)

    def in_one(self, sentences: Sequence[str]) -> str:
        """Sentences of the report's language as one paragraph."""
        two = self.gettext("{first} {then}")
        return reduce(lambda first, then: two.format(first=first, then=then), sentences)

    @property
    def channel(self) -> str:
        return said(channel_told(self.study.channel), self.gettext)

    @cached_property
    def conditions(self) -> str:
        """What a table's caption must say where it stands alone: corpus and sentences, channel, decoding,
        seeds of the runs."""
        _ = self.gettext
        count = len(self.study.sentences)
        told = ONE_SENTENCE if count == 1 else SENTENCES
        sentences = _(told[self.shared.split]).format(count=count)
        corpus = _(", ").join(filter(None, [said(self.shared.corpus, _), sentences]))
        decoding = said(self.shared.decoding, _)
        parts = [corpus, self.channel, decoding, self._seeds_told]
        return _("; ").join(filter(None, parts))

    @cached_property
    def conditions_of_scores(self) -> str:
        """``conditions`` with the signature of BLEU, of a table that has it."""
        signature = f"BLEU {self.study.measured.scoring.record['bleu_signature']}"
        return self.gettext("; ").join([self.conditions, signature])

    @property
    def _seeds_told(self) -> str:
        """Of the runs, where they are known."""
        seeds = sorted({seed for run in self.study.pairing.runs if isinstance(seed := run.seed, int)})
        if not seeds:
            return ""
        _ = self.gettext
        told = _("training seeds {seeds}") if len(seeds) > 1 else _("training seed {seeds}")
        return told.format(seeds=", ".join(map(str, seeds)))

    @property
    def snr_axis(self) -> str:
        """Of a figure over SNR."""
        return self.in_figure(SNR)

    @property
    def snr(self) -> str:
        """At which there is one for all, as captions have it."""
        return self.snr_told(self.study.reference_snr)

    def snr_told(self, snr: float) -> str:
        """Of a channel without noise all are alike."""
        return f"{snr:g} dB" if self.study.noisy else self.gettext(ANY_SNR)

    def pair(self, pair: Pair) -> str:
        return pair_told(self.study.pairing, pair, self.gettext)

    def pairs_told(self) -> dict[str, str]:
        """A pair's label -> how the report has it."""
        pairing = self.study.pairing
        return {pairing.label(pair): self.pair(pair) for pair in pairing.pairs}

    @cached_property
    def compared(self) -> list[Group]:
        """All that stands beside the teacher's own pair and the yardsticks."""
        return [group for group in self.study.groups if group.role == "compared"]

    @cached_property
    def apart_from_noise(self) -> list[Group]:
        """The teacher's own pair, other teachers' and what is compared, all under one draw of the channel."""
        return [group for group in self.study.groups if group.role not in ("noise", "decibel")]

    def yardstick(self, role: Role) -> Group | None:
        """The first of this role; None where none was measured."""
        return next((group for group in self.study.groups if group.role == role), None)

    @property
    def test_told(self) -> str:
        """What the p of the groups compared is of."""
        _ = self.gettext
        tests = {self.study.by_group.test_of(group) for group in self.compared}
        if tests == {"seeds"}:
            return _("by a t-test over seeds, Holm-corrected over all pairs and SNRs of this channel")
        swaps = _(
            "by {trials:,} paired swaps of sentences, for these models only, Holm-corrected over all pairs "
            "and SNRs of this channel"
        )
        return swaps.format(trials=self.study.trials)

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
        return [pair for pair in self.study.pairing.pairs if pair.draw == 0 and not pair.forced]

    def with_unit(self, text: str, measure: Measure) -> str:
        """``text``, which names the measure, in the report's language and with the unit."""
        return self.gettext(text) + self.in_brackets(self.gettext(measure.unit) if measure.unit else "")

    def figure_title(self, measure: Measure) -> str:
        """Of a panel or an axis: the measure and its unit, as labels in figures have it."""
        title = self.in_figure(measure.title)
        if not measure.unit:
            return title
        return self.in_figure("{measure}, {unit}").format(measure=title, unit=self.in_figure(measure.unit))

    def caption(self, template: str, measure: Measure, **fields: object) -> str:
        """A caption that begins with a measure, in the report's language."""
        told = template.format(measure=self.with_unit(measure.title, measure), **fields)
        # Names such as chrF keep their letters.
        first = re.split(r"[ ,]", told)[0]
        return told[:1].upper() + told[1:] if first.islower() else told

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
        *,
        in_paper: bool = False,
    ) -> Table:
        """columns: those of ``frame`` that are shown."""
        cells = frames.none_where_missing(frame[list(columns)])
        shown = supported(columns, cells)
        texts = [cell for _, column in cells.items() for cell in column if isinstance(cell, str)]
        words = [caption, note, *(column.title for column in shown.values()), *texts]
        has_bleu = any("BLEU" in told for told in words)
        conditions = self.conditions_of_scores if has_bleu else self.conditions
        return Table(self.name(name), caption, shown, cells, note, conditions, in_paper)

    def table_by_snr(
        self,
        name: str,
        caption: str,
        places: int | None,
        lines: Sequence[tuple[str, Group, str]],
        *,
        in_paper: bool = False,
    ) -> Table:
        """Plain values of a group's measure, a column an SNR. lines: what each is called, group, measure."""
        snrs = sorted(self.study.snrs)
        kept = spread(snrs, self.study.reference_snr)
        columns = {"pair": Column(self.gettext("pair"))}
        columns |= {str(snr): Column(f"{snr:g}", places, rank=kept.index(snr), snr=snr) for snr in snrs}
        rows = [
            [told, *(value_of(self.study.group_row(group, snr)[measure]) for snr in snrs)]
            for told, group, measure in lines
        ]
        return self.table(name, caption, columns, frames.frame_of(rows, list(columns)), in_paper=in_paper)

    def curve(self, group: Group, measure: str) -> Curve:
        """A group's measure by SNR, where it is known."""
        values = [(snr, self.study.group_row(group, snr)[measure]) for snr in sorted(self.study.snrs)]
        return [(snr, value) for snr, value in values if value is not None]


def spread(values: Sequence[float], first: float) -> list[float]:
    """The same values, each next one as far as can be from those before: the first few cover the range."""
    chosen, left = [first], [value for value in values if value != first]
    while left:
        furthest = max(left, key=lambda value: min(abs(value - other) for other in chosen))
        chosen.append(furthest)
        left.remove(furthest)
    return chosen


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
