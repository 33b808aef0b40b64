"""The divergence report, by running it: what it holds, in both languages, from few and from strange
inputs."""

import csv
import json
import re
import shutil
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from babel.messages.pofile import read_po
from cli_support import TINY_TRAINING, analyse, distil, leave_out_scores, package, refused
from tables_of_rows import of_rows
from typesetting import CLASSES, complaints, needs_tex

from semcom.base.messages import Message, said
from semcom.commands import analysis_report
from semcom.evaluation import pair_matrix
from semcom.evaluation.measures import named
from semcom.evaluation.pairs import OTHER_DRAW
from semcom.evaluation.study import Study
from semcom.models import checkpoint
from semcom.report import look, render
from semcom.report.catalogue import LOCALE, translation
from semcom.report.document import Column, Text
from semcom.report.sections import first_beside
from semcom.report.sections.study_report import StudyReport, pair_told

pytestmark = pytest.mark.usefixtures("no_scores")
QUICK = ["--corpus-size", 1000, "--sentences", 12, "--quiet", "--replicates", 100]
BLANK = b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"/>'


@pytest.fixture(scope="module")
def runs(teacher, made_once):
    """A transmitter and a receiver of one student: the runs of a standard matrix."""

    def make(folder):
        flags = ["--teacher-checkpoint", teacher, *TINY_TRAINING, "--steps", 2]
        with pytest.MonkeyPatch.context() as patched:
            leave_out_scores(patched)
            for part in ("encoder", "decoder"):
                assert distil(*flags, "--distill-part", part, "--output-path", folder / part) == 0

    return made_once("runs", make)


@pytest.fixture(scope="module")
def reported(runs, made_once):
    """One report of them, with the results of its JSON."""

    def make(folder):
        real = look.pictures

        def on_the_page(draw, place, *kinds):
            return real(draw, place, *kinds) if place == look.PAGE else [BLANK for _ in kinds]

        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            patch.setattr(look, "pictures", on_the_page)  # of each figure; other files test the other places
            assert analyse("--runs", runs, *QUICK, "--snr", 0, 12, "--channel", "rayleigh") == 0

    folder = made_once("reported", make, draws=True)
    return folder, json.loads((folder / "semantic_analysis_results.json").read_text())


@pytest.fixture(autouse=True)
def no_drawing(no_drawing, monkeypatch):
    """Pictures take most of a small report's time; ``reported`` has real ones, and other files test them."""
    monkeypatch.setattr(
        render,
        "pictures",
        lambda document: {
            name: BLANK for figure in document.figures() for name in look.file_names(figure.name)
        },
    )


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def labels_of(row):
    """Of the runs of a pair's ends."""
    return tuple(row["pair"].removesuffix(" (other draw)").removesuffix(" (1 dB less)").split(" → "))


def test_the_standard_matrix_and_its_effects(reported):
    folder, results = reported
    (study,) = results["studies"]
    cells = {(*labels_of(row), row["draw"]): row for row in study["matrix"] if row["snr"] == 12}
    assert set(cells) == {(a, b, 0) for a in ("teacher", "encoder") for b in ("teacher", "decoder")} | {
        ("teacher", "teacher", 1),
        ("teacher", "teacher", -1),
    }
    told = cells["encoder", "decoder", 0]
    assert told["transmitter"].startswith("encoder student") and told["receiver"].startswith(
        "decoder student"
    )
    assert told["receiver_file"].endswith("decoder/best_student_model.pt")
    value = {key: row["cross_entropy"]["value"] for key, row in cells.items()}
    effect = next(row for row in study["effects"] if row["measure"] == "cross_entropy" and row["snr"] == 12)
    assert effect["kind"] == "knowledge" and effect["square"] == "encoder + decoder"
    tt, st, ts, ss = (
        value[a, b, 0]
        for a, b in (
            ("teacher", "teacher"),
            ("encoder", "teacher"),
            ("teacher", "decoder"),
            ("encoder", "decoder"),
        )
    )
    assert effect["transmitter"]["value"] == pytest.approx(st - tt) and effect["receiver"][
        "value"
    ] == pytest.approx(ts - tt)
    assert effect["interaction"]["value"] == pytest.approx(ss - st - ts + tt, abs=1e-9) and effect["total"][
        "value"
    ] == pytest.approx(ss - tt)
    assert cells["teacher", "teacher", 1]["kl_divergence"]["value"] > 0  # the channel's own noise
    ratio = cells["teacher", "decoder", 0]["kl_divergence_over_noise"]["value"]
    assert ratio == pytest.approx(
        cells["teacher", "decoder", 0]["kl_divergence"]["value"]
        / cells["teacher", "teacher", 1]["kl_divergence"]["value"]
    )


