"""Distillation from Python: the names of the package, ``Distiller`` and ``compare_models``."""

import copy
import math
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import toy
from torch import nn

import semcom
from semcom import DistillationConfig, Distiller, compare_models, plot_training_curves, set_seed
from semcom.base.errors import SemcomError
from semcom.distillation.kd_loss import UNLABELLED
from semcom.distillation.task import NonFiniteLoss
from semcom.distillation.updates import learning_rate

ROOT = Path(semcom.__file__).parent.parent
V = 5
LABELS = DistillationConfig(distill_weight=0.0)


def net(seed, width=8, norm=False):
    torch.manual_seed(seed)
    middle = [nn.BatchNorm1d(width), nn.Dropout(0.5)] if norm else []
    return nn.Sequential(nn.Linear(4, width), *middle, nn.ReLU(), nn.Linear(width, V))


def batches(number=3, size=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [
        (torch.randn(size, 4, generator=generator), torch.randint(V, (size,), generator=generator))
        for _ in range(number)
    ]


def fitted(student, teacher, settings=None, data=None, epochs=2, **choice):
    """A distiller after training, quietly; the student is trained in place."""
    distiller = Distiller(student, teacher, settings, **choice)
    distiller.history = distiller.fit(batches() if data is None else data, epochs, quiet=True)
    return distiller


class Grid(nn.Module):
    """[B, 1, 8, 8] -> logits at each of 4 x 4 places; ``with_grid`` gives their mean too."""

    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.map = nn.Conv2d(1, V, 2, 2)

    def with_grid(self, images):
        grid = self.map(images).movedim(1, -1)
        return grid.mean((1, 2)), grid


def test_the_package_has_its_names_without_importing_torch():
    names = (
        "DistillationConfig",
        "DistillationLoss",
        "Distiller",
        "set_seed",
        "plot_training_curves",
        "compare_models",
        "SemcomError",
        "Unwise",
        "published",
    )
    code = (
        f"import sys, semcom; assert set({names}) <= set(dir(semcom)) & set(semcom.__all__); "
        "light = not {'torch', 'numpy', 'matplotlib'} & set(sys.modules); from semcom import *; "
        "print(light, callable(Distiller), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.split() == ["True"] * 3
    for name in names:
        assert getattr(semcom, name).__name__ == name
    with pytest.raises(AttributeError, match="semcom has no Distillator; here it is Distiller"):
        _ = semcom.Distillator


def test_set_seed_repeats_all_generators():
    import random

    import numpy as np

    drawn = []
    for seed in (7, 7, 8):
        set_seed(seed)
        drawn.append((random.random(), float(np.random.rand()), float(torch.rand(()))))
    assert drawn[0] == drawn[1] and not set(drawn[0]) & set(drawn[2])


def test_training_is_the_formula_step_by_step():
    """(1 - a) CE + a T^2 KL by torch's own functions, clipped, AdamW with warm-up and decay written out."""
    teacher, student = net(0), net(1)
    by_hand, data, epochs, total = copy.deepcopy(student), batches(4), 2, 8
    data[1] = (
        30 * data[1][0],
        data[1][1],
    )  # one step whose gradient is far larger: Adam alone would be blind to a scale of all
    settings = DistillationConfig(temperature=3.0, distill_weight=0.6)
    history = fitted(student, teacher, settings, data, epochs, lr=0.05, warmup_steps=2, clip=1.0).history
    optimizer = torch.optim.AdamW(by_hand.parameters(), lr=0.05, betas=(0.9, 0.98), weight_decay=0.01)
    losses = []
    for step, (x, y) in enumerate(data * epochs, start=1):
        soft = F.kl_div((by_hand(x) / 3).log_softmax(-1), (teacher(x) / 3).softmax(-1), reduction="batchmean")
        loss = 0.4 * F.cross_entropy(by_hand(x), y) + 0.6 * 9 * soft
        optimizer.param_groups[0]["lr"] = (
            0.05 * (total - step + 1) / total
        )  # a warm-up of a fifth of the run is one step here
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(by_hand.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    for ours, theirs in zip(student.parameters(), by_hand.parameters()):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)
    assert [row["loss"] for row in history] == pytest.approx(
        [sum(losses[:4]) / 4, sum(losses[4:]) / 4], rel=1e-4
    )
    assert all(row["loss"] == pytest.approx(0.4 * row["train_ce"] + 0.6 * row["train_kd"]) for row in history)
    assert [row["lr"] for row in history] == [learning_rate(4, 8, 0.05, 2), learning_rate(8, 8, 0.05, 2)]


def test_a_student_learns_from_unlabelled_inputs_what_its_teacher_knows():
    torch.manual_seed(0)
    teacher, student = nn.Linear(4, V), nn.Linear(4, V)
    x = torch.randn(512, 4)
    data = [(part, torch.full((64,), UNLABELLED)) for part in x.split(64)]
    held_out = torch.randn(400, 4)
    test = [(held_out, teacher(held_out).argmax(-1))]
    distiller = Distiller(student, teacher, DistillationConfig(distill_weight=1.0), lr=0.05)
    before = distiller.evaluate(test)["accuracy"]
    distiller.fit(data, 12, quiet=True)
    assert before < 0.6 and distiller.evaluate(test)["accuracy"] > 0.95


def test_the_teacher_neither_learns_nor_leaves_eval_mode():
    teacher, seen = net(0, norm=True), []
    kept = toy.bits(teacher)
    teacher.register_forward_hook(
        lambda module, *_: seen.append((module.training, module[1].training, torch.is_grad_enabled()))
    )
    distiller = Distiller(net(1), teacher)
    distiller.fit(batches(), 3, on_epoch=lambda *_: teacher.train(), quiet=True)
    assert len(seen) == 9 and set(seen) == {(False, False, False)}
    assert toy.same_bits(toy.bits(teacher), kept) and all(p.grad is None for p in teacher.parameters())


def test_what_a_student_shares_with_its_teacher_stays_the_teachers():
    teacher = net(0, norm=True)
    student = nn.Sequential(*teacher[:4], nn.Linear(8, V))
    head, kept = copy.deepcopy(student[4]), toy.bits(teacher)
    distiller = fitted(student, teacher)
    assert toy.same_bits(toy.bits(teacher), kept) and not torch.equal(student[4].weight, head.weight)
    assert {id(p) for p in distiller.trained} == {id(p) for p in student[4].parameters()}
    with pytest.raises(SemcomError, match="copy.deepcopy"):
        Distiller(teacher, teacher)


def test_masked_rows_change_nothing_whatever_they_hold():
    student, teacher = net(1), net(0)
    other = copy.deepcopy(student)
    plain = [(x[:10], y[:10]) for x, y in batches()]
    masked = [(torch.cat((x[:10], torch.full((6, 4), 1e6))), y, torch.arange(16) < 10) for x, y in batches()]
    fitted(student, teacher, data=plain)
    fitted(other, teacher, data=masked)
    for ours, theirs in zip(student.parameters(), other.parameters()):
        torch.testing.assert_close(ours, theirs)
    data = masked + [(x, torch.full_like(y, UNLABELLED)) for x, y in plain]
    wanted = F.cross_entropy(
        torch.cat([student(x) for x, _ in plain]), torch.cat([y for _, y in plain])
    ).item()
    assert Distiller(student, teacher).evaluate(data)["ce"] == pytest.approx(wanted, rel=1e-5)


def test_inputs_and_outputs_of_other_kinds():
    class Answer(dict):
        @property
        def logits(self):
            return self["logits"]

    class Named(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, left, right):
            return Answer(logits=self.inner(torch.cat((left, right), -1)))

    teacher, start = net(0), net(1)
    trained = []
    for wrap, shape in (
        (lambda n: n, lambda x: x),
        (Named, lambda x: (x[:, :2], x[:, 2:])),
        (Named, lambda x: [x[:, :2], x[:, 2:]]),
        (Named, lambda x: {"right": x[:, 2:], "left": x[:, :2]}),
    ):
        student = copy.deepcopy(start)
        fitted(
            wrap(student),
            lambda *inputs, wrap=wrap, **named: wrap(teacher)(*inputs, **named),
            data=[(shape(x), y) for x, y in batches()],
        )
        trained.append(toy.bits(student))
    assert all(toy.same_bits(trained[0], bits) for bits in trained[1:]) and not toy.same_bits(
        trained[0], toy.bits(start)
    )


def test_scales_take_the_grid_of_a_method():
    images = [(torch.randn(6, 1, 8, 8), torch.randint(V, (6,))) for _ in range(2)]
    student, teacher = Grid(0), Grid(1)
    start = toy.bits(student)
    history = fitted(
        student.with_grid, teacher.with_grid, DistillationConfig(scales=(1, 2, 4)), images
    ).history
    assert history[0]["train_scales"] > 0 and 0 < history[0]["complementary"] < 1
    assert history[0]["loss"] == pytest.approx(
        0.3 * history[0]["train_ce"] + 0.7 * (history[0]["train_kd"] + history[0]["train_scales"])
    )
    assert not toy.same_bits(toy.bits(student), start)
    with pytest.raises(SemcomError, match="student_grid"):
        fitted(net(0), net(1), DistillationConfig(scales=(1, 2)))


def test_progress_runs_from_the_first_step_to_the_last():
    distiller = Distiller(net(1), net(0), DistillationConfig(kd_loss="dkd"))
    seen = []
    sums = distiller.loss.sums
    distiller.loss.sums = lambda *rows, **grids: seen.append(distiller.loss.progress) or sums(*rows, **grids)
    distiller.fit(batches(4), 2, quiet=True)
    assert seen == pytest.approx([step / 8 for step in range(1, 9)])


@pytest.mark.draws("png")
def test_validation_and_the_rows_of_the_history(here):
    held_out, rows = batches(2, seed=9), []
    student = net(1, norm=True)
    distiller = Distiller(student, net(0, width=16), lr=0.05)
    history = distiller.fit(
        batches(),
        5,
        validation=held_out,
        on_epoch=lambda row, is_best: rows.append((row, is_best)),
        quiet=True,
    )
    x, y = (torch.cat(parts) for parts in zip(*held_out))
    assert not student.training
    found = [row["validation"] for row in history]
    best = history[found.index(min(found))]
    assert best is not history[-1], "the student is the one of another epoch than the last"
    assert best["validation"] == pytest.approx(F.cross_entropy(student(x), y).item(), rel=1e-5)
    assert best["accuracy"] == pytest.approx((student(x).argmax(-1) == y).double().mean().item())
    assert [row for row, _ in rows] == history and [best for _, best in rows] == [
        v < min(found[:i], default=math.inf) for i, v in enumerate(found)
    ]
    assert {"epoch", "loss", "train_ce", "train_kd", "validation", "lr"} <= history[0].keys()
    for name, given in (("with.png", history), ("without.png", fitted(net(1), net(0)).history)):
        plot_training_curves(given, name, unit="image")
        assert (here / name).read_bytes().startswith(b"\x89PNG")


def test_labels_alone_need_no_teacher():
    student = net(1)
    by_hand = copy.deepcopy(student)
    history = fitted(student, None, LABELS).history
    assert all(row["loss"] == row["train_ce"] for row in history)
    fitted(by_hand, net(0), LABELS)
    assert toy.same_bits(toy.bits(student), toy.bits(by_hand)), "a teacher of weight 0 changes nothing"


def test_an_interrupt_keeps_what_was_learnt():
    def stop(row, is_best):
        if row["epoch"] == 2:
            raise KeyboardInterrupt

    student = net(1)
    start = toy.bits(student)
    distiller = Distiller(student, net(0))
    history = distiller.fit(batches(), 9, on_epoch=stop, quiet=True)
    assert [row["epoch"] for row in history] == [
        1,
        2,
    ] and distiller.stopped == "interrupted in epoch 2, step 6 of 27"
    assert not toy.same_bits(toy.bits(student), start) and not student.training
    distiller.fit(batches(), 1, quiet=True)
    assert distiller.stopped == ""


def test_a_loss_that_is_not_finite_stops_before_it_harms_the_student():
    student = net(1)
    data = batches()
    data[1][0][3] = torch.nan
    distiller = Distiller(student, net(0), lr=0.02)
    with pytest.raises(NonFiniteLoss, match=r"loss is nan in epoch 1, step 2; try a smaller lr than 0.02"):
        distiller.fit(data, 2, quiet=True)
    assert all(p.isfinite().all() for p in student.parameters())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Distiller(net(0), None), "no teacher"),
        (lambda: Distiller(lambda x: x, net(0)), "must be a module"),
        (lambda: Distiller(nn.ReLU(), net(0)), "with parameters"),
        (lambda: Distiller(net(0), net(1), lr=-1), "--lr -1"),
        (lambda: Distiller(net(0), net(1), device="tpu"), "must be auto, cpu, cuda"),
        (
            lambda: Distiller(
                net(0), net(1), DistillationConfig(temperature_schedule="snr", final_temperature=1.0)
            ),
            "no channel",
        ),
        (lambda: fitted(net(0), net(1), data=iter(batches())), "only once"),
        (lambda: fitted(net(0), net(1), data=[]), "no step"),
        (lambda: fitted(net(0), net(1), epochs=0), "epochs 0"),
        (
            lambda: Distiller(net(0), net(1)).evaluate([(torch.zeros(2, 4), torch.full((2,), UNLABELLED))]),
            "no row has a label",
        ),
        (lambda: compare_models({"mine": lambda x: x}, (torch.zeros(1, 4),)), "'mine'"),
    ],
)
def test_wrong_use(make, words):
    with pytest.raises(SemcomError, match=words):
        make()


