"""Sections of the report, on made-up studies: what their tables say, in both languages."""

import re
from dataclasses import replace

import pandas as pd
import pytest
from matplotlib.text import Text as Label
from test_study import DECODER, ENCODER, FULL, TEACHER, made_up, run
from toy import encoded

from semcom.base.messages import Message
from semcom.evaluation.lost_words import frequency_bands
from semcom.evaluation.pairs import pair_up
from semcom.report import compose
from semcom.report.catalogue import translation
from semcom.report.document import Column, Folded, Text
from semcom.report.look import PAGE
from semcom.report.sections import grids, pair_matrix
from semcom.report.sections.all_studies import TemperatureEffect
from semcom.report.sections.study_report import Shared, StudyReport, spread, value_of


@pytest.fixture(scope="module")
def study():
    return made_up(pair_up(TEACHER, [FULL, ENCODER, DECODER]), encoded(24, 4, 12), step=0.06)


def report_on(study, language="en", **more):
    return StudyReport(study, translation(language), pd.DataFrame(), **more)


@pytest.mark.parametrize(
    ("language", "told"),
    [
        ("en", "the built-in corpus, 24 validation sentences; AWGN; greedy decoding; training seed 1"),
        ("zh", "内置语料、24 个验证句；AWGN 信道；贪心解码；训练随机种子 1"),
    ],
)
def test_what_a_caption_must_say_alone(study, language, told):
    shared = Shared(Message("the built-in corpus"), "validation", Message("greedy decoding"))
    report = report_on(study, language, shared=shared)
    assert report.table("t", "KL", {}, pd.DataFrame()).conditions == told
    signature = study.measured.scoring.record["bleu_signature"]
    scored = report.table("t", "c", {"x": Column("BLEU")}, pd.DataFrame({"x": []})).conditions
    assert scored in (f"{told}; BLEU {signature}", f"{told}；BLEU {signature}")


def test_labels_of_figures_may_stay_english(study):
    assert report_on(study, "zh").in_figure("transmitter") == "发送端"
    assert report_on(study, "zh", figure_language=translation("en")).in_figure("transmitter") == "transmitter"


def swept():
    """Two temperatures of three seeds, an encoder of one seed."""
    runs = [
        run(f"T{t:g} s{seed}", "decoder", seed=seed, temperature=t) for t in (1.0, 8.0) for seed in (1, 2, 3)
    ]
    return made_up(pair_up(TEACHER, [*runs, run("enc", "encoder", temperature=1.0)]), encoded(20, 4, 12))


def grid_of(blocks, name):
    """{(transmitter, receiver): cell} of a grid."""
    (table,) = [block for block in blocks if getattr(block, "name", "") == name]
    titles = [column.title for column in table.columns.values()]
    senders, *columns = table.cells()
    return table, {
        (sender, title): cell
        for title, cells in zip(titles[1:], columns)
        for sender, cell in zip(senders, cells)
    }


def test_the_matrix_is_a_grid_of_senders_and_receivers():
    study = swept()
    table, cells = grid_of(grids.at_reference(report_on(study)), "matrix_kl_divergence")
    receivers = ["teacher", "decoder student, T=1", "decoder student, T=8"]
    senders = ["teacher", "encoder student, T=1"]
    assert list(cells) == [(sender, receiver) for receiver in receivers for sender in senders]
    teacher = cells["teacher", "teacher"]
    assert (teacher.value.value, teacher.marks, teacher.shade) == (0.0, "‡", 0.0)
    of_seeds = [
        float(study.values(study.pairing.own[f"T8 s{seed}"])["kl_divergence"][study.at_reference, 0])
        for seed in (1, 2, 3)
    ]
    assert cells["teacher", "decoder student, T=8"].value.value == pytest.approx(sum(of_seeds) / 3)
    worst = max(cells.values(), key=lambda cell: cell.value.value if cell else 0.0)
    assert worst.shade == 1.0 and table.in_paper and "at 6 dB" in table.caption
    assert [column.rank for column in table.columns.values()] == [0, 0, 1, 2]


def test_grids_at_other_snrs_are_folded(study):
    (folded,) = grids.at_other_snrs(report_on(study))
    assert isinstance(folded, Folded) and not any(table.in_paper for table in folded.blocks)
    assert [table.name for table in folded.blocks] == [
        f"matrix_{measure}_at_{snr}" for snr in (0, 12) for measure in ("bleu", "kl_divergence")
    ]
    for table in folded.blocks:
        snr = float(table.name.rpartition("_")[2])
        _, cells = grid_of([table], table.name)
        name = table.name.removeprefix("matrix_").partition("_at_")[0]
        known = study.row(study.pairing.own["full"], snr)[name].value
        assert any(cell and value_of(cell.value) == known for cell in cells.values())


def test_a_wide_grid_has_values_alone_and_says_how_wide_intervals_are():
    runs = [run(f"r{t}", "decoder", temperature=float(t)) for t in (1, 2, 4, 8)]
    study = made_up(pair_up(TEACHER, [*runs, run("enc", "encoder", temperature=1.0)]), encoded(20, 4, 12))
    table, cells = grid_of(grids.at_reference(report_on(study)), "matrix_bleu")
    values = [study.row(pair)["bleu"] for pair in study.pairing.pairs if pair.draw == 0]
    assert sorted(cell.value for cell in cells.values()) == sorted(value.value for value in values)
    assert f"±{max(value.high - value.low for value in values) / 2:.2f}" in table.note


