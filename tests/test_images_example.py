"""Experiment 11: pairs of image networks, few labels."""

import csv
import io
import json
import sys
from contextlib import redirect_stdout
from dataclasses import replace
from functools import partial

import pytest
import torch
import toy
from cli_support import examples, refused

from benchmarks import image_pairs
from semcom.base.errors import SemcomError
from semcom.base.settings import RunConfig
from semcom.commands import images, images_settings, images_students, images_summary
from semcom.commands.few_labels import Batches
from semcom.commands.images_settings import ARMS, ImagesSettings, Plan
from semcom.commands.images_students import OfRows, Passes, Seed
from semcom.data import images as real_images
from semcom.data.image_sets import Images, ImageSet
from semcom.distillation.kd_loss import UNLABELLED
from semcom.distillation.published import PUBLISHED
from semcom.models import image_networks

CLASSES = 4
READ = real_images.read
TINY = Plan(batch=8, warmup_steps=1)
ARMS_OF_ALL_KINDS = ("labels", "kd", "sdd12+dkd+lskd")


def some_images(number, seed):
    """Each class has a bright row of its own, in noise."""
    generator = torch.Generator().manual_seed(seed)
    classes = torch.arange(number) % CLASSES
    pixels = torch.randint(60, (number, 1, 32, 32), generator=generator)
    for i, c in enumerate(classes.tolist()):
        pixels[i, 0, 8 * c : 8 * c + 4] += 150
    return ImageSet(pixels.to(torch.uint8), classes)


@pytest.fixture(scope="module")
def data():
    return Images(some_images(80, 0), some_images(24, 1), ("a", "b", "c", "d"), "bright rows")


@pytest.fixture(autouse=True)
def small(monkeypatch, data):
    """Both networks are the smallest there is, and the images few."""
    pairs = dict.fromkeys(image_networks.PAIRS, ("light_cnn", "light_cnn"))
    monkeypatch.setattr(images_students, "PAIRS", pairs)
    monkeypatch.setattr(images, "PAIRS", dict.fromkeys(pairs, ("light_cnn", "its student")))
    for module in (images, image_pairs):
        monkeypatch.setattr(module, "Plan", lambda: TINY)
    monkeypatch.setattr(images, "COMPARED_AT_ONCE", 2)
    monkeypatch.setattr(images.images, "read", lambda source: data)


def settings_of(**given):
    given = {"labelled": 2, "epochs": 1, "teacher_epochs": 1, "arms": ARMS_OF_ALL_KINDS, **given}
    return ImagesSettings(run=RunConfig(quiet=True, device="cpu"), **given)


def test_the_pairs_are_those_of_the_networks():
    assert images_settings.PAIRS == tuple(image_networks.PAIRS)


def test_arms_are_every_scale_over_every_base_and_the_published():
    assert len(ARMS) == 1 + 4 * (1 + 3) and not ARMS["labels"].distils
    fusion = ARMS["sdd124+lskd"]
    assert (fusion.scales, fusion.standardize_logits, fusion.kd_loss) == ((1, 2, 4), True, "kd")
    assert images_settings.PUBLISHED_ARMS == tuple(f"published-{name}" for name in PUBLISHED)
    assert images_students.loss_of("published-sdd_kd_lskd").global_term == "scales"
    assert ARMS["sdd1+dkd"].kd_loss == "dkd" and ARMS["sdd1+dkd"].scales == (1,)


def test_few_of_the_images_have_a_label(data):
    classes = data.train.classes
    s = images_students.split(classes, 2, TINY, seed=0)
    assert sorted(torch.cat((s.validation, s.transfer)).tolist()) == list(range(80))
    assert sorted(torch.cat((s.labelled, s.unlabelled)).tolist()) == sorted(s.transfer.tolist())
    assert len(s.validation) == 8 and torch.bincount(classes[s.labelled]).tolist() == [4] * CLASSES
    whole = images_students.split(classes, TINY.batch, TINY, seed=0)
    assert len(whole.labelled) == len(whole.transfer) and not len(whole.unlabelled)
    with pytest.raises(SemcomError, match="4 training images of 4 classes: too few"):
        images_students.split(classes[:4], 2, TINY, seed=0)


def test_passes_go_through_the_batches_once(data):
    batches = Batches(data.train.classes, (torch.arange(8), torch.arange(8, 80)), (2, 6), 5, seed=3)
    passes = Passes(batches, 2)
    met = [rows.tolist() for _ in range(3) for rows, _ in passes]
    assert met == [rows.tolist() for rows, _ in batches] and len(passes) == 2


