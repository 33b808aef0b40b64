"""Sections of the report, on made-up studies: what their tables say, in both languages."""

import pandas as pd
import pytest
from test_study import DECODER, ENCODER, FULL, TEACHER, made_up
from toy import encoded

from semcom.base.messages import Message
from semcom.evaluation.pairs import pair_up
from semcom.report.catalogue import translation
from semcom.report.sections.study_report import Shared, StudyReport


@pytest.fixture(scope="module")
def study():
    return made_up(pair_up(TEACHER, [FULL, ENCODER, DECODER]), encoded(24, 4, 12), step=0.06)


def report_on(study, language="en", **more):
    return StudyReport(study, translation(language), pd.DataFrame(), **more)


@pytest.mark.parametrize(
    ("language", "told"),
    [
        ("en", "the built-in corpus, 24 validation sentences; AWGN; greedy decoding; training seed 1; BLEU "),
        ("zh", "内置语料、24 个验证句；AWGN 信道；贪心解码；训练随机种子 1；BLEU "),
    ],
)
def test_what_a_caption_must_say_alone(study, language, told):
    shared = Shared(Message("the built-in corpus"), "validation", Message("greedy decoding"))
    report = report_on(study, language, shared=shared)
    table = report.table("t", "c", {}, pd.DataFrame())
    assert table.conditions == told + study.measured.scoring.record["bleu_signature"]


def test_labels_of_figures_may_stay_english(study):
    assert report_on(study, "zh").in_figure("transmitter") == "发送端"
    assert report_on(study, "zh", figure_language=translation("en")).in_figure("transmitter") == "transmitter"
