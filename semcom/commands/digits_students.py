"""Networks of the image setting: a teacher, its students by each loss, and what they score.

Letters: B images, V = 10 classes.
"""

import copy
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from semcom.base.errors import InterruptedRun
from semcom.commands.digits_images import CLASSES, SHIFTS, Digits, split
from semcom.commands.digits_plan import LABELS_ALONE, METHODS, Plan
from semcom.commands.few_labels import Batches, Network, looked_up, outputs_of
from semcom.distillation.distiller import Distiller
from semcom.distillation.settings import DistillationConfig
from semcom.report.tables import Row

TEACHER, STUDENT, BIASED = "teacher", "student", "student with the bias"
FEW, UNSEEN_CLASS = "few labels", "unseen class"


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


class OfRows(nn.Module):
    """A network whose inputs are rows of ``views``, so that a teacher's answers can be looked up by them."""

    def __init__(self, network: ConvNet, views: Tensor):
        super().__init__()
        self.network, self.views = network, views

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        return self.network.with_grid(self.views[rows])


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
            self._batches((self.split.transfer, nothing), (plan.teacher_batch, 0), plan.teacher_steps),
        )
        self.answers = looked_up(*outputs_of(self.teacher.eval().with_grid, digits.views))
        self.start = build(plan.student_widths, seed)

    def student(self, settings: DistillationConfig) -> ConvNet:
        """A student of the few labels and the unlabelled images."""
        s, plan = self.split, self.plan
        unlabelled = s.transfer[~torch.isin(s.transfer, s.labelled)]
        sizes = plan.labelled_batch, plan.unlabelled_batch
        batches = self._batches((s.labelled, unlabelled), sizes, plan.steps)
        return self._train(
            copy.deepcopy(self.start), self.answers if settings.distils else None, settings, plan.lr, batches
        )

    def blind_student(self, hidden: int) -> ConvNet:
        """A student of soft targets alone, on a transfer set without any image of class ``hidden``."""
        plan, seen = self.plan, self.without(hidden)
        sizes = 0, plan.labelled_batch + plan.unlabelled_batch
        batches = self._batches((seen[:0], seen), sizes, plan.hidden_steps)
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

    def _batches(self, pools: tuple[Tensor, Tensor], sizes: tuple[int, int], steps: int) -> Batches:
        return Batches(self.digits.classes, pools, sizes, steps, self.seed, views=len(SHIFTS))

    def _train(
        self,
        network: ConvNet,
        teacher: Network | None,
        settings: DistillationConfig,
        lr: float,
        batches: Batches,
    ) -> ConvNet:
        distiller = Distiller(
            OfRows(network, self.digits.views), teacher, settings, lr=lr, warmup_steps=self.plan.warmup_steps
        )
        distiller.fit(batches, 1, quiet=True)
        if distiller.stopped:
            stopped = f"{distiller.stopped} of seed {self.seed}; nothing was written"
            raise InterruptedRun(stopped, distiller.signal)
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


def measure(of: Seed, done: Callable[[], object]) -> Iterator[Row]:
    """Test figures of one seed in percent: accuracy of the teacher and of a student by each method; then, for
    each hidden class, recall of it and accuracy on the others, the bias chosen on validation. ``done`` is
    called after each student."""
    yield _few_labels(of, TEACHER, of.teacher)
    for name, settings in of.plan.methods.items():
        yield _few_labels(of, name, of.student(settings))
        done()
    for hidden in of.plan.hidden:
        yield from _unseen_class(of, hidden)
        done()


def _few_labels(of: Seed, name: str, network: ConvNet) -> Row:
    return {
        "experiment": FEW,
        "seed": of.seed,
        "model": name,
        "accuracy": 100 * of.accuracy(network, of.split.test),
        "parameters": sum(p.numel() for p in network.parameters()),
    }


def _unseen_class(of: Seed, hidden: int) -> Iterator[Row]:
    s, classes = of.split, of.digits.classes
    blind = of.blind_student(hidden)
    bias = best_bias(of.logits(blind, s.validation), classes[s.validation], hidden)
    absent = classes[s.test] == hidden
    for name, network, added in ((TEACHER, of.teacher, 0.0), (STUDENT, blind, 0.0), (BIASED, blind, bias)):
        answers_given = biased(of.logits(network, s.test), hidden, added).argmax(-1)
        hit = (answers_given == classes[s.test]).double()
        yield {
            "experiment": UNSEEN_CLASS,
            "seed": of.seed,
            "model": name,
            "hidden": hidden,
            "bias": added,
            "recall": 100 * float(hit[absent].mean()),
            "others": 100 * float(hit[~absent].mean()),
        }