@pytest.mark.tex
@needs_tex("pdflatex")
@pytest.mark.parametrize("kind", CLASSES)
def test_its_tables_compile_and_fit_a_paper(reported, kind, tmp_path):
    folder, _ = reported
    written = sorted((folder / "checkpoints/report").rglob("*.tex"))
    assert complaints([path.read_text(encoding="utf-8") for path in written], kind, tmp_path) == []
    labels = re.findall(r"\\label{(.*?)}", "".join(path.read_text(encoding="utf-8") for path in written))
    assert len(set(labels)) == len(labels) > 5


def test_records_agree_with_the_matrix(reported):
    folder, results = reported
    by_pair = {(row["pair"], row["snr"]): row for row in results["studies"][0]["matrix"]}
    records = {record["model"]: record for record in results["records"]}
    assert set(records) == {"encoder", "decoder"}
    for label, pair in (("encoder", "encoder → teacher"), ("decoder", "teacher → decoder")):
        for snr in (0.0, 12.0):
            for measure in (
                "kl_divergence",
                "kl_calibrated",
                "kl_worst_share",
                "bleu",
                "cross_entropy",
                "agreement_rate",
                "cross_entropy_gap",
            ):
                assert records[label]["by_snr"][f"{snr:g}"][measure] == pytest.approx(
                    by_pair[pair, snr][measure]["value"]
                ), (label, measure)
            temperature = by_pair[pair, snr]["calibration_temperature"]
            assert records[label]["calibration_temperature"] == temperature > 0


def test_what_a_divergence_is_made_of_has_its_table(reported):
    folder, results = reported
    report = folder / "checkpoints/report"
    rows = {row["pair"]: row for row in rows_of(report / "tables/divergence_makeup.csv")}
    written = {row["pair"]: row for row in rows_of(report / "matrix.csv") if float(row["snr"]) == 12}
    told = {pair: pair.replace("coder", "coder student, T=4") for pair in written}
    told["teacher → teacher (other draw)"] = "teacher, another draw of the noise"
    told["teacher → teacher (1 dB less)"] = "teacher, 1 dB less"
    assert set(rows) == set(told.values()) - {"teacher → teacher"}
    for pair, row in ((pair, rows[told[pair]]) for pair in set(written) - {"teacher → teacher"}):
        assert row["fitted temperature"] == written[pair]["calibration_temperature"]
        for title, name in (("KL", "kl_divergence"), ("calibrated KL", "kl_calibrated")):
            assert row[title] == written[pair][name]
        low, value, high = (float(row[f"KL share of worst 5 %{end}"]) for end in (" low", "", " high"))
        assert 0.05 < low < value < high < 1 and value == float(written[pair]["kl_worst_share"])
    assert "What the divergence of every pair is made of at 12 dB" in (report / "report.md").read_text()