def test_students_meet_few_labels_and_the_teachers_outputs(data, monkeypatch):
    seed = Seed(data, settings_of(), TINY, 1)
    teacher, _ = seed.teacher()
    rows = torch.tensor([5, 0, 5])
    logits, grid = OfRows(teacher, data, data.train.pixels).eval()(rows)
    halves = grid.unflatten(1, (2, 2)).unflatten(3, (2, 2)).mean((2, 4))
    torch.testing.assert_close(seed.answers(rows), (logits, halves))
    assert not teacher.training and halves.shape == (3, 2, 2, CLASSES)

    met, fit = [], images_students.Distiller.fit

    def recorded(distiller, passes, *given, **choice):
        start = toy.bits(distiller.module)
        passes = list(passes)
        met.append((distiller.teacher, start, passes))
        return fit(distiller, passes, *given, **choice)

    monkeypatch.setattr(images_students.Distiller, "fit", recorded)
    for arm in ("labels", "kd"):
        seed.student(arm)
    (none, start, batches), (answers, same_start, same_batches) = met
    assert none is None and answers is seed.answers and toy.same_bits(start, same_start)
    assert all(torch.equal(x, y) for one, two in zip(batches, same_batches) for x, y in zip(one, two))
    for rows, targets in batches:
        assert (targets != UNLABELLED).tolist() == [True] * 2 + [False] * 6
        assert torch.isin(rows[:2], seed.split.labelled).all() and torch.equal(
            targets[:2], data.train.classes[rows[:2]]
        )
        assert torch.isin(rows[2:], seed.split.unlabelled).all()


def test_of_a_teacher_the_cells_are_kept_that_the_arms_compare(data):
    for arms, cells in ((("labels", "kd"), 1), (("sdd12+kd",), 2), (("kd", "published-sdd_kd"), 4)):
        seed = Seed(data, settings_of(arms=arms), TINY, 1)
        assert seed.cells == cells and seed.outputs_size == 80 * (1 + cells**2) * CLASSES * 4
    grid = torch.randn(2, 4, 4, CLASSES)
    assert torch.equal(images_students.pooled(grid, 4), grid), "to the bit"
    assert images_students.pooled(grid, 8) is grid


def test_a_teacher_whose_outputs_are_large_is_asked_at_each_step(data, monkeypatch):
    settings = settings_of(steps=2)
    seed = Seed(data, settings, TINY, 1)
    assert "computed once" in images._announcement(data, seed, settings)
    monkeypatch.setattr(images_students, "MOST_KEPT", seed.outputs_size - 1)
    assert "would take 0.0 GiB, so that it is asked" in images._announcement(data, seed, settings)
    network, _ = seed.teacher()
    met, forward = [], OfRows.forward
    monkeypatch.setattr(
        OfRows, "forward", lambda self, given: met.append(self.network) or forward(self, given)
    )
    seed.student("sdd12+dkd+lskd")
    assert sum(of is network for of in met) == 2


def test_varied_images_are_met_by_the_teacher_too(data, monkeypatch):
    seed = Seed(data, settings_of(augment=True), TINY, 1)
    network, _ = seed.teacher()
    met, forward = [], OfRows.forward
    monkeypatch.setattr(
        OfRows, "forward", lambda self, given: met.append((self, given)) or forward(self, given)
    )
    seed.student("kd")
    of_teacher = [given for of, given in met if of.network is network]
    of_student = [given for of, given in met if of.network is not network and given.dim() == 4]
    assert len(of_teacher) == 9 and all(map(torch.equal, of_teacher, of_student))
    untouched = {tuple(image.flatten().tolist()) for image in data.train.pixels}
    assert sum(tuple(image.flatten().tolist()) in untouched for image in torch.cat(of_student)) < 10
    assert not network.training


def test_steps_take_the_place_of_epochs(data):
    seed = Seed(data, settings_of(steps=20), TINY, 1)
    _, history = seed.student("labels")
    assert [row["epoch"] for row in history] == [1, 2], "nine steps are a pass over 72 images"


