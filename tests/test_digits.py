"""The image setting: handwritten digits, few labels, a class never seen."""

import csv
import dataclasses
import json

import pandas as pd
import pytest
import torch
import toy
from cli_support import examples, refused

from semcom.base.settings import RunConfig
from semcom.commands import digits, digits_images, digits_plan, digits_students, digits_summary
from semcom.commands.digits_images import CLASSES, Digits
from semcom.commands.digits_plan import KD, LABELS_ALONE, Plan
from semcom.commands.digits_students import ConvNet, Seed
from semcom.commands.few_labels import Batches, looked_up, outputs_of
from semcom.commands.settings import DigitsSettings
from semcom.distillation import losses
from semcom.distillation.kd_loss import UNLABELLED
from semcom.distillation.settings import DistillationConfig

TINY = Plan(
    teacher_widths=(6, 6, 6),
    student_widths=(3, 3, 3),
    teacher_steps=2,
    steps=2,
    hidden_steps=2,
    teacher_batch=8,
    labelled_batch=4,
    unlabelled_batch=6,
    methods={LABELS_ALONE: digits_plan.METHODS[LABELS_ALONE], "kd": KD, "sdd": digits_plan.over(KD, 1, 2)},
)


@pytest.fixture(scope="module")
def data():
    return Digits()


@pytest.fixture
def rows_seen(monkeypatch):
    """Rows of ``views`` that any network under training was given, a tensor a step."""
    seen, forward = [], digits_students.OfRows.forward
    monkeypatch.setattr(
        digits_students.OfRows, "forward", lambda self, rows: seen.append(rows) or forward(self, rows)
    )
    return seen


def test_views_are_shifts_by_a_pixel(data):
    assert (
        data.images.shape == (1797, 1, 8, 8)
        and data.views.shape == (9 * 1797, 1, 8, 8)
        and data.images.max() == 1
    )
    for number in (0, 1796):
        for view, (down, right) in enumerate(digits_images.SHIFTS):
            expected = torch.zeros(8, 8)
            for y in range(8):
                for x in range(8):
                    if 0 <= y + down < 8 and 0 <= x + right < 8:
                        expected[y, x] = data.images[number, 0, y + down, x + right]
            assert torch.equal(data.views[9 * number + view, 0], expected)


def test_splits_part_the_images_and_share_the_test(data):
    plan, splits = Plan(), [digits_images.split(data.classes, Plan(), seed) for seed in range(3)]
    for s in splits:
        parts = torch.cat((s.test, s.validation, s.transfer))
        assert sorted(parts.tolist()) == list(range(1797)) and (len(s.test), len(s.validation)) == (
            plan.test,
            plan.validation,
        )
        assert (
            torch.isin(s.labelled, s.transfer).all()
            and torch.bincount(data.classes[s.labelled]).tolist() == [10] * CLASSES
        )
        assert torch.equal(s.test, splits[0].test)
    assert not torch.equal(splits[0].validation.sort().values, splits[1].validation.sort().values)