def test_every_form_of_the_report_is_there_and_says_the_same(reported):
    folder, results = reported
    report = folder / "checkpoints/report"
    page, markdown = ((report / name).read_text(encoding="utf-8") for name in ("report.html", "report.md"))
    tables = "".join(path.read_text(encoding="utf-8") for path in report.rglob("*.tex"))
    kl = next(
        row
        for row in results["studies"][0]["matrix"]
        if row["pair"] == "teacher → decoder" and row["snr"] == 12
    )["kl_divergence"]
    for text in (page, markdown, tables):
        assert f"{kl['value']:.4f}" in text
    written = {row["pair"]: row for row in rows_of(report / "matrix.csv") if float(row["snr"]) == 12}[
        "teacher → decoder"
    ]
    assert (
        float(written["kl_divergence"]) == kl["value"]
        and float(written["kl_divergence low"]) == kl["low"] < kl["value"]
    )
    assert {"words", "added", "number", "function", "content"} <= {
        row["class"] for row in rows_of(report / "words_lost.csv")
    }
    assert json.loads((report / "semantic_analysis_results.json").read_text()) == results
    for name in (
        "matrix_by_snr",
        "effects_by_snr",
        "words_lost_by_kind",
        "constellations",
        "training",
        "temperature_effect",
    ):
        assert (report / f"figures/{name}.png").stat().st_size > 1000 and (
            report / f"figures/{name}.svg"
        ).is_file(), name
    js = next(
        row
        for row in results["studies"][0]["matrix"]
        if row["pair"] == "teacher → decoder" and row["snr"] == 12
    )["js_divergence"]["value"]
    assert f"{js:.4f}" in page and f"{js:.4f}" in markdown and "Token accuracy" in page
    assert (
        "pip install" in page and "similarity" in page
    )  # how to get what is not installed, or the measure itself


def test_chinese_is_the_same_report(reported, runs, here, capsys):
    folder, results = reported
    capsys.readouterr()
    flags = ["--snr", 0, 12, "--channel", "rayleigh", "--lang", "zh", "--verbose"]
    assert analyse("--runs", runs, *QUICK, *flags) == 0
    mine = json.loads((here / "semantic_analysis_results.json").read_text())
    assert mine["studies"] == results["studies"]
    told = capsys.readouterr().out
    assert "已生成 checkpoints/report/report.html" in told and "按信噪比（dB）" in told
    answer = told[told.index("与教师") :]
    assert not re.findall(r"(?:[A-Za-z]{2,}[ ,]+){2,}[a-z]{2,}", answer), "three words of English in a row"
    page = (here / "checkpoints/report/report.html").read_text(encoding="utf-8")
    assert '<html lang="zh' in page and "发送端" in page and "差异来自哪一端" in page
    with (LOCALE / "zh/LC_MESSAGES/semcom.po").open("rb") as file:
        texts = [message.id for message in read_po(file)]
    english = [text for text in texts if len(text) > 30 and "{" not in text]
    assert len(english) > 15 and not [text for text in english if text in page]
    report = (here / "checkpoints/report/report.md").read_text(encoding="utf-8")
    body, made = report.split("## 本报告的生成方式")
    told = "\n".join(line for line in body.splitlines() if not line.startswith("|")) + made
    told += "\n".join(line for line in body.splitlines() if "→ teacher" in line and "draw" in line)
    assert not re.findall(r"(?:[a-z]{2,}[ ,]+){2,}[a-z]{2,}", told), "three words of English in a row"
    assert not re.findall("[\u4e00-\u9fff][:;] |[。：；] ", report), "signs of English among those of Chinese"
    assert "贪心解码" in made and "接收端知道发送的符号数" in made and "指纹" in made and "线程数：1" in made


def test_an_interrupted_report_goes_on(reported, runs, here, monkeypatch, capsys):
    """Parts that are finished are read: nothing is measured a second time."""
    folder, results = reported
    (here / "checkpoints").mkdir()
    (here / "checkpoints/cache").symlink_to(folder / "checkpoints/cache")
    monkeypatch.setattr(pair_matrix, "_measure_chunk", None)
    assert analyse("--runs", runs, *QUICK, "--snr", 0, 12, "--channel", "rayleigh") == 0
    assert json.loads((here / "semantic_analysis_results.json").read_text())["studies"] == results["studies"]