def test_gains_are_paired_and_have_intervals_from_three_seeds_on():
    def rows(seeds):
        values = {"teacher": (99, 98, 97), "labels": (40, 50, 60), "kd": (80, 91, 99), "fusion": (82, 90, 99)}
        return [
            {"seed": seed, "model": name, "accuracy": float(of[seed]), "first_epoch": 9.0, "parameters": 7}
            for seed in range(seeds)
            for name, of in values.items()
        ]

    for seeds in (1, 2):
        lines = {line.model: line for line in images_summary.summarise(rows(seeds), "teacher")}
        assert lines["kd"].over_labels.half_width is None and lines["kd"].over_labels_p is None
    lines = {line.model: line for line in images_summary.summarise(rows(3), "teacher")}
    assert lines["teacher"].over_labels is None and lines["labels"].over_labels is None
    gain = lines["kd"].over_labels
    # 40, 41 and 39: their deviation is 1, and t with two degrees of freedom 4.3027 at 95 %.
    assert gain.mean == 40 and gain.half_width == pytest.approx(4.3027 / 3**0.5, rel=1e-4)
    assert lines["labels"].over_kd.mean == -40 and lines["fusion"].over_kd.mean == pytest.approx(1 / 3)
    smaller = min(lines["kd"].over_labels.p, lines["fusion"].over_labels.p)
    assert min(lines["kd"].over_labels_p, lines["fusion"].over_labels_p) == pytest.approx(2 * smaller)
    assert "± 2.48" in images_summary.table(list(lines.values()))


def test_curves_are_means_over_seeds_with_the_teachers_level(monkeypatch):
    histories = {"kd": [[{"accuracy": a}, {"accuracy": a + 0.1}] for a in (0.5, 0.6, 0.7)]}
    monkeypatch.setattr(images_summary.figures, "curves", lambda panels, **_: panels)
    (lines,) = images_summary.curves(histories, "teacher", [90.0, 91.0, 92.0]).values()
    (one, first), (two, second) = lines["kd"]
    assert (one, two) == (1, 2) and first.value == pytest.approx(60) and second.value == pytest.approx(70)
    assert first.low == pytest.approx(60 - 4.3027 * 10 / 3**0.5, rel=1e-4)
    assert [(epoch, level.value) for epoch, level in lines["teacher"]] == [(1, 91), (2, 91)]
    pictures = images_summary.pictures(list(ARMS))
    assert list(pictures) == ["images.png", "images_2.png", "images_3.png", "images_4.png"]
    assert [arm for arms in pictures.values() for arm in arms] == list(ARMS)
    assert max(map(len, pictures.values())) == 5


def test_a_run_leaves_its_table_and_files(here, capsys):
    with toy.spoken() as lines:
        found = images.run(settings_of(), [1], "typed so", TINY)
    said, printed = "\n".join(lines), capsys.readouterr()
    assert printed.err == "" and "its student" in printed.out, "compare_models"
    for words in ("bright rows: 24 images to test, 8 to validate; 72 to learn", "over labels", "one seed"):
        assert words in said, words
    assert "±" not in said
    folder = here / "checkpoints/examples/images"
    record = json.loads((folder / "images.json").read_text())
    assert record["command"] == "typed so" and record["settings"]["labelled"] == 2
    assert record["arms"]["sdd12+dkd+lskd"]["scales"] == [1, 2] and record["seeds"] == [1]
    assert [row["model"] for row in record["rows"]] == ["teacher", *ARMS_OF_ALL_KINDS]
    assert record["summary"][2]["accuracy"]["mean"] == found[2].accuracy.mean
    assert f"{found[2].accuracy.mean:.2f}" in said
    with open(folder / "images.csv", newline="") as file:
        assert [row["model"] for row in csv.DictReader(file)] == ["teacher", *ARMS_OF_ALL_KINDS]
    assert (folder / "images.png").read_bytes().startswith(b"\x89PNG")

    images.run(settings_of(output_path="again"), [1], None, TINY)
    again = json.loads((here / "again/images.json").read_text())
    assert again["rows"] == record["rows"], "the same seed, the same numbers"


def test_what_is_unwise_is_said_once(here, monkeypatch):
    """light_cnn has 4 x 4 places."""
    monkeypatch.setitem(ARMS, "kd", replace(ARMS["kd"], scales=(1, 8)))
    with toy.spoken() as lines:
        images.run(settings_of(arms=("kd",), steps=1), [1, 2], None, TINY)
    assert sum("warning: scales 8: finer than the student" in line for line in lines) == 1


def test_a_pair_may_have_a_student_that_is_larger(here, monkeypatch):
    monkeypatch.setattr(images_students, "PAIRS", dict.fromkeys(image_networks.PAIRS, ("small", "light_cnn")))
    plan = {"small": partial(image_networks.plain, plan=[4, "halved", 4, "halved", 4, "halved"])}
    monkeypatch.setattr(image_networks, "NETWORKS", {**image_networks.NETWORKS, **plan})
    with toy.spoken() as lines:
        images.run(settings_of(arms=("kd",), steps=1, augment=True), [1], None, TINY)
    assert not [line for line in lines if line.startswith("warning")]


