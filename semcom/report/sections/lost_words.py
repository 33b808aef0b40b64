"""What meaning is lost: words by kind, frequency, length and topic, and the sentences that diverge most."""

from semcom.base.messages import N_
from semcom.data.languages import LANGUAGES, UNDETERMINED
from semcom.evaluation import frames, word_rules
from semcom.report import figures
from semcom.report.document import Block, Column, Figure, Table
from semcom.report.sections.study_report import StudyReport, bounds_of, value_of

EXAMPLES = 10
SHOWN_PAIRS = 8
PAIRS_WITH_INTERVALS = 3
"""Pairs up to which the words lost stand with their intervals; of more, the page would be too wide, and a CSV
has them."""
GROUPS = {
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
}
"""Classes whose name is no number and no topic."""
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
ONLY_DIGITS_AND_CAPITALS = N_(
    "The lists of words are English: in this text only digits and capitals tell kinds apart."
)


def blocks(report: StudyReport) -> list[Block]:
    if not report.study.compared:
        return []
    pairs = [report.pair(pair) for pair in report.first_draws]
    return [_words_lost(report, pairs), _lost_by_kind(report, pairs), *_most_diverging(report)]


def _words_lost(report: StudyReport, pairs: list[str]) -> Table:
    _ = report.gettext
    words = report.lost.groupby(["by", "class"], sort=False)["words"].max()
    lost = report.lost.pivot(index=["by", "class"], columns="pair", values="lost").reindex(words.index)
    if len(pairs) > PAIRS_WITH_INTERVALS:
        lost = lost.map(value_of, na_action="ignore")
    shown = lost.assign(words=words).reset_index()
    shown["by"] = shown["by"].map(lambda by: _(GROUPS[by]))
    shown["class"] = shown["class"].map(lambda name: _(CLASSES[name]) if name in CLASSES else name)
    columns = {"by": Column(_("by")), "class": Column(_("class")), "words": Column(_("words"))}
    columns |= {pair: Column(pair, 4) for pair in pairs}
    caption = _("Share of words lost at {snr}; words_lost.csv has the 95 % intervals.").format(snr=report.snr)
    return report.table("words_lost", caption, columns, shown, _how_counted(report))


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


def _lost_by_kind(report: StudyReport, pairs: list[str]) -> Figure:
    _ = report.gettext
    found = report.lost[report.lost["by"] == "kind"].set_index(["pair", "class"])["lost"]
    lost = {
        pair: [(kind, found[pair, kind]) for kind in word_rules.KINDS if (pair, kind) in found.index]
        for pair in pairs[:SHOWN_PAIRS]
    }
    rows = [
        {"pair": pair, "class": kind, **bounds_of(share)}
        for pair, kinds in lost.items()
        for kind, share in kinds
    ]
    caption = _("Share of words lost by kind at {snr}, with 95 % intervals{first}.")
    return Figure(
        report.name("words_lost_by_kind"),
        caption.format(snr=report.snr, first=report.first(pairs, SHOWN_PAIRS)),
        _("For each kind of word a point a pair."),
        frames.frame_of(rows),
        figures.bars(lost, report.in_figure(N_("share of words lost"))),
    )


def _most_diverging(report: StudyReport) -> list[Table]:
    """The sentences that diverge most, and what each pair understood."""
    _ = report.gettext
    caption = _(
        "Sentence {rank} of those that diverge most: KL {kl:.2f} nats a token at {snr}, mean over the pairs. "
        "=: as it was sent."
    )
    columns = {"pair": Column(_("pair")), "understood": Column(_("understood"))}
    tables = []
    for rank, (sentence, kl, understood) in enumerate(report.study.most_diverging(EXAMPLES), 1):
        rows = [[_("sent"), sentence.text]]
        sent = report.study.measured.scoring.normalize(sentence.text)
        rows += [[label, "=" if text == sent else text] for label, text in understood.items()]
        filled = caption.format(rank=rank, kl=kl, snr=report.snr)
        tables.append(report.table(f"sentence_{rank}", filled, columns, frames.frame_of(rows, list(columns))))
    return tables