def test_batches_without_a_length_are_counted():
    class Stream:
        def __iter__(self):
            return iter(batches())

    first, second = net(1), net(1)
    fitted(first, net(0), data=Stream())
    fitted(second, net(0))
    assert toy.same_bits(toy.bits(first), toy.bits(second))


def test_costs_of_models_by_formula_and_on_disk(here, capsys):
    wide, narrow = net(0, 64).train(), net(0, 16)
    rows = compare_models({"wide": wide, "narrow": narrow}, (torch.randn(10, 4),), repeats=3)
    for row, model, width in zip(rows, (wide, narrow), (64, 16)):
        torch.save(model.state_dict(), here / "weights.pt")
        assert row["parameters"] == 4 * width + width + width * V + V
        assert row["flops"] == 2 * (4 * width + width * V)
        assert row["bytes"] == pytest.approx((here / "weights.pt").stat().st_size, abs=200), (
            "but for the name inside"
        )
        assert row["latency_ms"] > 0
    assert wide.training and [row["flops_ratio"] for row in rows] == [1, 0.25]
    assert all(
        row[f"{name}_ratio"] == row[name] / rows[0][name]
        for row in rows
        for name in ("parameters", "bytes", "latency_ms")
    )
    assert "wide" in (out := capsys.readouterr().out) and out.count("ratio") == 4
    compare_models({"narrow": narrow}, (torch.randn(10, 4),), repeats=1, quiet=True)
    assert capsys.readouterr().out == ""