def test_the_command_and_its_flags(here, capsys):
    assert examples(11, "--dry-run", "--seeds", 3, "--arms", "labels", "kd") == 0
    assert "$ python distillation_examples.py 11 --seeds 3 --arms labels kd" in capsys.readouterr().out
    assert not list(here.iterdir())
    assert examples(11, "--help") == 0 and "--teacher-epochs" in (told := capsys.readouterr().out)
    assert "--seeds N" in told and "--dry-run" in told
    short = ["--quiet", "--labelled", 2, "--steps", 1, "--teacher-epochs", 1, "--arms", "kd"]
    assert examples(11, *short, "--seed", 5, "--output-path", "mine") == 0
    record = json.loads((here / "mine/images.json").read_text())
    assert record["seeds"] == [5] and record["command"].endswith("--seed 5 --output-path mine")
    capsys.readouterr()
    refused(capsys, examples(11, *short, "--output-path", "mine"), "--output-path mine", "--overwrite")
    refused(capsys, examples(11, "--pair", "vgg"), "--pair", "wrn_40_2-vgg8")
    refused(capsys, examples(11, "--arms", "hinton"), "--arms", "sdd124+lskd")
    refused(capsys, examples(11, "--arms", "kd", "kd"), "--arms kd kd", "distinct")
    refused(capsys, examples(11, "--labelled", 65), "--labelled 65", "at most 64")
    refused(capsys, examples(11, "--epochs", 2, "--steps", 3), "--epochs 2", "--steps 3")


def test_what_cannot_be_done_sets_no_earlier_run_aside(here, capsys, monkeypatch, data):
    there = here / "checkpoints/examples/images"
    there.mkdir(parents=True)
    (there / "images.json").touch()
    refused(capsys, examples(11, "--device", "cuda:99"), "--device cuda:99")
    few = Images(some_images(4, 0), data.test, data.names, "four images")
    monkeypatch.setattr(images.images, "read", lambda source: few)
    refused(capsys, examples(11), "4 training images of 4 classes: too few")
    monkeypatch.setattr(images.images, "read", READ)
    refused(capsys, examples(11, "--images", "nowhere"), "--images nowhere")
    assert [path.name for path in there.parent.iterdir() if path.is_dir()] == ["images"]


def test_a_script_runs_all_pairs_and_goes_on(here, monkeypatch):
    given = ["--folder", "pairs", "--quiet", "--labelled", "2", "--arms", "labels", "kd", "--steps", "1"]
    two = ["--pairs", "wrn_40_2-vgg8", "resnet18-light_cnn"]
    image_pairs.main([*given, *two[:2], "--teacher-epochs", "1"])
    monkeypatch.setattr(image_pairs.images, "PAIRS", {"resnet18-light_cnn": ("one", "another")})
    with toy.spoken() as lines, redirect_stdout(io.StringIO()) as printed:
        image_pairs.main([*given, *two, "--teacher-epochs", "1"])
    assert sum("its 95 %" in line or "one seed" in line for line in lines) == 1, "the first was there"
    head, _, *rows = [line for line in printed.getvalue().splitlines() if line.startswith("| ")]
    assert "| labels | kd |" in head and [row.split(" | ")[0] for row in rows] == [
        f"| {pair}" for pair in two[1:]
    ]
    with pytest.raises(SystemExit, match="has teacher_epochs 1, asked for is 3"):
        image_pairs.main([*given, *two, "--teacher-epochs", "3", "--report"])


def test_all_says_that_it_takes_long(here, capsys):
    assert examples("all", "--dry-run", "--quiet") == 0
    out = capsys.readouterr().out
    assert out.startswith("of these, 11 takes about ten minutes")
    assert out.count("$ python distillation_examples.py 11 --quiet\n") == 1


def test_an_interrupt_ends_it_and_writes_nothing(here, capsys, monkeypatch):
    def stop(self, rows):
        raise KeyboardInterrupt

    monkeypatch.setattr(OfRows, "forward", stop)
    assert examples(11, "--quiet", "--labelled", 2) == 130
    assert "nothing was written" in capsys.readouterr().err
    assert not list((here / "checkpoints/examples").glob("images/*"))


@pytest.mark.slow
def test_students_gain_from_what_nobody_labelled(monkeypatch):
    """Of scikit-learn's digits one in 16 has a label; networks and lengths are small."""
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    seed = Seed(READ(None), settings_of(labelled=4, epochs=3, teacher_epochs=4), Plan(), 7)
    teacher, _ = seed.teacher()
    alone, kd, fusion = (seed.accuracy(seed.student(arm)[0]) for arm in ("labels", "kd", "sdd124+lskd"))
    assert seed.accuracy(teacher) > 0.9
    assert min(kd, fusion) > alone + 0.04
