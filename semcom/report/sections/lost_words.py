"""What meaning is lost: words by kind, frequency, length and topic, and the sentences that diverge most."""

from collections.abc import Mapping, Sequence

from semcom.base.messages import N_
from semcom.data.languages import LANGUAGES, UNDETERMINED
from semcom.evaluation import frames, word_rules
from semcom.evaluation.groups import Group
from semcom.evaluation.intervals import Interval
from semcom.report import figures
from semcom.report.document import Block, Column, Figure, Folded, Table, Text
from semcom.report.names_in_words import TOPICS
from semcom.report.sections.study_report import StudyReport, bounds_of, value_of

EXAMPLES = 10
SHOWN_PAIRS = 6
BY = {
    "all": N_("all words"),
    "kind": N_("kind of word"),
    "frequency": N_("rank in the training split measured on"),
    "length": N_("words of the sentence"),
    "topic": N_("topic"),
    "topics of this pair": N_("topics of this pair"),
}
KINDS = {
    "number": N_("number"),
    "negation": N_("negation"),
    "name": N_("name"),
    "function": N_("function"),
    "content": N_("content"),
}
CLASSES = {
    "words": N_("lost"),
    "added": N_("added"),
    **KINDS,
    "seen": N_("seen"),
    "not seen": N_("not seen"),
    "rarer": N_("rarer"),
    "unseen": N_("unseen"),
    **TOPICS,
}
"""Classes whose name is no number."""
RULES = {
    "number": N_(
        "It contains a digit, or all its parts between hyphens are English number words (one, second, half, "
        "dozen, twenty-one)."
    ),
    "negation": N_(
        "It is not, no, never, none, nothing, nobody, nowhere, neither, nor, cannot, without or ends in n't; "
        'No before a digit abbreviates "number" and is none.'
    ),
    "name": N_("It begins with a capital, is not the sentence's first word and is not I."),
    "function": N_(
        "It is in a closed list of English articles, prepositions, conjunctions, pronouns, auxiliaries and "
        "question words, contracted (it's, we'll) or not."
    ),
    "content": N_("None of the other rules holds."),
}
"""What a kind of word is, as the note below the table says it."""
RULES_OF_CHINESE = {
    "number": N_(
        "It has a digit, is of Chinese numerals alone (三百, 百分之五, 第二) or in a list; 一些, 统一 and "
        "other listed words count nothing and are none."
    ),
    "negation": N_(
        "It is in a list (没有, 无法), has up to three characters with 不, or begins with 不, 没, 无, 未, "
        "非 or 别, also behind 并, 毫 and their like; 不断, 不仅, 未来, 非常 and other listed words deny "
        "nothing and are none."
    ),
    "name": N_(
        "It is a listed place, organisation or person, ends as one (省, 市; 大学 behind a name), is written "
        "with the characters of foreign names, has a capital, or begins with a surname and is no other word, "
        "beside a title or another such name or of three characters."
    ),
    "function": N_(
        "It is in a closed list of Chinese particles, pronouns, prepositions, conjunctions, auxiliaries, "
        "adverbs and classifiers."
    ),
    "content": RULES["content"],
}
SHARE = N_("share of words lost")
ONLY_DIGITS_AND_CAPITALS = N_(
    "The lists of words are English: in this text only digits and capitals tell kinds apart."
)


def blocks(report: StudyReport) -> list[Block]:
    _ = report.gettext
    if not report.compared:
        return []
    return [
        _by_kind(report),
        _by_kind_drawn(report),
        Folded(_("How words are counted"), [Text(_how_counted(report))]),
        Folded(_("Words lost by rank, length of the sentence and topic"), [_by_class(report)]),
        Folded(_("The sentences that diverge most"), _most_diverging(report)),
    ]


Lost = Mapping[tuple[str, str, str], Interval]
"""What words are classed by, class and name of a group -> share lost."""


def _lost(report: StudyReport) -> Lost:
    rows = report.lost[["by", "class", "pair", "lost"]].itertuples(index=False)
    return {(by, name, pair): share for by, name, pair, share in rows if isinstance(share, Interval)}


def _by_kind(report: StudyReport) -> Table:
    """A row a pair; of all words with the interval."""
    _, lost = report.gettext, _lost(report)
    groups = _groups(report)
    classes = list(dict.fromkeys((by, name) for by, name, _pair in lost if by in ("all", "kind")))
    columns = {"pair": Column(_("pair"))}
    columns |= {
        name: Column(_(CLASSES[name]), 4, rank=0 if name == "words" else number)
        for number, (_by, name) in enumerate(classes)
    }
    rows = [
        [report.told(group.name), *(_cell(lost, by, name, group) for by, name in classes)] for group in groups
    ]
    caption = _("Share of words lost at {snr}, of all and by kind; words_lost.csv has all 95 % intervals.")
    return report.table(
        "words_lost", caption.format(snr=report.snr), columns, frames.frame_of(rows, list(columns))
    )