def test_costs_of_teacher_and_student_without_inputs_and_with(capsys):
    wide, narrow = net(0, 64), net(0, 16)
    rows = compare_models(wide, narrow)
    assert [row["model"] for row in rows] == ["teacher", "student"]
    assert rows[1].keys() == {"model", "parameters", "parameters_ratio", "bytes", "bytes_ratio"}
    assert rows == compare_models({"teacher": wide, "student": narrow}, quiet=True)
    assert "compare_models(teacher, student, inputs)" in capsys.readouterr().out
    rows = compare_models(teacher=[wide, wide], student=narrow, inputs=torch.zeros(2, 4), repeats=1)
    assert [row["model"] for row in rows] == ["teacher 1", "teacher 2", "student"]
    assert rows[2]["flops_ratio"] == 0.25 and "inputs" not in capsys.readouterr().out
    loader = torch.utils.data.DataLoader(torch.zeros(2, 4))
    for wrong, told in (
        (lambda: compare_models(wide), "one model"),
        (lambda: compare_models(wide, narrow, loader), "a DataLoader"),
        (lambda: compare_models(wide, narrow, (1, 4)), "a shape; .* torch.randn.1, 4."),
        (
            lambda: compare_models(wide, narrow, [torch.zeros(2, 4), torch.zeros(2)]),
            "'teacher' does not take 2 inputs.*batch.0.",
        ),
        (lambda: compare_models([wide, narrow], torch.zeros(2, 4)), "a Tensor in the place of a student"),
    ):
        with pytest.raises(SemcomError, match=told):
            wrong()


