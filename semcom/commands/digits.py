"""The image setting of the papers on real handwritten digits: ``python distillation_examples.py 9``.

scikit-learn ships 1,797 grey images of 8 x 8 pixels (E. Alpaydin, C. Kaynak, UCI 1998). Few labels and many
unlabelled images: what each loss makes of them; and Hinton's experiment, a student that never sees one class.
Letters: B images, V = 10 classes.
"""

import copy
import dataclasses
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from semcom.base import output_files
from semcom.base.device import environment
from semcom.base.errors import InterruptedRun, escape
from semcom.base.flags import as_record
from semcom.distillation.distiller import Distiller
from semcom.distillation.kd_loss import UNLABELLED
from semcom.distillation.settings import DistillationConfig
from semcom.evaluation.intervals import Estimate, estimate, paired
from semcom.report import plots, tables
from semcom.report.tables import Row

log = logging.getLogger(__name__)

CLASSES = 10
SHIFTS = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
TEST_SEED = 0
TEACHER, STUDENT, BIASED = "teacher", "student", "student with the bias"
FEW, UNSEEN_CLASS = "few labels", "unseen class"
FILES = ("digits.json", "digits.csv", "digits.png")

LABELS_ALONE = "labels alone"
# Of T from 1 to 4 and beta from 1 to 8, what had the highest mean validation accuracy over seeds 100 to 105.
KD = DistillationConfig(distill_weight=0.9, temperature=1.0)
LSKD = DistillationConfig(distill_weight=0.9, standardize_logits=True, temperature=1.0)
DKD = DistillationConfig(distill_weight=0.9, kd_loss="dkd", dkd_beta=1.0, temperature=1.0)
DKD_LSKD = DistillationConfig(
    distill_weight=0.9, kd_loss="dkd", dkd_beta=2.0, standardize_logits=True, temperature=1.0
)


def over(base: DistillationConfig, *scales: int) -> DistillationConfig:
    """Scale Decoupled Distillation: ``base`` on the cells of these scales too."""
    return dataclasses.replace(base, scales=scales)


METHODS = {
    LABELS_ALONE: DistillationConfig(distill_weight=0.0),
    "kd": KD,
    "dkd": DKD,
    "lskd": LSKD,
    "dkd+lskd": DKD_LSKD,
    "sdd [1] over kd": over(KD, 1),
    "sdd [1,2] over kd": over(KD, 1, 2),
    "sdd [1,2,4] over kd": over(KD, 1, 2, 4),
    "sdd [1,2,4] over lskd": over(LSKD, 1, 2, 4),
    "sdd [1,2,4] over dkd+lskd": over(DKD_LSKD, 1, 2, 4),
}
UNSEEN = DistillationConfig(distill_weight=1.0, standardize_logits=True, temperature=2.0)
"""What a student learns from that never sees a class: soft targets alone; chosen in the same way, of T in 2,
4, 8 and kd at 8."""


@dataclass(frozen=True)
class Plan:
    """Sizes and lengths. Widths are channels of the three convolutions; lr is a peak; a step takes labelled
    and unlabelled images."""

    teacher_widths: tuple[int, int, int] = (40, 80, 128)
    student_widths: tuple[int, int, int] = (10, 20, 20)
    test: int = 597
    validation: int = 300
    labelled: int = 100
    teacher_steps: int = 300
    teacher_batch: int = 64
    teacher_lr: float = 3e-3
    steps: int = 300
    labelled_batch: int = 32
    unlabelled_batch: int = 96
    lr: float = 0.02
    warmup_steps: int = 50
    hidden: tuple[int, ...] = (3,)
    hidden_steps: int = 600
    methods: dict[str, DistillationConfig] = field(default_factory=lambda: METHODS)
    unseen: DistillationConfig = UNSEEN


