"""One study's part of the divergence report: its sections of text, tables and figures."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from semcom.evaluation import intervals, lost_words, setting_trends
from semcom.evaluation.intervals import Interval
from semcom.evaluation.measures import Pair
from semcom.evaluation.pair_matrix import CHUNK
from semcom.evaluation.pairs import CODE, INTEROPERABLE, KNOWLEDGE, OWN, REFERENCE, UNKNOWN, UNRELATED, Square
from semcom.evaluation.pairs import NOISE as NOISE_PAIR
from semcom.evaluation.snr_gap import OTHER_NOT_REACHED, Price
from semcom.evaluation.study import EFFECTS, FOLLOWED, Study, Sweep
from semcom.report import figures
from semcom.report.catalogue import Say
from semcom.report.document import Block, Column, Figure, Section, Table, Text

EXAMPLES = 10
SHOWN_TRANSMITTERS = 6
SHOWN_SQUARES = 4
SHOWN_PAIRS = 8
PAIRS_WITH_INTERVALS = 3
"""Pairs up to which the words lost stand with their intervals; of more, the page would be too wide, and a CSV
has them."""
NOISE = "the channel's noise"
KL, CE, BLEU = "KL to the teacher, nats a token", "cross-entropy, nats a token", "BLEU"
MATRIX_COLUMNS = {
    "bleu": ("BLEU", 2),
    "bleu_p": ("p (BLEU)", 3),
    "cross_entropy": ("cross-entropy", 4),
    "cross_entropy_p": ("p (cross-entropy)", 3),
    "kl_divergence": ("KL", 4),
    "kl_divergence_over_noise": ("KL / noise", 2),
    "agreement_rate": ("agreement", 4),
}
BY_SNR = {"bleu": (BLEU, 2), "kl_divergence": (KL, 4), "cross_entropy": (CE, 4)}
TABLES = {
    **BY_SNR,
    "js_divergence": ("JS to the teacher, nats a token", 4),
    "token_accuracy": ("token accuracy", 4),
}
TO_THE_TEACHER = ("kl_divergence", "js_divergence")
KINDS = {
    KNOWLEDGE: "Each student end was trained through the teacher's other end: this is knowledge.",
    INTEROPERABLE: "The student's ends were trained with crossed pairs, so they keep the teacher's code.",
    CODE: "The student's ends were trained with each other alone: this is code mismatch, not knowledge.",
    UNKNOWN: "How these ends were trained with this teacher is not recorded.",
}
KIND_NAMES = (KNOWLEDGE, INTEROPERABLE, CODE, UNKNOWN, REFERENCE, NOISE_PAIR, OWN, UNRELATED)
TELLING = (KNOWLEDGE, INTEROPERABLE, OWN)
"""Kinds of pairs whose divergence is not first of all that of codes which never met."""
GROUPS = {
    "all": "all words",
    "kind": "kind of word",
    "frequency": "rank in the training split measured on",
    "length": "words of the sentence",
    "topic": "topic",
    "topics of this pair": "topics of this pair",
}
CLASSES = {
    "words": "lost",
    **{name: name for name in ("added", *lost_words.KINDS, "seen", "not seen", "rarer", "unseen")},
}
UNDECIDED = {
    "few_values": "fewer than four values",
    "few_seeds": "fewer than three seeds",
    "unbalanced": "too many seeds lack a value",
    "not_significant": "p of 0.05 or more",
    "signs_differ": "seeds disagree in sign",
}
VERDICTS = {
    "supported": "supported",
    "contradicted": "contradicted",
    "undecided": "undecided with these runs",
}

Curves = dict[str, dict[str, list[tuple[float, Interval]]]]


@dataclass
class Chapter:
    """say: the report's language. number, teacher: which study of how many, and whose, where ``several``.
    lost: ``Study.words_lost``."""

    study: Study
    say: Say
    lost: Sequence[Mapping[str, Any]]
    number: int = 1
    teacher: str = ""
    several: bool = False

    def sections(self) -> list[Section]:
        made = {
            "matrix": ("Sender × receiver", self.matrix()),
            "ends": ("From which end", self.ends()),
            "noise": ("Mismatch beside noise", self.noise()),
            "price": ("The price in dB", self.price()),
            "meaning": ("What meaning is lost", self.meaning()),
            "representations": ("Representations", self.representations()),
            "settings": ("What controls divergence", self.settings()),
        }
        return [
            Section(self.name(name), self.title(self.say(title)), blocks)
            for name, (title, blocks) in made.items()
            if blocks
        ]

    def name(self, base: str) -> str:
        return f"{base}_{self.number}" if self.several else base

    def title(self, text: str) -> str:
        return " · ".join([text, *filter(None, [self.teacher, self.study.channel])]) if self.several else text

    @property
    def snr(self) -> str:
        return f"{self.study.reference_snr:g} dB"

    def pair(self, pair: Pair) -> str:
        return self.study.roster.label(pair)

    def summary(self) -> list[str]:
        """The answer in a few sentences: how far, from which end, beside noise."""
        w, study, where = self.say, self.study, f" ({self.study.channel})" if self.several else ""
        if not study.compared:
            return [
                w(
                    "Only the teacher's own pair was measured{where}: there is nothing that could diverge from it.",
                    where=where,
                )
            ]
        lines = []
        for square in study.roster.squares[:SHOWN_SQUARES]:
            effect = next(
                row
                for row in study.effects(square)
                if row["snr"] == study.reference_snr and row["measure"] == EFFECTS[0]
            )
            parts = {name: effect[name] for name in ("total", "transmitter", "receiver", "interaction")}
            lines.append(
                w(
                    "{label}{where}: at {snr} a student at both ends costs {total:.3f} nats a token of cross-entropy: {transmitter:.3f} "
                    "from the transmitter, {receiver:.3f} from the receiver, {interaction:.3f} from their meeting. {kind}",
                    label=square.label,
                    where=where,
                    snr=self.snr,
                    kind=self.kind(square),
                    **parts,
                )
            )
        rows = [study.row(pair) for pair in study.compared]
        worst = max(rows, key=lambda row: (row["kind"] in TELLING, row["kl_divergence"].value))
        ratio = worst["kl_divergence_over_noise"]
        beside = ""
        if ratio and ratio.high < float("inf"):
            beside = w(", {ratio:.2f} times what the channel's own noise makes of the teacher", ratio=ratio)
        lines.append(
            w(
                "The largest divergence{where} at {snr} is that of {pair} ({kind}): KL {kl:.3f} nats a token{beside}.",
                where=where,
                snr=self.snr,
                pair=worst["pair"],
                kind=w(worst["kind"]),
                kl=worst["kl_divergence"],
                beside=beside,
            )
        )
        lines.append(
            w(
                "Of {all} pairs, {ce} differ from the teacher in cross-entropy and {bleu} in BLEU at {snr} (p < 0.05, Holm-corrected over the "
                "table).",
                ce=sum(row["cross_entropy_p"] < setting_trends.ALPHA for row in rows),
                bleu=sum(row["bleu_p"] < setting_trends.ALPHA for row in rows),
                all=len(rows),
                snr=self.snr,
            )
        )
        return lines

    def kind(self, square: Square) -> str:
        """What the square's differences are, and what its runs differ in beside."""
        differing = (
            self.say(" The two runs differ in {settings}.", settings=", ".join(square.differing))
            if square.differing
            else ""
        )
        return self.say(KINDS[square.kind]) + differing

    def table(
        self,
        name: str,
        caption: str,
        columns: Mapping[str, int | None],
        rows: Iterable[Sequence[Any]],
        note: str = "",
        *,
        more: Iterable[Column] = (),
    ) -> Table:
        """A table. columns: titles, which are translated, and decimals; ``more`` follow them as they are."""
        titled = [Column(self.say(title), places) for title, places in columns.items()]
        return Table(self.name(name), caption, [*titled, *more], [list(row) for row in rows], note)

    def matrix(self) -> list[Block]:
        w, study = self.say, self.study
        blocks: list[Block] = (
            []
            if study.roster.whole
            else [
                Text(
                    w(
                        "There are too many pairs to measure all: student ends meet the teacher's and those they belong to. --matrix all measures every pair."
                    )
                )
            ]
        )
        rows = []
        for pair in study.roster.pairs:
            row, other = study.row(pair), w(" (other draw)") if pair.draw else ""
            rows.append(
                [
                    row["transmitter"],
                    row["receiver"] + other,
                    w(row["kind"]),
                    *(row.get(name) for name in MATRIX_COLUMNS),
                ]
            )
        blocks.append(
            self.table(
                "matrix",
                w(
                    "Every transmitter into every receiver at {snr}, {channel}, with 95 % bootstrap intervals.",
                    snr=self.snr,
                    channel=study.channel,
                ),
                {"transmitter": None, "receiver": None, "kind": None, **dict(MATRIX_COLUMNS.values())},
                rows,
                w(
                    "p: of no difference from the teacher's own pair, by {trials:,} paired swaps of sentences, Holm-corrected for each measure over all "
                    "pairs and SNRs of this channel. KL / noise: over the KL of the teacher from itself under another draw. matrix.csv has every measure "
                    "and SNR.",
                    trials=study.trials,
                ),
            )
        )
        heard = [pair for pair in study.roster.pairs if pair.draw == 0]
        panels = {
            title: {
                self.pair(pair): self.line(pair, measure)
                for pair in (study.compared if measure == "kl_divergence" else heard)
            }
            for measure, (title, _) in BY_SNR.items()
        }
        panels[KL][NOISE] = self.line(study.roster.noise, "kl_divergence")
        blocks.append(
            Figure(
                self.name("matrix_by_snr"),
                w(
                    "BLEU, cross-entropy and KL to the teacher of every pair (transmitter → receiver) by SNR; bands, where there are few curves, are 95 % "
                    "intervals. Dashed grey: the teacher against itself under an independent draw of the channel."
                ),
                w("Three panels of curves over SNR, one curve a pair."),
                curve_data(panels),
                figures.curves(panels, dashed=NOISE, logarithmic=(KL, CE)),
                (12.0, 4.4),
            )
        )
        for measure, (title, places) in TABLES.items():
            shown = [
                pair
                for pair in study.roster.pairs
                if measure not in TO_THE_TEACHER or pair.key != study.roster.reference.key
            ]
            blocks.append(
                self.by_snr(
                    f"{measure}_by_snr",
                    w("{measure}, by SNR in dB ({channel}).", measure=w(title), channel=study.channel),
                    places,
                    {self.pair(pair): (pair, measure) for pair in shown},
                )
            )
        return blocks

    def line(self, pair: Pair, measure: str) -> list[tuple[float, Interval]]:
        return [
            (snr, row[measure])
            for snr in sorted(self.study.snrs)
            if (row := self.study.row(pair, snr))[measure] is not None
        ]

    def by_snr(self, name: str, caption: str, places: int, lines: Mapping[str, tuple[Pair, str]]) -> Table:
        """Plain values of a pair's measure, a column an SNR."""
        snrs = sorted(self.study.snrs)
        rows = [
            [label, *(value(self.study.row(pair, snr)[measure]) for snr in snrs)]
            for label, (pair, measure) in lines.items()
        ]
        return self.table(
            name, caption, {"pair": None}, rows, more=[Column(f"{snr:g}", places) for snr in snrs]
        )

    def ends(self) -> list[Block]:
        w, study = self.say, self.study
        if not study.compared:
            return []
        if not study.roster.squares:
            return [
                Text(
                    w(
                        "A transmitter and a receiver of one student are wanted to tell the ends apart: distil with --distill-part encoder and "
                        "with --distill-part decoder, all else equal."
                    )
                )
            ]
        blocks: list[Block] = []
        rows, panels = [], {}
        for square in study.roster.squares:
            blocks.append(Text(f"{square.label}: {self.kind(square)}"))
            for row in study.effects(square):
                if row["snr"] == study.reference_snr:
                    rows.append(
                        [
                            square.label,
                            w(
                                {"cross_entropy": CE, "bleu": BLEU, "kl_divergence": "KL, nats a token"}[
                                    row["measure"]
                                ]
                            ),
                            row["transmitter"],
                            row["receiver"],
                            row["interaction"],
                            row["total"],
                        ]
                    )
        blocks.append(
            self.table(
                "effects",
                w("What each end adds, at {snr}, in the measure's own units.", snr=self.snr),
                {
                    "student": None,
                    "measure": None,
                    "transmitter": 4,
                    "receiver": 4,
                    "interaction": 4,
                    "total": 4,
                },
                rows,
                w(
                    "With m(transmitter, receiver) and T, S for teacher and student: transmitter m(ST)-m(TT), receiver m(TS)-m(TT), interaction "
                    "m(SS)-m(ST)-m(TS)+m(TT); they add up to m(SS)-m(TT)."
                ),
            )
        )
        for square in study.roster.squares[:SHOWN_SQUARES]:
            found = sorted(
                (row for row in study.effects(square) if row["measure"] == EFFECTS[0]),
                key=lambda row: row["snr"],
            )
            panels[square.label] = {
                part: [(row["snr"], row[part]) for row in found]
                for part in ("transmitter", "receiver", "interaction")
            }
        blocks.append(
            Figure(
                self.name("effects_by_snr"),
                w(
                    "Effect of either end and of their meeting on cross-entropy (nats a token) by SNR, with 95 % intervals."
                ),
                w("Curves of transmitter, receiver and interaction effects over SNR."),
                curve_data(panels),
                figures.effects(panels),
                (1.5 + 4.5 * len(panels), 4.0),
            )
        )
        return blocks

    def noise(self) -> list[Block]:
        w, study = self.say, self.study
        if not study.compared:
            return []
        lines = {w("the channel's noise, KL"): (study.roster.noise, "kl_divergence")}
        lines |= {self.pair(pair): (pair, "kl_divergence_over_noise") for pair in study.compared}
        return [
            Text(
                w(
                    "The first line is the teacher against itself under an independent draw of fading and noise; below it, each pair's KL as a "
                    "multiple of that. A ratio under 1 says that the mismatch changes what arrives less than another draw of the channel does; "
                    "it is never subtracted."
                )
            ),
            self.by_snr("noise", w("KL over that of the channel's own noise, by SNR in dB."), 3, lines),
        ]

    def price(self) -> list[Block]:
        w = self.say
        if len(self.study.snrs) < 2 or self.study.channel == "ideal":
            return []
        rows = [
            [label, p.level, p.gap, self.remark(p), p.censored, p.replicates]
            for label, p in self.study.prices().items()
        ]
        text = w(
            "How many dB more than the teacher's own pair each pair needs for 90 % of the teacher's BLEU at the highest SNR: the horizontal gap "
            "of monotone fits, linear between SNRs. A replicate in which the level is not met within the grid is censored and stands at an end."
        )
        columns = {
            "pair": None,
            "BLEU to reach": 2,
            "more dB": 2,
            "remark": None,
            "censored replicates": None,
            "replicates": None,
        }
        return (
            [Text(text), self.table("price", w("The price of mismatch in dB."), columns, rows)]
            if rows
            else []
        )

    def remark(self, p: Price) -> str:
        if p.gap is not None:
            return ""
        if p.level <= 0:
            return self.say("the teacher itself understands nothing here")
        if p.why == OTHER_NOT_REACHED:
            return self.say("not reached; the gap is above {at_least:.1f} dB", at_least=p.at_least)
        return self.say("reached below the lowest SNR: give lower ones")

    def meaning(self) -> list[Block]:
        w, study = self.say, self.study
        if not study.compared:
            return []
        pairs = [self.pair(pair) for pair in study.roster.pairs if pair.draw == 0]
        found = {(row["by"], row["class"], row["pair"]): row for row in self.lost}
        rows = []
        for by, name in dict.fromkeys((row["by"], row["class"]) for row in self.lost):
            of_class = [found.get((by, name, pair)) for pair in pairs]
            rows.append(
                [
                    w(GROUPS[by]),
                    w(CLASSES[name]) if name in CLASSES else name,
                    max(row["words"] for row in of_class if row),
                    *(
                        row and (row["lost"] if len(pairs) <= PAIRS_WITH_INTERVALS else value(row["lost"]))
                        for row in of_class
                    ),
                ]
            )
        rules = lost_words.RULES_ZH if w.language == "zh" else lost_words.RULES
        note = " ".join(
            [
                w(
                    "A word is lost where the text understood has it fewer times, in any order and case; added is the share of the words "
                    "understood that were not sent. Where no word of a class was lost, its interval is the exact one of a binomial share."
                ),
                *(f"{w(CLASSES[kind])}: {rule}" for kind, rule in rules.items()),
            ]
        )
        groups = {
            pair: [
                (name, found["kind", name, pair]["lost"])
                for name in lost_words.KINDS
                if ("kind", name, pair) in found
            ]
            for pair in pairs[:SHOWN_PAIRS]
        }
        data = [
            {"pair": pair, "class": name, **ends_of(lost)}
            for pair, points in groups.items()
            for name, lost in points
        ]
        return [
            self.table(
                "words_lost",
                w("Share of words lost at {snr}; words_lost.csv has the 95 % intervals.", snr=self.snr),
                {"by": None, "class": None, "words": None},
                rows,
                note,
                more=[Column(pair, 4) for pair in pairs],
            ),
            Figure(
                self.name("words_lost_by_kind"),
                w(
                    "Share of words lost by kind at {snr}, with 95 % intervals{first}.",
                    snr=self.snr,
                    first=self.first(pairs, SHOWN_PAIRS),
                ),
                w("For each kind of word a point a pair."),
                data,
                figures.bars(groups, "share of words lost"),
                (8.0, 2.0 + 0.5 * len(groups)),
            ),
            *self.worst(),
        ]

    def worst(self) -> list[Block]:
        """The sentences that diverge most, and what each pair understood."""
        w = self.say
        return [
            self.table(
                f"sentence_{rank}",
                w(
                    "Sentence {rank} of those that diverge most: KL {kl:.2f} nats a token at {snr}, mean over the pairs. =: as it was sent.",
                    rank=rank,
                    kl=kl,
                    snr=self.snr,
                ),
                {"pair": None, "understood": None},
                [
                    [w("sent"), sentence.text],
                    *([label, "=" if text == sentence.text else text] for label, text in understood.items()),
                ],
            )
            for rank, (sentence, kl, understood) in enumerate(self.study.most_diverging(EXAMPLES), 1)
        ]

    def representations(self) -> list[Block]:
        w, study = self.say, self.study
        if not study.compared:
            return []
        symbols = {
            end.label: study.measured.sent[end.fingerprint].symbols
            for end in study.roster.transmitters[:SHOWN_TRANSMITTERS]
        }
        data = [
            {"transmitter": name, "in phase": round(float(x), 4), "quadrature": round(float(y), 4)}
            for name, points in symbols.items()
            for x, y in points
        ]
        text = w(
            "Linear CKA with the teacher's states (1: the same up to rotation and scale) on the first {chunk} sentences; decoder states on "
            "gold prefixes at {snr}. Distance of signals: mean squared difference per complex symbol of mean power 1; unrelated signals are "
            "2 apart.",
            chunk=min(CHUNK, len(study.sentences)),
            snr=self.snr,
        )
        return [
            Text(text),
            self.table(
                "representations",
                w("Likeness of states, distance of signals."),
                {"end or pair": None, "of": None, "CKA": 4, "signal distance": 4},
                [
                    [row["end"], w(row["what"]), row["cka"], row["signal_distance"]]
                    for row in study.representations()
                ],
            ),
            Figure(
                self.name("constellations"),
                w(
                    "Symbols sent by each transmitter{first}.",
                    first=self.first(study.roster.transmitters, SHOWN_TRANSMITTERS),
                ),
                w("A cloud of complex symbols a transmitter."),
                data,
                figures.constellations(symbols),
                (0.6 + 3.2 * len(symbols), 3.4),
            ),
        ]

    def settings(self) -> list[Block]:
        w, study = self.say, self.study
        blocks: list[Block] = []
        if rows := study.over_seeds():
            blocks.append(
                self.table(
                    "over_seeds",
                    w(
                        "Runs that differ in their seed alone: mean over seeds and 95 % interval (Student's t), at {snr}.",
                        snr=self.snr,
                    ),
                    {"runs": None, "seeds": None, "KL": 4, "cross-entropy gap": 4, "BLEU": 2},
                    [
                        [", ".join(row["runs"]), row["seeds"], *(row[name] for name in FOLLOWED)]
                        for row in rows
                    ],
                )
            )
        sweeps, differing = study.sweeps, study.differing()
        alone = [run.label for run in study.runs if not any(run.label in sweep.runs for sweep in sweeps)]
        if len(differing) > 1 and alone:
            blocks.append(
                Text(
                    w(
                        "The runs differ in {settings}. What each of these does cannot be told apart by runs that differ from all others in "
                        "several at once, or in what is no number: {runs}.",
                        settings=", ".join(differing),
                        runs=", ".join(alone),
                    )
                )
            )
        if not sweeps:
            return blocks
        blocks.append(
            self.table(
                "trends",
                w(
                    "Spearman's rank correlation of a setting with divergence, and whether a higher value means a smaller one."
                ),
                {
                    "setting": None,
                    "held fixed": None,
                    "measure": None,
                    "ρ": 2,
                    "p": 3,
                    "values": None,
                    "seeds": None,
                    "claim: higher value, smaller divergence": None,
                },
                [row for sweep in sweeps for row in self.trend_rows(sweep)],
                w(
                    "A verdict needs at least four values and three seeds, values permuted within seeds, p < 0.05 and one sign in every seed."
                ),
            )
        )
        blocks += [self.trend_figure(sweep, number) for number, sweep in enumerate(sweeps, 1)]
        return [*blocks, self.quality(sweeps)]

    def first(self, shown: Sequence[Any], limit: int) -> str:
        """What a caption adds where not all are shown."""
        return (
            self.say(" (the first {limit} of {all})", limit=limit, all=len(shown))
            if len(shown) > limit
            else ""
        )

    def quality(self, sweeps: Sequence[Sweep]) -> Figure:
        """Divergence against cross-entropy: an undertrained student diverges for that alone."""
        w = self.say
        points = {
            f"{sweep.setting}{held(sweep)}": [
                (values["cross_entropy_gap"], values["kl_divergence"], f"{setting:g}")
                for (setting, _), values in sorted(sweep.points.items())
            ]
            for sweep in sweeps[:SHOWN_SQUARES]
        }
        data = [
            {"setting": name, "cross_entropy_gap": x, "kl_divergence": y, "value": text}
            for name, group in points.items()
            for x, y, text in group
        ]
        return Figure(
            self.name("divergence_and_quality"),
            w(
                "KL to the teacher beside the cross-entropy gap: a student that has learnt too little diverges for that alone."
            ),
            w("A point a run."),
            data,
            figures.scatter(points, "cross-entropy gap, nats a token", KL),
        )

    def trend_rows(self, sweep: Sweep) -> list[list[Any]]:
        w, rows = self.say, []
        for measure, title in (("kl_divergence", "KL"), ("cross_entropy_gap", "cross-entropy gap")):
            trend = sweep.trends[measure]
            why = f" ({w(UNDECIDED[trend.why])})" if trend.why else ""
            rows.append(
                [
                    sweep.setting,
                    held(sweep).strip(" ()"),
                    w(title),
                    trend.rho,
                    trend.p,
                    trend.values,
                    trend.seeds,
                    w(VERDICTS[setting_trends.judge(trend, "falls")]) + why,
                ]
            )
        return rows

    def trend_figure(self, sweep: Sweep, number: int) -> Figure:
        w = self.say
        titles = {"kl_divergence": KL, "cross_entropy_gap": "cross-entropy gap, nats a token", "bleu": BLEU}
        panels: Curves = {}
        for measure, title in titles.items():
            by_value: dict[float, list[float]] = {}
            for (setting, _), values in sorted(sweep.points.items()):
                by_value.setdefault(setting, []).append(values[measure])
            panels[title] = {
                "mean over seeds": [(setting, _shown(values)) for setting, values in by_value.items()]
            }
        data = [
            {"setting": sweep.setting, "value": setting, "seed": seed, **values}
            for (setting, seed), values in sorted(sweep.points.items())
        ]
        return Figure(
            self.name(f"trend_{number}"),
            w(
                "Divergence by {setting}{held} at {snr}: mean over seeds, with its 95 % interval where there are several.",
                setting=sweep.setting,
                held=held(sweep),
                snr=self.snr,
            ),
            w("Three panels over the setting's values."),
            data,
            figures.curves(panels, across=sweep.setting),
            (12.0, 3.8),
        )


def value(interval: Interval | None) -> float | None:
    return None if interval is None else interval.value


def ends_of(interval: Interval) -> dict[str, float]:
    return {"value": interval.value, "low": interval.low, "high": interval.high}


def curve_data(panels: Curves) -> list[dict[str, Any]]:
    """The numbers of curves, a row a point."""
    return [
        {"measure": title, "name": name, "x": x, **ends_of(interval)}
        for title, lines in panels.items()
        for name, points in lines.items()
        for x, interval in points
    ]


def held(sweep: Sweep) -> str:
    return (
        f" ({', '.join(f'{name} {setting}' for name, setting in sweep.held.items())})" if sweep.held else ""
    )


def _shown(values: Sequence[float]) -> Interval:
    """The mean over seeds with its interval; a single value is drawn as a point."""
    return (
        intervals.estimate(values).interval if len(values) > 1 else Interval(values[0], values[0], values[0])
    )