def test_batches_hold_labels_of_the_few_and_repeat(data):
    s = digits_images.split(data.classes, Plan(), 0)
    unlabelled = s.transfer[~torch.isin(s.transfer, s.labelled)]
    batches = Batches(data.classes, (s.labelled, unlabelled), (20, 50), 16, seed=0, views=9)
    once, again = list(batches), list(batches)
    assert len(batches) == len(once) == 16 and all(
        torch.equal(a, b) and torch.equal(x, y) for (a, x), (b, y) in zip(once, again)
    )
    images = torch.stack([rows // 9 for rows, _ in once])
    targets = torch.stack([y for _, y in once])
    assert (
        torch.equal(targets[:, :20], data.classes[images[:, :20]]) and (targets[:, 20:] == UNLABELLED).all()
    )
    assert torch.isin(images[:, :20], s.labelled).all() and torch.isin(images[:, 20:], unlabelled).all()
    assert torch.bincount(images[:5, :20].flatten(), minlength=1797)[s.labelled].unique().tolist() == [1], (
        "each once before any twice"
    )
    assert (
        images[:, 20:].unique().numel() == len(unlabelled)
        and torch.cat([rows for rows, _ in once]).remainder(9).unique().numel() == 9
    )
    assert not torch.equal(
        next(iter(Batches(data.classes, (s.labelled, unlabelled), (20, 50), 16, seed=1, views=9)))[0],
        once[0][0],
    )


def test_the_student_is_a_twentieth_and_pooling_commutes_with_the_classifier(data):
    plan = Plan()
    teacher, student = (
        digits_students.build(widths, 0) for widths in (plan.teacher_widths, plan.student_widths)
    )
    count = [sum(p.numel() for p in network.parameters()) for network in (teacher, student)]
    assert 20 * count[1] <= count[0]
    for network in (teacher, student):
        images = data.images[:5]
        logits, grid = network.eval().with_grid(images)
        assert logits.shape == (5, CLASSES) and grid.shape == (5, 4, 4, CLASSES)
        torch.testing.assert_close(logits, network(images))
        features = network.features(images).movedim(1, -1)
        torch.testing.assert_close(
            losses.pool_grid(grid, 2), network.classifier(losses.pool_grid(features, 2))
        )
    assert toy.same_bits(
        toy.bits(digits_students.build((3, 3, 3), 4)), toy.bits(digits_students.build((3, 3, 3), 4))
    )


def test_methods_of_a_seed_start_alike_and_meet_the_same_batches(data, monkeypatch):
    met, starts = [], []

    def fit(distiller, batches, epochs, **_):
        met.append((toy.bits(distiller.module.network), list(batches)))
        return []

    monkeypatch.setattr(digits_students.Distiller, "fit", fit)
    for seed in (0, 1):
        of = Seed(data, TINY, seed)
        met.clear()
        for settings in TINY.methods.values():
            of.student(settings)
        (start, batches), *others = met
        for bits, theirs in others:
            assert toy.same_bits(start, bits) and all(
                torch.equal(a, b) for one, two in zip(batches, theirs) for a, b in zip(one, two)
            )
        starts.append(start)
    assert not toy.same_bits(*starts)


def test_a_blind_student_meets_no_image_of_its_class_and_no_label(data, rows_seen, monkeypatch):
    of = Seed(data, TINY, 0)
    targets, fit = [], digits_students.Distiller.fit

    def recorded(distiller, batches, *given, **choice):
        batches = list(batches)
        targets.extend(of_batch for _, of_batch, *_ in batches)
        return fit(distiller, batches, *given, **choice)

    monkeypatch.setattr(digits_students.Distiller, "fit", recorded)
    for hidden in (3, 8):
        rows_seen.clear()
        of.plan = dataclasses.replace(TINY, hidden_steps=40)
        of.blind_student(hidden)
        met = data.classes[torch.cat(rows_seen) // 9]
        assert met.unique().tolist() == [c for c in range(CLASSES) if c != hidden]
    assert torch.cat(targets).unique().tolist() == [UNLABELLED]


def test_only_the_transfer_images_are_trained_on_and_few_with_labels(data, rows_seen):
    of = Seed(data, TINY, 0)
    teachers = [rows_seen.pop() // 9 for _ in range(TINY.teacher_steps)]
    of.plan = dataclasses.replace(TINY, steps=30)
    of.student(KD)
    students = torch.stack(rows_seen) // 9
    assert (
        torch.isin(torch.cat(teachers), of.split.transfer).all()
        and torch.isin(students, of.split.transfer).all()
    )
    labelled = torch.isin(students, of.split.labelled)
    assert labelled[:, : TINY.labelled_batch].all() and not labelled[:, TINY.labelled_batch :].any()
    of.blind_student(3)
    assert torch.isin(torch.cat(rows_seen) // 9, of.split.transfer).all()


def test_answers_are_the_teachers(data):
    teacher = digits_students.build((3, 3, 3), 0)
    rows = torch.tensor([5, 9000, 5, 16172])
    logits, grid = looked_up(*outputs_of(teacher.eval().with_grid, data.views))(rows)
    wanted = teacher.eval().with_grid(data.views[rows])
    torch.testing.assert_close((logits, grid), tuple(part.detach() for part in wanted))
    assert not logits.requires_grad


def test_the_bias_is_the_best_of_a_fine_grid():
    generator = torch.Generator().manual_seed(0)
    classes = torch.randint(CLASSES, (200,), generator=generator)
    logits = torch.randn(200, CLASSES, generator=generator) + 3 * torch.nn.functional.one_hot(
        classes, CLASSES
    )
    logits[:, 3] -= 2.5

    def accuracy(bias):
        shifted = logits.clone()
        shifted[:, 3] += bias
        return (shifted.argmax(-1) == classes).double().mean().item()

    bias = digits_students.best_bias(logits, classes, 3)
    assert (
        accuracy(bias) == max(accuracy(b / 100) for b in range(-1000, 1000)) > accuracy(0)
        and 1.5 < bias < 3.5
    )
    torch.testing.assert_close(digits_students.biased(logits, 3, bias)[:, 3], logits[:, 3] + bias)
    assert torch.equal(digits_students.biased(logits, 3, bias)[:, 4:], logits[:, 4:])


def test_a_bias_is_chosen_on_validation_and_counted_on_test(data, monkeypatch):
    of, chosen = Seed(data, TINY, 0), []
    choose = digits_students.best_bias
    monkeypatch.setattr(digits_students, "best_bias", lambda *given: chosen.append(given) or choose(*given))
    rows = [
        row
        for row in digits_students.measure(of, lambda: None)
        if row["experiment"] == digits_students.UNSEEN_CLASS
    ]
    ((logits, classes, hidden),) = chosen
    assert torch.equal(classes, data.classes[of.split.validation]) and hidden == 3
    assert [row["model"] for row in rows] == ["teacher", "student", "student with the bias"]
    expected = of.logits(of.teacher, of.split.test).argmax(-1) == data.classes[of.split.test]
    three = data.classes[of.split.test] == 3
    assert rows[0]["recall"] == pytest.approx(100 * expected[three].double().mean().item())
    assert rows[0]["others"] == pytest.approx(100 * expected[~three].double().mean().item())
    assert rows[2]["bias"] == choose(*chosen[0]) and rows[0]["bias"] == rows[1]["bias"] == 0


def test_summaries_are_means_and_paired_differences():
    def few(name, *values):
        return [
            {
                "experiment": digits_students.FEW,
                "seed": seed,
                "model": name,
                "accuracy": value,
                "parameters": 7,
            }
            for seed, value in enumerate(values)
        ]

    lines = {
        line.method: line
        for line in digits_summary.few_labels(
            pd.DataFrame(few("teacher", 98.0, 99.0) + few(LABELS_ALONE, 80.0, 90.0) + few("kd", 85.0, 97.0))
        )
    }
    gain = lines["kd"].over_labels
    assert gain.mean == 6 and gain.half_width == pytest.approx(12.706 * 1, rel=1e-4), (
        "t with one degree of freedom, standard error 1"
    )
    assert (
        lines["teacher"].over_kd is None
        and lines["kd"].over_kd is None
        and lines[LABELS_ALONE].over_kd.mean == -6
    )

    rows = [
        {
            "experiment": digits_students.UNSEEN_CLASS,
            "seed": seed,
            "model": name,
            "hidden": 3,
            "bias": bias,
            "recall": recall,
            "others": others,
        }
        for seed in (0, 1)
        for name, bias, recall, others in (
            ("teacher", 0.0, 99.0, 99.0),
            ("student", 0.0, 10.0, 97.0 + seed),
            ("student with the bias", 2.0 + seed, 95.0, 96.0),
        )
    ]
    *_, line = digits_summary.unseen_class(pd.DataFrame(rows))
    assert (
        line.recall.mean == 95 and line.others.mean == 96 and line.cost.mean == 1.5 and line.bias.mean == 2.5
    )


@pytest.mark.draws("png")
def test_a_run_leaves_its_table_and_files(here, capsys):
    quiet = DigitsSettings(run=RunConfig(quiet=True))
    with toy.spoken() as lines:
        summary = digits.run(quiet, 2, TINY)
    said = "\n".join(lines)
    assert capsys.readouterr().err == "" and all(
        word in said for word in ("labels alone", "sdd", "student with the bias", "over kd", "2 seeds")
    )
    record = json.loads((here / "checkpoints/examples/digits/digits.json").read_text())
    kd = next(line for line in record["few labels"] if line["method"] == "kd")
    line = next(line for line in summary.few_labels if line.method == "kd")
    assert kd["accuracy"]["mean"] == line.accuracy.mean and f"{line.accuracy:.2f}" in said
    assert (
        record["settings"]["methods"]["sdd"]["scales"] == [1, 2]
        and record["seeds"] == 2
        and "scikit-learn" in record
    )
    with open(here / "checkpoints/examples/digits/digits.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    accuracies = [float(row["accuracy"]) for row in rows if row["model"] == "kd"]
    assert len(rows) == 2 * (1 + 3 + 3) and sum(accuracies) / 2 == pytest.approx(kd["accuracy"]["mean"])
    assert (here / "checkpoints/examples/digits/digits.png").read_bytes().startswith(b"\x89PNG")

    with toy.spoken() as lines:
        digits.run(quiet, 2, TINY)
    assert "kept the earlier" in "\n".join(lines)
    assert (
        json.loads((here / "checkpoints/examples/digits.before-1/digits.json").read_text())["rows"]
        == record["rows"]
    )
    assert (
        json.loads((here / "checkpoints/examples/digits/digits.json").read_text())["rows"] == record["rows"]
    ), "the same seeds, the same numbers"


def test_one_seed_has_no_interval(here):
    with toy.spoken() as lines:
        digits.run(DigitsSettings(output_path="one", run=RunConfig(quiet=True)), 1, TINY)
    said = "\n".join(lines)
    assert "±" not in said and "1 seed;" in said and (here / "one/digits.png").is_file()


def test_the_command_and_its_flags(here, capsys, monkeypatch):
    monkeypatch.setattr(digits, "Plan", lambda: TINY)
    assert examples(9, "--seeds", 2, "--dry-run", "--quiet") == 0
    assert "$ python distillation_examples.py 9 --seeds 2 --quiet" in capsys.readouterr().out and not list(
        here.iterdir()
    )
    assert (
        examples(9, "--seeds", 1, "--quiet", "--output-path", "mine") == 0
        and (here / "mine/digits.json").is_file()
    )
    capsys.readouterr()
    refused(capsys, examples(9, "--seeds", 1, "--output-path", "mine"), "--output-path mine", "--overwrite")
    assert examples(9, "--seeds", 1, "--quiet", "--output-path", "mine", "--overwrite") == 0
    capsys.readouterr()
    refused(capsys, examples(9, "--seeds", 0), "--seeds 0", "1 or more")
    refused(capsys, examples(9, "--temperature", 3), "--temperature", "no such flag (distillation.py has it)")
    refused(capsys, examples(9, "--epochs", 3), "--epochs", "no such flag")
    assert examples("all", "--dry-run", "--epochs", 2, "--quiet") == 0
    assert capsys.readouterr().out.count("$ python distillation_examples.py 9 --seeds 5 --quiet\n") == 1


def test_an_interrupt_ends_it_and_writes_nothing(here, capsys, monkeypatch):
    def stop(self, images):
        raise KeyboardInterrupt

    monkeypatch.setattr(ConvNet, "with_grid", stop)
    assert examples(9, "--seeds", 1, "--quiet") == 130
    assert "nothing was written" in capsys.readouterr().err and not list(
        (here / "checkpoints/examples").glob("digits/*")
    )


@pytest.mark.slow
def test_digits_are_learnt_from_soft_targets(data):
    """A gain of distillation far above its noise, and a class recognised that was never seen: small and
    quick."""
    plan = Plan(
        teacher_widths=(16, 32, 64),
        student_widths=(8, 16, 16),
        teacher_steps=150,
        steps=120,
        hidden_steps=300,
    )
    of = Seed(data, plan, 7)
    alone, taught = (
        of.accuracy(of.student(settings), of.split.test)
        for settings in (digits_plan.METHODS[LABELS_ALONE], KD)
    )
    assert taught > 0.9 and taught > alone + 0.03
    blind = of.blind_student(3)
    three = of.split.test[data.classes[of.split.test] == 3]
    bias = digits_students.best_bias(
        of.logits(blind, of.split.validation), data.classes[of.split.validation], 3
    )
    recognised = digits_students.biased(of.logits(blind, three), 3, bias).argmax(-1) == 3
    assert recognised.double().mean() > 0.6
    assert isinstance(plan.unseen, DistillationConfig) and plan.unseen.distill_weight == 1, (
        "from the teacher alone"
    )