class ConvNet(nn.Module):
    """Three convolutions, the second of stride 2, then an affine classifier at each of 4 x 4 places.

    The mean over places and an affine map commute: a pooled cell's logits are the mean of its places' logits.
    """

    def __init__(self, widths: Sequence[int]):
        super().__init__()
        layers: list[nn.Module] = []
        for before, width, stride in zip((1, *widths), widths, (1, 2, 1)):
            layers += [
                nn.Conv2d(before, width, 3, stride, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(),
            ]
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(widths[-1], CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """[B, 1, 8, 8] -> logits [B, V]."""
        return self.classifier(self.features(images).mean((2, 3)))

    def with_grid(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """[B, 1, 8, 8] -> logits [B, V] and those at each place [B, 4, 4, V], whose mean they are."""
        grid = self.classifier(self.features(images).movedim(1, -1))
        return grid.mean((1, 2)), grid


def build(widths: Sequence[int], seed: int) -> ConvNet:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return ConvNet(widths)


class Digits:
    """images: [N, 1, 8, 8], 0 to 1; classes: [N]; views: [9 N, 1, 8, 8], each image shifted by up to a pixel,
    view v of image i at 9 i + v."""

    def __init__(self):
        loaded = load_digits()
        self.images = torch.tensor(loaded.images, dtype=torch.float32)[:, None] / 16
        self.classes = torch.tensor(loaded.target, dtype=torch.int64)
        padded = F.pad(self.images, (1, 1, 1, 1))
        self.views = torch.stack(
            [padded[..., 1 + down : 9 + down, 1 + right : 9 + right] for down, right in SHIFTS], 1
        ).flatten(0, 1)


@dataclass(frozen=True)
class Split:
    """Numbers of images. The teacher sees ``transfer`` with all labels, the student with those of
    ``labelled`` alone."""

    test: Tensor
    validation: Tensor
    transfer: Tensor
    labelled: Tensor


def split(classes: Tensor, plan: Plan, seed: int) -> Split:
    """The same test images for every seed, so that no seed, one that settings are chosen by or another,
    learns or validates on them; the rest by seed; labels in equal numbers by class."""
    order = torch.randperm(len(classes), generator=torch.Generator().manual_seed(TEST_SEED))
    test, rest = order[: plan.test], order[plan.test :]
    rest = rest[torch.randperm(len(rest), generator=torch.Generator().manual_seed(seed))]
    transfer = rest[plan.validation :]
    each = plan.labelled // CLASSES
    labelled = torch.cat([transfer[classes[transfer] == c][:each] for c in range(CLASSES)])
    return Split(test, rest[: plan.validation], transfer, labelled)


class Batches:
    """``steps`` batches (rows of ``views``, targets): random views of ``labelled`` images with their classes
    and of others without.

    Every image comes up once before any comes up again. Each iteration gives the same batches, which follow
    from ``seed`` alone.
    """

    def __init__(
        self,
        classes: Tensor,
        labelled: Tensor,
        unlabelled: Tensor,
        sizes: tuple[int, int],
        steps: int,
        seed: int,
    ):
        self.classes, self.pools, self.sizes, self.steps, self.seed = (
            classes,
            (labelled, unlabelled),
            sizes,
            steps,
            seed,
        )

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(self.seed)
        drawn = [_endless(pool, size, generator) for pool, size in zip(self.pools, self.sizes)]
        for _ in range(self.steps):
            known, unknown = next(drawn[0]), next(drawn[1])
            images = torch.cat((known, unknown))
            targets = torch.cat((self.classes[known], torch.full_like(unknown, UNLABELLED)))
            yield (
                images * len(SHIFTS) + torch.randint(len(SHIFTS), images.shape, generator=generator),
                targets,
            )


def _endless(pool: Tensor, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    queue = pool[:0]
    while True:
        while len(queue) < size:
            queue = torch.cat((queue, pool[torch.randperm(len(pool), generator=generator)]))
        yield queue[:size]
        queue = queue[size:]


class OfRows(nn.Module):
    """A network whose inputs are rows of ``views``, so that a teacher's answers can be looked up by them."""

    def __init__(self, network: ConvNet, views: Tensor):
        super().__init__()
        self.network, self.views = network, views

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        return self.network.with_grid(self.views[rows])


def answers(teacher: ConvNet, views: Tensor) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """The teacher as a look-up: rows [B] of ``views`` -> its logits [B, V] and grid [B, 4, 4, V], all
    computed here once."""
    with torch.no_grad():
        logits, grid = (torch.cat(parts) for parts in zip(*map(teacher.eval().with_grid, views.split(1024))))
    return lambda rows: (logits[rows], grid[rows])


class Seed:
    """One seed: its split, its teacher, and the start weights and batches that all its students share."""

    def __init__(self, digits: Digits, plan: Plan, seed: int):
        self.digits, self.plan, self.seed = digits, plan, seed
        self.split = split(digits.classes, plan, seed)
        self.teacher = build(plan.teacher_widths, seed)
        nothing = self.split.transfer[:0]
        self._train(
            self.teacher,
            None,
            METHODS[LABELS_ALONE],
            plan.teacher_lr,
            Batches(
                digits.classes,
                self.split.transfer,
                nothing,
                (plan.teacher_batch, 0),
                plan.teacher_steps,
                seed,
            ),
        )
        self.answers = answers(self.teacher, digits.views)
        self.start = build(plan.student_widths, seed)

    def student(self, settings: DistillationConfig) -> ConvNet:
        """A student of the few labels and the unlabelled images."""
        s, plan = self.split, self.plan
        unlabelled = s.transfer[~torch.isin(s.transfer, s.labelled)]
        batches = Batches(
            self.digits.classes,
            s.labelled,
            unlabelled,
            (plan.labelled_batch, plan.unlabelled_batch),
            plan.steps,
            self.seed,
        )
        return self._train(
            copy.deepcopy(self.start), self.answers if settings.distils else None, settings, plan.lr, batches
        )

    def blind_student(self, hidden: int) -> ConvNet:
        """A student of soft targets alone, on a transfer set without any image of class ``hidden``."""
        plan, seen = self.plan, self.without(hidden)
        batches = Batches(
            self.digits.classes,
            seen[:0],
            seen,
            (0, plan.labelled_batch + plan.unlabelled_batch),
            plan.hidden_steps,
            self.seed,
        )
        return self._train(copy.deepcopy(self.start), self.answers, plan.unseen, plan.lr, batches)

    def without(self, hidden: int) -> Tensor:
        """The transfer images of all other classes."""
        return self.split.transfer[self.digits.classes[self.split.transfer] != hidden]

    def logits(self, network: ConvNet, images: Tensor) -> Tensor:
        """[B, V] of unshifted images."""
        with torch.no_grad():
            return network.eval()(self.digits.images[images])

    def accuracy(self, network: ConvNet, images: Tensor) -> float:
        return float((self.logits(network, images).argmax(-1) == self.digits.classes[images]).double().mean())

    def _train(
        self,
        network: ConvNet,
        teacher: Callable | None,
        settings: DistillationConfig,
        lr: float,
        batches: Batches,
    ) -> ConvNet:
        distiller = Distiller(
            OfRows(network, self.digits.views), teacher, settings, lr=lr, warmup_steps=self.plan.warmup_steps
        )
        distiller.fit(batches, 1, quiet=True)
        if distiller.stopped:
            raise InterruptedRun(f"{distiller.stopped} of seed {self.seed}; nothing was written")
        return network


def best_bias(logits: Tensor, classes: Tensor, hidden: int) -> float:
    """What to add to the logit of class ``hidden`` for the highest accuracy on these [B, V] logits; of equals
    the middle one."""
    rivals = logits.clone()
    rivals[:, hidden] = -torch.inf
    margins = (rivals.max(-1).values - logits[:, hidden]).sort().values
    # An image is taken for the hidden class once the bias is above its margin: nothing changes between two
    # margins.
    candidates = (margins[1:] + margins[:-1]) / 2
    hits = torch.stack(
        [(biased(logits, hidden, bias).argmax(-1) == classes).sum() for bias in candidates.tolist()]
    )
    best = candidates[hits == hits.max()]
    return float(best[len(best) // 2])


def biased(logits: Tensor, hidden: int, bias: float) -> Tensor:
    return logits + bias * F.one_hot(torch.tensor(hidden), CLASSES)


def measure(of: Seed, done: Callable[[], None]) -> Iterator[Row]:
    """Test figures of one seed in percent: accuracy of the teacher and of a student by each method; then, for
    each hidden class, recall of it and accuracy on the others, the bias chosen on validation. ``done`` is
    called after each student."""
    s, classes = of.split, of.digits.classes

    def few(name: str, network: ConvNet) -> Row:
        return {
            "experiment": FEW,
            "seed": of.seed,
            "model": name,
            "accuracy": 100 * of.accuracy(network, s.test),
            "parameters": sum(p.numel() for p in network.parameters()),
        }

    yield few(TEACHER, of.teacher)
    for name, settings in of.plan.methods.items():
        yield few(name, of.student(settings))
        done()
    for hidden in of.plan.hidden:
        blind = of.blind_student(hidden)
        bias = best_bias(of.logits(blind, s.validation), classes[s.validation], hidden)
        absent = classes[s.test] == hidden
        for name, network, added in (
            (TEACHER, of.teacher, 0.0),
            (STUDENT, blind, 0.0),
            (BIASED, blind, bias),
        ):
            hit = (biased(of.logits(network, s.test), hidden, added).argmax(-1) == classes[s.test]).double()
            yield {
                "experiment": UNSEEN_CLASS,
                "seed": of.seed,
                "model": name,
                "hidden": hidden,
                "bias": added,
                "recall": 100 * float(hit[absent].mean()),
                "others": 100 * float(hit[~absent].mean()),
            }
        done()


def _column(rows: Sequence[Row], name: str, **where: object) -> list[float]:
    """Values of one column in the order of the seeds."""
    return [row[name] for row in rows if all(row.get(key) == value for key, value in where.items())]


def few_labels(rows: Sequence[Row]) -> list[Row]:
    """A line for each method, of ``Estimate``s: accuracy in %, and its paired differences from labels alone
    and from kd in points."""
    accuracies = {
        name: _column(rows, "accuracy", experiment=FEW, model=name)
        for name in dict.fromkeys(_column(rows, "model", experiment=FEW))
    }
    lines = []
    for name, ours in accuracies.items():
        line = {"method": name, "accuracy": estimate(ours)}
        for heading, other in (("over labels", LABELS_ALONE), ("over kd", "kd")):
            apart = other in accuracies and name not in (other, TEACHER)
            line[heading] = paired(ours, accuracies[other]) if apart else None
        lines.append(line | {"parameters": _column(rows, "parameters", experiment=FEW, model=name)[0]})
    return lines


def unseen_class(rows: Sequence[Row]) -> list[Row]:
    """Three lines for each hidden class, of ``Estimate``s: recall of it, accuracy on the others in %, and
    what the bias costs these."""
    lines = []
    for hidden in dict.fromkeys(_column(rows, "hidden", experiment=UNSEEN_CLASS)):
        found = {
            name: {
                column: _column(rows, column, experiment=UNSEEN_CLASS, hidden=hidden, model=name)
                for column in ("recall", "others", "bias")
            }
            for name in (TEACHER, STUDENT, BIASED)
        }
        for name, columns in found.items():
            cost = paired(found[STUDENT]["others"], columns["others"]) if name == BIASED else None
            lines.append(
                {
                    "class": hidden,
                    "model": name,
                    "recall": estimate(columns["recall"]),
                    "others": estimate(columns["others"]),
                    "cost": cost,
                    "bias": estimate(columns["bias"]) if name == BIASED else None,
                }
            )
    return lines


def _table(lines: Sequence[Row]) -> str:
    shown = [
        {name: f"{value:.2f}" if isinstance(value, Estimate) else value for name, value in line.items()}
        for line in lines
    ]
    return tables.text(tables.frame_of(shown))


def describe(plan: Plan, seeds: int, summary: dict[str, list[Row]]) -> str:
    """The tables on the console."""
    parts = [
        f"few labels: accuracy in % on the same {plan.test} test images, mean and 95 % interval over {seeds} seed{'s' * (seeds > 1)};\n"
        "differences are paired by seed, in points",
        _table(summary[FEW]),
    ]
    if plan.hidden:
        parts += [
            "",
            "a class that the student never sees: recall of it and accuracy on the other nine, in %;\n"
            "cost is what the bias on its logit, chosen on validation, takes from the others, in points",
            _table(summary[UNSEEN_CLASS]),
        ]
    return "\n".join(parts)


def run(
    folder: str | Path,
    seeds: int,
    *,
    named: bool,
    overwrite: bool,
    quiet: bool,
    plan: Plan | None = None,
) -> dict[str, list[Row]]:
    """Both experiments with seeds 0 to ``seeds`` - 1: tables on the console; JSON, CSV and PNG in ``folder``.
    Returns their lines.

    A folder that the user ``named`` is refused where it holds something, without ``overwrite``; another is
    set aside.
    """
    started, folder, plan = time.monotonic(), Path(folder), plan or Plan()
    output_files.check_outputs(
        {"--output-path": folder} | {f"--output-path ({name})": folder / name for name in FILES}, []
    )
    place = output_files.Place("--output-path", folder, named, overwrite, folder=True)
    place.check()
    with output_files.lock(folder):
        if line := place.make_room():
            log.info(line)
        digits = Digits()
        learn = len(digits.classes) - plan.test - plan.validation
        log.info(
            f"{len(digits.classes):,} digits: {plan.test} to test, and by seed {plan.validation} to validate and {learn} to learn from, "
            f"all labelled for the teacher, {plan.labelled} for a student; {plan.steps} steps each"
        )
        rows: list[Row] = []
        with tqdm(
            total=seeds * (1 + len(plan.methods) + len(plan.hidden)),
            disable=quiet,
            unit="model",
            dynamic_ncols=True,
        ) as bar:
            for seed in range(seeds):
                of = Seed(digits, plan, seed)
                bar.update()
                rows += measure(of, bar.update)
        summary = {FEW: few_labels(rows), UNSEEN_CLASS: unseen_class(rows)}
        log.info("\n" + describe(plan, seeds, summary))
        _write(folder, plan, seeds, rows, summary, time.monotonic() - started)
        log.info(
            f"\nmade {', '.join(escape(folder / name) for name in FILES)}; {time.monotonic() - started:,.0f} s"
        )
    return summary


def _write(
    folder: Path, plan: Plan, seeds: int, rows: Sequence[Row], summary: dict[str, list[Row]], seconds: float
) -> None:
    settings = {
        **dataclasses.asdict(plan),
        "methods": {name: as_record(method) for name, method in plan.methods.items()},
        "unseen": as_record(plan.unseen),
    }
    plain = {
        name: [
            {
                key: dataclasses.asdict(value) if isinstance(value, Estimate) else value
                for key, value in line.items()
            }
            for line in lines
        ]
        for name, lines in summary.items()
    }
    versions = {name: metadata.version(name) for name in ("scikit-learn", "scipy")}
    output_files.write_json(
        folder / "digits.json",
        {
            **plain,
            "rows": rows,
            "seeds": seeds,
            "settings": settings,
            "wall_seconds": round(seconds, 1),
            **environment(torch.device("cpu")),
            **versions,
        },
    )
    tables.write_csv(folder / "digits.csv", rows)
    panels = {
        "few labels: test accuracy, %": [
            (line["method"], line["accuracy"].mean, line["accuracy"].half_width) for line in summary[FEW]
        ]
    }
    for hidden in plan.hidden:
        panels[f"digit {hidden} never seen, %"] = [
            (f"{line['model']}, {of_what}", line[key].mean, line[key].half_width)
            for line in summary[UNSEEN_CLASS]
            if line["class"] == hidden
            for key, of_what in (("recall", f"digit {hidden}"), ("others", "the others"))
        ]
    plots.plot_intervals(panels, folder / "digits.png")