def test_several_channels_and_one_without_noise(runs, here, capsys):
    assert analyse("--runs", runs, *QUICK, "--snr", 12, "--channel", "Rayleigh", "ideal") == 0
    results = json.loads((here / "semantic_analysis_results.json").read_text())
    assert [study["channel"] for study in results["studies"]] == ["rayleigh zf", "ideal"]
    assert [record["channel"] for record in results["records"]] == ["rayleigh zf"] * 2 + ["ideal"] * 2
    ideal = {row["pair"]: row for row in results["studies"][1]["matrix"]}
    assert ideal["teacher → teacher (other draw)"]["kl_divergence"]["value"] == 0
    assert ideal["teacher → decoder"]["kl_divergence_over_noise"]["value"] is None
    page = (here / "checkpoints/report/report.html").read_text(encoding="utf-8")
    assert 'id="matrix_1"' in page and 'id="matrix_2"' in page and "Transmitter × receiver · Ideal" in page


def test_a_checkpoint_of_another_vocabulary_has_text_measures_alone(teacher, runs, here, capsys):
    assert package("vocab", "--output", "own.model", "--size", 350, "--corpus-size", 400) == 0
    assert (
        package(
            "train",
            "--output",
            "other.pt",
            "--vocab",
            "own.model",
            "--layers",
            1,
            "--model-width",
            16,
            "--heads",
            2,
            "--feed-forward",
            32,
            "--steps",
            2,
            *TINY_TRAINING,
        )
        == 0
    )
    assert (
        analyse(
            "other.pt",
            runs / "decoder/best_student_model.pt",
            "--teacher-checkpoint",
            teacher,
            *QUICK,
            "--snr",
            12,
        )
        == 0
    )
    results = json.loads((here / "semantic_analysis_results.json").read_text())
    assert [record["model"] for record in results["records"]] == ["decoder"]
    (row,) = results["other_vocabularies"]
    assert row["pair"] == "other" and row["bleu"]["value"] >= 0 and "kl_divergence" not in row
    assert "text measures alone" in (here / "checkpoints/report/report.html").read_text(encoding="utf-8")


def test_without_a_report_there_is_none(runs, here, capsys):
    assert analyse("--runs", runs, *QUICK[:-2], "--snr", 12, "--no-report") == 0
    files = [path.name for path in here.rglob("[!.]*") if path.is_file()]
    assert files == ["semantic_analysis_results.json"]
    results = json.loads((here / "semantic_analysis_results.json").read_text())
    assert len(results["records"]) == 2 and "report_files" not in results
    assert [sorted(study) for study in results["studies"]] == [["channel", "matrix", "teacher"]]
    capsys.readouterr()
    refused(
        capsys,
        analyse("--runs", runs, "--no-report", "--lang", "zh"),
        "--lang: there is no report with --no-report",
    )