class Recurrent(nn.LSTM):
    def forward(self, x):
        return super().forward(x)[0]


class Attention(nn.MultiheadAttention):
    def forward(self, x):
        return super().forward(x, x, x, need_weights=False)[0]


def test_flops_are_those_that_fused_kernels_hide():
    """Of T rows of width D: four gates of an LSTM; the projections and the products of attention; of an
    encoder's layer also its two linear maps of width F."""
    b, t, d, f = 2, 10, 32, 64
    attention = 4 * d * d * t + 2 * t * t * d
    layer = nn.TransformerEncoderLayer(d, 4, f, batch_first=True)
    models = {
        "lstm": (Recurrent(d, d, batch_first=True), 4 * 2 * d * d * t),
        "attention": (Attention(d, 4, batch_first=True), attention),
        "encoder": (nn.TransformerEncoder(layer, 2), 2 * (attention + 2 * t * d * f)),
    }
    kernels = torch.backends.mkldnn, torch.backends.cudnn
    before = [of.enabled for of in kernels], torch.backends.mha.get_fastpath_enabled()
    rows = compare_models(
        {name: model for name, (model, _) in models.items()}, torch.randn(b, t, d), repeats=1, quiet=True
    )
    assert [row["flops"] for row in rows] == [2 * products for _, products in models.values()]
    assert ([of.enabled for of in kernels], torch.backends.mha.get_fastpath_enabled()) == before