def _cell(lost: Lost, by: str, name: str, group: Group) -> Interval | float | None:
    share = lost.get((by, name, group.name))
    return share if name == "words" else value_of(share)


def _groups(report: StudyReport) -> list[Group]:
    """Those whose texts were looked at."""
    known = set(report.lost["pair"])
    return [group for group in report.study.groups if group.name in known]


def _by_class(report: StudyReport) -> Table:
    _, lost = report.gettext, _lost(report)
    words = report.lost.groupby(["by", "class"], sort=False)["words"].max()
    shown = [place for place in words.index if place[0] not in ("all", "kind")]
    columns = {"by": Column(_("by")), "class": Column(_("class")), "words": Column(_("words"), rank=1)}
    groups = _groups(report)
    columns |= {
        str(number): Column(report.told(group.name), 4, rank=number) for number, group in enumerate(groups)
    }
    rows = [
        [
            _(BY[by]),
            _(CLASSES[name]) if name in CLASSES else name,
            int(words[by, name]),
            *(value_of(lost.get((by, name, group.name))) for group in groups),
        ]
        for by, name in shown
    ]
    caption = _("Share of words lost at {snr} by rank, length of the sentence and topic.")
    return report.table(
        "words_lost_by_class", caption.format(snr=report.snr), columns, frames.frame_of(rows, list(columns))
    )


def _how_counted(report: StudyReport) -> str:
    _ = report.gettext
    lost_and_added = _(
        "A word is lost where the text understood has it fewer times, in any order and case; added is the "
        "share of the words understood that were not sent. Where no word of a class was lost, its interval "
        "is the exact one of a binomial share."
    )
    of_kinds = RULES_OF_CHINESE if report.study.sent.rules.language == "zh" else RULES
    rules = [report.with_head(_(KINDS[kind]), _(rule)) for kind, rule in of_kinds.items()]
    return report.in_one([lost_and_added, *_how_divided(report), *rules])


def _how_divided(report: StudyReport) -> list[str]:
    """What must be said of words where the text is not English."""
    _ = report.gettext
    rules, language = report.study.sent.rules, LANGUAGES[report.study.language]
    if rules.language == "zh":
        return [_("The words are those of {segmentation}.").format(segmentation=_(rules.segmentation))]
    if language.code in ("en", UNDETERMINED):
        return []
    alone = [_("Each character is a word.")] if language.characters_a_word else []
    return [*alone, _(ONLY_DIGITS_AND_CAPITALS)]


def _by_kind_drawn(report: StudyReport) -> Figure:
    _, found = report.gettext, _lost(report)
    groups = _groups(report)
    lost = {
        report.drawn(group.name): [
            (report.in_figure(KINDS[kind]), found["kind", kind, group.name])
            for kind in word_rules.KINDS
            if ("kind", kind, group.name) in found
        ]
        for group in groups[:SHOWN_PAIRS]
    }
    rows = [
        {"pair": pair, "class": kind, **bounds_of(share)}
        for pair, kinds in lost.items()
        for kind, share in kinds
    ]
    caption = _("Share of words lost by kind at {snr}, with 95 % intervals{first}.")
    return Figure(
        report.name("words_lost_by_kind"),
        caption.format(snr=report.snr, first=report.first(groups, SHOWN_PAIRS))
        + figures.left_out({"": dict(lost)}, _),
        _("For each kind of word a point a pair."),
        frames.frame_of(rows),
        figures.bars(lost, report.in_figure(SHARE)),
    )


def _most_diverging(report: StudyReport) -> list[Table]:
    """The sentences that diverge most, and what each pair understood; of several seeds the first."""
    _ = report.gettext
    columns = {
        "rank": Column(_("sentence")),
        "kl": Column(_("KL"), 2),
        "pair": Column(_("pair")),
        "understood": Column(_("understood")),
    }
    rows: list[Sequence[object]] = []
    for rank, (sentence, kl, understood) in enumerate(report.study.most_diverging(EXAMPLES), 1):
        sent = report.study.measured.scoring.normalize(sentence.text)
        rows.append([rank, kl, _("sent"), sentence.text])
        for group in _groups(report):
            text = understood.get(group.name)
            if text is not None:
                rows.append([None, None, report.told(group.name), "=" if text == sent else text])
    caption = _(
        "The sentences that diverge most at {snr}, by their KL, mean over the pairs, and what each pair "
        "understood (=: as it was sent)."
    )
    return [
        report.table(
            "sentences", caption.format(snr=report.snr), columns, frames.frame_of(rows, list(columns))
        )
    ]