def test_reports_are_kept(teacher, runs, here, capsys):
    student = runs / "decoder/best_student_model.pt"
    quick = [student, "--teacher-checkpoint", teacher, *QUICK, "--snr", 12]
    for _ in range(2):
        assert analyse(*quick) == 0
    assert "kept the earlier checkpoints/report as checkpoints/report.before-1" in capsys.readouterr().out
    assert (here / "checkpoints/report.before-1/report.html").is_file()
    refused(
        capsys,
        analyse(*quick, "--report-dir", "checkpoints/report"),
        "--report-dir checkpoints/report",
        "--overwrite",
    )
    refused(capsys, analyse("--runs", runs, *QUICK, "--report-dir", runs), "--report-dir")
    assert (runs / "decoder/best_student_model.pt").is_file() and not (runs / "report.html").exists()
    (here / "mine/figures").mkdir(parents=True)
    (here / "mine/figures/own.png").write_bytes(b"mine")
    assert analyse(*quick, "--report-dir", "mine", "--overwrite") == 0
    assert (here / "mine/report.html").is_file() and (here / "mine/figures/own.png").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--replicates", 5], ["--replicates 5", "100 or more"]),
        (["--lang", "fr"], ["--lang", "fr"]),
        (["--matrix", "some"], ["--matrix", "some"]),
        (["--channel", "awgn", "fog"], ["--channel", "fog"]),
        (["--columns", "speed"], ["--columns speed: allowed are bleu, chrf", "with _p behind it"]),
        (["--table-snr", 5, "--snr", 0, 12], ["--table-snr 5", "allowed are 0 12,", "--snr 0 5 12"]),
        (["--report-dir", "semantic_analysis_results.json/x"], ["--report-dir"]),
    ],
)
def test_wrong_input(here, runs, capsys, flags, words):
    (here / "semantic_analysis_results.json").write_text("{}")
    refused(capsys, analyse("--runs", runs, *flags), *words)


def test_strangers_names_are_shown_as_text(runs, here, capsys):
    name = "=cmd|<script>alert(1)<"
    shutil.copytree(runs / "decoder", here / "mine" / name)
    assert analyse("--runs", "mine", *QUICK, "--snr", 12, "--report-dir", "made") == 0
    page = (here / "made/report.html").read_text(encoding="utf-8")
    assert "<script" not in page and "&lt;script&gt;alert(1)&lt;" in page
    assert "<script" not in (here / "made/report.md").read_text(encoding="utf-8")
    receivers = {labels_of(row)[1] for row in rows_of(here / "made/matrix.csv")}
    assert receivers == {"teacher", name}


def test_the_teacher_alone_has_nothing_to_diverge(teacher, here, capsys):
    assert analyse(teacher, "--teacher-checkpoint", teacher, *QUICK, "--snr", 12) == 0
    assert "nothing that could diverge" in capsys.readouterr().out
    (study,) = json.loads((here / "semantic_analysis_results.json").read_text())["studies"]
    assert study["price"] == [] and study["effects"] == []


def test_a_trend_over_seeds_is_followed_and_told(monkeypatch, runs, here, capsys):
    """Four temperatures and three seeds decide; what they are and what they measure is set by hand, for tiny
    runs say nothing."""
    for seed in (1, 2, 3):
        for t in (1, 2, 4, 8):
            run = shutil.copytree(runs / "decoder", here / f"runs/T{t}_{seed}")
            made = json.loads((run / "distillation_config.json").read_text())
            (run / "distillation_config.json").write_text(
                json.dumps(made | {"seed": seed, "temperature": float(t)})
            )
    monkeypatch.setattr(
        Study,
        "followed",
        lambda self, run: {
            "kl_divergence": 1 / run.made["temperature"] + run.seed / 1000,
            "cross_entropy_gap": run.made["temperature"] + run.seed / 1000,
            "bleu": 50.0,
        },
    )
    capsys.readouterr()
    assert analyse("--runs", "runs", *QUICK, "--snr", 12, "--verbose") == 0
    verdicts = ("supported", "contradicted")
    table = [line for line in capsys.readouterr().out.splitlines() if line.endswith(verdicts)]
    assert (
        len(table) == 2
        and re.search(r"KL +−1\.00 +<0\.001 +4 +3 +supported$", table[0])
        and table[1].endswith("contradicted")
    )
    (study,) = json.loads((here / "semantic_analysis_results.json").read_text())["studies"]
    assert len(study["over_seeds"]) == 4 and all(row["seeds"] == 3 for row in study["over_seeds"])
    assert (here / "checkpoints/report/figures/trend_1.png").is_file()


def test_one_study_needs_no_numbers():
    english = translation("en")
    assert StudyReport(None, english, pd.DataFrame()).name("matrix") == "matrix"
    assert StudyReport(None, english, pd.DataFrame(), 2, several=True).name("matrix") == "matrix_2"