def test_of_one_transmitter_or_of_one_seed_nothing_stands_twice():
    study = made_up(pair_up(TEACHER, [run("r1", "decoder"), run("r2", "decoder")]), encoded(8, 4, 12))
    assert grids.at_reference(report_on(study)) == grids.at_other_snrs(report_on(study)) == []


def test_a_grid_has_no_marks_that_another_table_may_contradict(study):
    _, cells = grid_of(grids.at_reference(report_on(study)), "matrix_kl_divergence")
    assert {cell.marks for cell in cells.values() if cell} == {"", "‡"}


def test_without_noise_no_snr_is_told_and_no_other_draw(study):
    silent = replace(study, channel="ideal", noisy=False, _values={})
    report = report_on(silent)
    assert "noise" not in {group.role for group in silent.groups}
    blocks = list(blocks_of(pair_matrix.blocks(report)))
    captions = [block.caption for block in blocks if not isinstance(block, Text)]
    assert captions and not any("dB" in caption or "by SNR" in caption for caption in captions)
    assert any("at any SNR" in caption for caption in captions)


def test_one_sentence_is_one():
    study = made_up(pair_up(TEACHER, [run("r1", "decoder")]), encoded(1, 4, 12))
    assert report_on(study).conditions.startswith("1 test sentence; ")


def test_snrs_that_stay_cover_the_range():
    assert spread([-6, -3, 0, 3, 6, 9, 12, 15, 18], 12) == [12, -6, 3, 18, -3, 0, 6, 9, 15]
    assert spread([6.0], 6.0) == [6.0]


def blocks_of(blocks):
    for block in blocks:
        yield from blocks_of(block.blocks) if isinstance(block, Folded) else [block]


@pytest.fixture(scope="module")
def in_chinese():
    study = swept()
    bands = frequency_bands({})
    epochs = [{"epoch": n, "loss": 2.0 / n, "validation": 1.0 / n, "lr": 1e-3} for n in (1, 2)]
    results = compose.Results(
        [study],
        [study.words_lost(bands)],
        [study.by_group.words_lost(bands)],
        ["teacher"],
        study.measured.scoring,
        Message("its floor needs two sentences; give more --sentences"),
        Shared(Message("the built-in corpus"), "test", Message("greedy decoding")),
        histories={"T1 s1": epochs, "T1 s2": epochs},
        groups={run.label: study.name_of(run) for run in study.pairing.runs},
        temperature=TemperatureEffect({1.0: [0.6, 0.4], 8.0: [0.5, 0.5]}, [Message("(end)"), "=x"]),
    )
    return compose.compose(results, "zh")


def test_what_shows_nothing_is_gathered_last_with_its_reason(in_chinese):
    *others, last = in_chinese.sections
    assert (last.name, last.title) == ("not_measured", "未测量的内容")
    assert [block.words.split("：")[0] for block in last.blocks] == ["句子相似度"]
    assert "--sentences" in last.blocks[0].words
    shown = [
        section.name for section in others if not all(isinstance(block, Text) for block in section.blocks)
    ]
    assert [section.name for section in others if section.name not in shown] == ["definitions"]


NAMES = re.compile(
    r"BLEU|KL|JS|CKA|chrF(\+\+)?|AWGN|SNR|dB|Holm|Spearman|Student|bootstrap|logits|sacrebleu|nat|NFKC|RGB"
    r"|\d-gram|[pρmTS]|[STX]{2}|[\w.]+\.(csv|png)|--[a-z-]+( \w+)?|nrefs:\S+|T\d+ s\d|enc"
)
"""What a Chinese report names as everybody does: measures, tests, units, files, flags, runs."""


def english_in(text):
    return re.findall(r"[A-Za-z]{2,}", NAMES.sub("", text))


def test_a_chinese_report_has_no_english_word(in_chinese):
    document = in_chinese
    told = [document.title, *(text for pair in document.provenance for text in pair)]
    for answer in document.answers:
        told += [answer.sentence, *answer.before, *answer.beside]
    blocks = [block for section in document.sections for block in section.blocks]
    told += [section.title for section in document.sections]
    told += [block.title for block in blocks if isinstance(block, Folded)]
    told += [block.words for block in blocks_of(blocks) if isinstance(block, Text)]
    for figure in document.figures():
        told += [figure.caption, figure.alternative]
    for table in document.tables():
        told += [table.caption, table.note, *(column.title for column in table.columns.values())]
        if table.name != "sentences":
            told += [cell for cells in table.cells() for cell in cells if isinstance(cell, str)]
    assert len(told) > 200
    # The rules of kinds of words name the words.
    of_words = [text for text in told if "twenty-one" in text]
    assert len(of_words) == 1
    found = {word: text for text in told if text not in of_words for word in english_in(text)}
    assert not found


def test_figures_of_a_chinese_report_have_no_english_word(in_chinese):
    for figure in in_chinese.figures():
        labels = figure.draw(PAGE).findobj(Label)
        found = {word for label in labels for word in english_in(label.get_text().replace("\n", ""))}
        assert not found, figure.name
