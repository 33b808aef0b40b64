"""The divergence report as a ``Document``: all studies, what goes with them, and how they were made."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from gettext import NullTranslations

import pandas as pd

from semcom.base.messages import N_, Message, said
from semcom.evaluation.study import Row, Study
from semcom.evaluation.text_scoring import TextScoring
from semcom.report import fonts, typesetting
from semcom.report.catalogue import translation
from semcom.report.document import Document, Section, Text
from semcom.report.sections import (
    alignment,
    all_studies,
    dial,
    ends,
    first_screen,
    lost_words,
    noise,
    pair_matrix,
    representations,
    setting_trends,
    snr_gap,
)
from semcom.report.sections.alignment import Alignment
from semcom.report.sections.all_studies import Similarities, TemperatureEffect
from semcom.report.sections.study_report import Shared, StudyReport

SECTIONS = {
    "matrix": (N_("Transmitter × receiver"), pair_matrix.blocks),
    "ends": (N_("From which end"), ends.blocks),
    "noise": (N_("Mismatch beside noise"), noise.blocks),
    "price": (N_("The price in dB"), snr_gap.blocks),
    "meaning": (N_("What meaning is lost"), lost_words.blocks),
    "dial": (N_("The dial"), dial.blocks),
    "representations": (N_("Representations"), representations.blocks),
    "settings": (N_("What controls divergence"), setting_trends.blocks),
}
"""Of each study: a section's anchor, its title and what makes its blocks; without blocks it is left out."""
DEFINITIONS = "definitions"
Item = tuple[str, str | Sequence[str]]
"""A label, marked for translation, and a value or several; a value may be a ``Message``."""


@dataclass
class Results:
    """All that a report is made of.

    lost: ``Study.words_lost`` of each study; lost_by_group: ``ByGroup.words_lost``. teachers: what each one's
    is called. scoring: of texts. similarity: of each study, or why it cannot be had. on: the conditions that
    all share. other_vocabularies: of each checkpoint whose tokens do not compare, rows of text measures.
    histories: a run's label -> its epochs. groups: a run's label -> what it and its other seeds are called.
    provenance: labels and values. alignments: of ends that never met.
    """

    studies: Sequence[Study]
    lost: Sequence[pd.DataFrame]
    lost_by_group: Sequence[pd.DataFrame]
    teachers: Sequence[str]
    scoring: TextScoring
    similarity: Sequence[Similarities] | str
    on: Shared = Shared()
    other_vocabularies: Sequence[Sequence[Row]] = ()
    histories: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)
    temperature: TemperatureEffect | None = None
    provenance: Sequence[Item] = ()
    alignments: Sequence[Alignment] = ()


def compose(results: Results, language: str) -> Document:
    """The report of all studies, in ``language`` (en or zh)."""
    _ = translation(language).gettext
    reports = _study_reports(results, language)
    document = Document(
        _("Semantic divergence of mismatched ends"),
        language,
        [replace(first_screen.answer(report), of=report.apart) for report in reports],
        _unmeasured_last(
            [section for report in reports for section in _sections(report)]
            + _common_sections(results, reports, language),
            _,
        ),
        [(_(label), _in_words(value, _)) for label, value in _made(results, language)],
    )
    return typesetting.of_chinese(document) if language == "zh" else document


def _made(results: Results, language: str) -> list[Item]:
    """How the report was made, and what is not as it should be."""
    if fonts.has_language(language):
        return [*results.provenance]
    english = Message(N_("in English, since no font here has Chinese; {cure}"), cure=Message(fonts.CURE))
    return [*results.provenance, (N_("labels in figures"), english)]


def _in_words(value: str | Sequence[str], _: Callable[[str], str]) -> str:
    values = [value] if isinstance(value, str) else value
    return _(", ").join(said(text, _) for text in values)


def _in_figures(language: str) -> NullTranslations:
    """The language of their labels."""
    return translation(language if fonts.has_language(language) else "en")


def _study_reports(results: Results, language: str) -> list[StudyReport]:
    several_teachers = len(set(results.teachers)) > 1
    teachers = results.teachers if several_teachers else [""] * len(results.teachers)
    each = zip(results.studies, results.lost_by_group, teachers)
    return [
        StudyReport(
            study,
            translation(language),
            lost,
            number,
            teacher,
            len(results.studies) > 1,
            results.on,
            _in_figures(language),
        )
        for number, (study, lost, teacher) in enumerate(each, 1)
    ]


def _sections(report: StudyReport) -> Iterator[Section]:
    for anchor, (title, make_blocks) in SECTIONS.items():
        blocks = [report.told_apart(block) for block in make_blocks(report)]
        if blocks:
            yield Section(report.name(anchor), report.title(report.gettext(title)), blocks)


def _unmeasured_last(sections: Sequence[Section], _: Callable[[str], str]) -> list[Section]:
    """Sections that only say why they show nothing become one, the last: a reader who opens another finds
    something in it."""
    full = [section for section in sections if not _shows_nothing(section)]
    reason = _("{head}: {text}")
    reasons = [
        Text(reason.format(head=section.title, text=block.words))
        for section in sections
        if _shows_nothing(section)
        for block in section.blocks
        if isinstance(block, Text)
    ]
    return [*full, Section("not_measured", _("Not measured"), reasons)] if reasons else full


def _shows_nothing(section: Section) -> bool:
    """Words alone define, or say why there is nothing."""
    return section.name != DEFINITIONS and all(isinstance(block, Text) for block in section.blocks)


def _common_sections(results: Results, reports: Sequence[StudyReport], language: str) -> list[Section]:
    _ = translation(language).gettext
    similarity = all_studies.similarity(results.studies, results.similarity, _)
    sections = [
        Section(
            "similarity",
            _("Sentence similarity"),
            [report.told_apart(block) for report, block in zip(reports, similarity)],
        ),
        Section(
            "alignment",
            _("Ends joined by pilots"),
            alignment.blocks(results.alignments, _, _in_figures(language).gettext),
        ),
        Section(
            "foreign",
            _("Other vocabularies"),
            all_studies.other_vocabularies(results.other_vocabularies, _),
        ),
        Section(
            "training",
            _("How the runs were trained"),
            all_studies.training(
                results.histories, results.groups, results.temperature, _, _in_figures(language).gettext
            ),
        ),
        Section(DEFINITIONS, _("Definitions"), all_studies.definitions(results.scoring, _)),
    ]
    return [section for section in sections if section.blocks]