def test_pairs_say_what_their_divergence_is_of(teacher, here, capsys):
    """A full student's ends into the teacher's are code mismatch, its own pair is one student; and so says
    the page."""
    for seed in (1, 2):
        assert (
            distil(
                "--teacher-checkpoint",
                teacher,
                *TINY_TRAINING,
                "--steps",
                1,
                "--seed",
                seed,
                "--output-path",
                f"runs/{seed}",
            )
            == 0
        )
    assert analyse("--runs", "runs", *QUICK, "--snr", 12, "--matrix", "all") == 0
    rows = rows_of(here / "checkpoints/report/matrix.csv")
    kinds = {(*labels_of(row), row["draw"]): row["kind"] for row in rows}
    assert kinds == {
        ("teacher", "teacher", "0"): "teacher",
        ("teacher", "teacher", "1"): "noise",
        ("teacher", "teacher", "-1"): "noise",
        **{pair: "code mismatch" for s in "12" for pair in ((s, "teacher", "0"), ("teacher", s, "0"))},
        ("1", "1", "0"): "one student",
        ("2", "2", "0"): "one student",
        ("1", "2", "0"): "unrelated ends",
        ("2", "1", "0"): "unrelated ends",
    }
    assert "this is code mismatch, not knowledge" in capsys.readouterr().out


def test_the_same_teacher_by_two_paths_is_one_study(teacher, here, capsys):
    (here / "mine.pt").write_bytes(teacher.read_bytes())
    for part, path in (("encoder", "mine.pt"), ("decoder", here / "mine.pt")):
        assert (
            distil(
                "--teacher-checkpoint",
                path,
                *TINY_TRAINING,
                "--steps",
                1,
                "--distill-part",
                part,
                "--output-path",
                f"runs/{part}",
            )
            == 0
        )
    assert analyse("--runs", "runs", *QUICK, "--snr", 12) == 0
    (study,) = json.loads((here / "semantic_analysis_results.json").read_text())["studies"]
    assert {row["kind"] for row in study["effects"]} == {"knowledge"}


@pytest.mark.slow
def test_the_share_of_topics_seen_is_a_setting_to_follow(teacher, here, capsys):
    for share, topics in ((2, ["--topics", "fisheries", "health"]), (13, ["--exclude-topics", "fisheries"])):
        assert (
            distil(
                "--teacher-checkpoint",
                teacher,
                *TINY_TRAINING,
                "--steps",
                1,
                "--distill-part",
                "decoder",
                *topics,
                "--output-path",
                f"runs/{share}",
            )
            == 0
        )
    assert analyse("--runs", "runs", *QUICK, "--snr", 12) == 0
    (study,) = json.loads((here / "semantic_analysis_results.json").read_text())["studies"]
    (sweep,) = study["trends"]
    assert sweep["setting"] == "topics_share" and sorted(
        round(14 * point["value"]) for point in sweep["points"]
    ) == [2, 13]
    rows = rows_of(here / "checkpoints/report/words_lost.csv")
    assert {row["class"] for row in rows if row["by"] == "topics of this pair"} >= {"seen", "not seen"}


def test_broken_weights_are_refused(teacher, runs, here, capsys, monkeypatch):
    broken = checkpoint.load(runs / "decoder/best_student_model.pt")
    with torch.no_grad():
        next(broken.model.parameters())[0] = float("nan")
    with monkeypatch.context() as unchecked:
        unchecked.setattr(checkpoint, "check_finite", lambda *_: None)
        checkpoint.save(broken, "broken.pt")
    refused(
        capsys,
        analyse("broken.pt", "--teacher-checkpoint", teacher, *QUICK),
        "broken.pt",
        "no finite numbers",
    )