def test_latency_is_that_of_one_sample():
    class Slow(nn.Linear):
        def forward(self, x):
            time.sleep(0.02)
            return super().forward(x)

    (row,) = compare_models({"slow": Slow(4, V)}, (torch.zeros(4, 4),), repeats=3, quiet=True)
    assert 5 <= row["latency_ms"] < 8


def test_a_transceiver_is_sent_a_batch():
    """FLOPs by the formula of the architecture: products of every layer, attention among all pairs, the
    projection."""
    batch, model = toy.collated(3, 5, 5), toy.transceiver()
    rows = compare_models(
        {"teacher": model, "student": toy.transceiver(toy.size(1), toy.size(1))},
        (batch,),
        repeats=1,
        quiet=True,
    )
    s, t, d, f, c, v = 7, 6, 16, 32, toy.C, toy.V
    encoder = 4 * d * d * s + 2 * s * s * d + 2 * s * d * f
    decoder = 4 * d * d * t + 2 * t * t * d + 2 * d * d * (t + s) + 2 * t * s * d + 2 * t * d * f
    ends = s * (d * 256 + 256 * c) + s * (c * d + 2 * d * 512) + t * d * v
    assert [row["flops"] for row in rows] == [2 * (ends + layers * (encoder + decoder)) for layers in (2, 1)]
    assert rows[0]["parameters"] == model.parameter_count()