def test_one_sentence_bounds_nothing(runs, here, capsys):
    assert analyse("--runs", runs, "--corpus-size", 1000, "--sentences", 1, "--quiet", "--snr", 12) == 0
    (study,) = json.loads((here / "semantic_analysis_results.json").read_text())["studies"]
    cell = next(row for row in study["matrix"] if row["pair"] == "teacher → decoder")["cross_entropy"]
    assert cell["value"] > 0 and cell["low"] is None and cell["high"] is None


def report_on(language="en", teacher="", several=False, score=None, floor=None):
    """On a study that knows its teacher's score alone."""
    study = SimpleNamespace(
        channel="awgn", snrs=[0.0, 18.0], sentences=[], teachers_score=lambda measure: (score, floor)
    )
    report = StudyReport(study, translation(language), pd.DataFrame(), 1, teacher, several)
    report.__dict__["too_short"] = ""
    return report


@pytest.mark.parametrize(
    ("score", "floor", "useless"),
    [(3.0, 0.5, True), (5.5, 3.0, True), (7.0, 3.0, False), (45.0, 40.0, True), (55.0, 40.0, False)]
    + [(6.0, None, False), (4.0, None, True), (None, None, False)],
)
def test_a_teacher_that_understands_nothing_is_told_of(score, floor, useless):
    for language, words in (("en", "next to nothing"), ("zh", "几乎什么都没有理解")):
        told = first_beside.useless_teacher(report_on(language, score=score, floor=floor), named("bleu"))
        assert len(told) == useless and all(words in line for line in told)


def test_two_teachers_are_told_apart_wherever_their_numbers_stand():
    first, alone = report_on(teacher="a/t1", several=True), report_on()
    table = of_rows("t", "BLEU.", [Column("x")], [[1]])
    assert first.told_apart(table).caption == "a/t1 · AWGN · BLEU."
    assert alone.told_apart(table) is table and first.told_apart(Text("t")) == Text("t")
    assert (first.where, alone.where) == (" (a/t1, AWGN)", "")
    assert report_on("zh", "t1", several=True).where == "（t1、AWGN 信道）"
    frames = [pd.DataFrame({"pair": ["teacher → teacher"]})] * 2
    of_two = analysis_report._with_teachers(frames, ["t1", "t2"])
    assert [list(frame["teacher"]) for frame in of_two] == [["t1"], ["t2"]]
    assert [list(frame) for frame in analysis_report._with_teachers(frames, ["t1", "t1"])] == [["pair"]] * 2


def test_another_draw_is_told_in_the_reports_language():
    pairing = SimpleNamespace(label=lambda pair: "x → x" + (OTHER_DRAW if pair.draw else ""))
    drawn, plain = SimpleNamespace(draw=1), SimpleNamespace(draw=0)
    chinese = translation("zh").gettext
    assert pair_told(pairing, drawn, chinese) == "x → x（另一次信道实现）"
    assert pair_told(pairing, plain, chinese) == "x → x"


def test_a_message_is_english_as_a_string_and_said_in_chinese():
    message = Message("{path}, weights {fingerprint}", path="{t}.pt", fingerprint="abc")
    assert message == "{t}.pt, weights abc"
    assert said(message, translation("zh").gettext) == "{t}.pt，权重 abc"
    assert said("as it is", translation("zh").gettext) == "as it is"


def test_how_it_was_made_is_enough_to_make_it_again(reported, runs):
    folder, results = reported
    _, made = (folder / "checkpoints/report/report.md").read_text().split("## How this report was made")
    command = f"python semantic_analysis.py --runs {runs} --corpus-size 1000 --sentences 12"
    assert command.replace("_", r"\_") in made
    assert re.search(r"\| date +\| 20\d\d-\d\d-\d\d \d\d:\d\d [+-]\d{4}", made.replace("\\", ""))
    assert re.search(r"semcom \S+, (commit [0-9a-f]{12}|not from a git repository)", made)
    assert f"torch {results['environment']['torch']}" in made
    assert "--replicates 100" in made.replace("\\", "").split("settings other than the default")[1]
