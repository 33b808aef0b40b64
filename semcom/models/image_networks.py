"""Small networks for images of 32 x 32 pixels, as papers on distillation compare them, and their pairs.

Letters: B images, C channels, V classes, D width of the last features, H x W places of the last features.

Each is a stack of features [B, C, 32, 32] -> [B, D, H, W] and an affine classifier. The classifier is applied
at every place; the mean over places and an affine map commute, so that the logits are those of the pooled
features, and a pooled cell's logits are the mean of its places' logits. Widths, depths and strides are those
under which papers from CRD on (Tian et al. 2020, arXiv 1910.10699) call the networks by these names.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from semcom.base.advice import meant
from semcom.base.errors import SemcomError, shown


class Features(NamedTuple):
    """[B, C, 32, 32] -> [B, width, H, W]."""

    layers: nn.Module
    width: int


class Stage(NamedTuple):
    """Blocks of one width; the first of them strides."""

    width: int
    blocks: int
    stride: int

    def strides(self) -> list[int]:
        return [self.stride] + [1] * (self.blocks - 1)


class ImageNetwork(nn.Module):
    """Features and, at each of their places, an affine classifier."""

    def __init__(self, features: Features, classes: int):
        super().__init__()
        self.features = features.layers
        self.classifier = nn.Linear(features.width, classes)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """[B, C, 32, 32] -> logits [B, V] and those at each place [B, H, W, V], whose mean they are."""
        places = self.features(images).movedim(1, -1)
        grid = self.classifier(places)
        return grid.mean((1, 2)), grid


# --- layers


def convolution(before: int, width: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """That keeps height and width, but for its stride."""
    return nn.Conv2d(before, width, kernel, stride, padding=kernel // 2, groups=groups, bias=False)


def normalized(before: int, width: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """A convolution and BatchNorm."""
    return nn.Sequential(convolution(before, width, kernel, stride, groups), nn.BatchNorm2d(width))


def activated(before: int, width: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """A convolution, BatchNorm and ReLU."""
    return nn.Sequential(*normalized(before, width, kernel, stride, groups), nn.ReLU())


# --- residual networks


class BasicBlock(nn.Module):
    """Two convolutions beside a shortcut (He et al. 2016, arXiv 1512.03385)."""

    def __init__(self, before: int, width: int, stride: int):
        super().__init__()
        self.residual = nn.Sequential(activated(before, width, stride=stride), normalized(width, width))
        changes = stride != 1 or before != width
        self.shortcut = normalized(before, width, kernel=1, stride=stride) if changes else nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        return torch.relu(self.residual(images) + self.shortcut(images))


def resnet(channels: int, stem: int, stages: Sequence[Stage]) -> Features:
    """The first convolution keeps all 32 x 32 places."""
    layers: list[nn.Module] = [activated(channels, stem)]
    width = stem
    for stage in stages:
        for stride in stage.strides():
            layers.append(BasicBlock(width, stage.width, stride))
            width = stage.width
    return Features(nn.Sequential(*layers), width)


class WideBlock(nn.Module):
    """BatchNorm and ReLU stand before each convolution (Zagoruyko and Komodakis 2016, arXiv 1605.07146);
    where the width changes, the shortcut takes what the first of them gives."""

    def __init__(self, before: int, width: int, stride: int):
        super().__init__()
        self.activation = nn.Sequential(nn.BatchNorm2d(before), nn.ReLU())
        self.residual = nn.Sequential(
            *activated(before, width, stride=stride),
            convolution(width, width),
        )
        self.shortcut = convolution(before, width, kernel=1, stride=stride) if before != width else None

    def forward(self, images: Tensor) -> Tensor:
        active = self.activation(images)
        shortcut = self.shortcut(active) if self.shortcut else images
        return self.residual(active) + shortcut


def wide_resnet(channels: int, depth: int, factor: int) -> Features:
    """WRN-depth-factor: three stages; 4 layers are the first, the last and two shortcuts."""
    blocks = (depth - 4) // 6
    stages = [Stage(16 * factor, blocks, 1), Stage(32 * factor, blocks, 2), Stage(64 * factor, blocks, 2)]
    width = 16
    layers: list[nn.Module] = [convolution(channels, width)]
    for stage in stages:
        for stride in stage.strides():
            layers.append(WideBlock(width, stage.width, stride))
            width = stage.width
    return Features(nn.Sequential(*layers, nn.BatchNorm2d(width), nn.ReLU()), width)


# --- plain networks

HALVED = "halved"


def plain(channels: int, plan: Sequence[int | str], bias: bool = False) -> Features:
    """Convolutions of the widths in ``plan``, and maxima over 2 x 2 places where it says ``HALVED``.

    bias: whether convolutions have one. BatchNorm takes it off again; it counts in published sizes.
    """
    layers: list[nn.Module] = []
    width = channels
    for step in plan:
        if isinstance(step, str):
            layers.append(nn.MaxPool2d(2))
            continue
        convolved = nn.Conv2d(width, step, 3, padding=1, bias=bias)
        layers += [convolved, nn.BatchNorm2d(step), nn.ReLU()]
        width = step
    return Features(nn.Sequential(*layers), width)


# --- networks for small devices


class ShuffleUnit(nn.Module):
    """1 x 1 convolutions in groups around one by channel; between them the groups' channels are shuffled
    (Zhang et al. 2018, arXiv 1707.01083). A unit that strides puts its input, averaged, beside its output."""

    def __init__(self, before: int, width: int, stride: int, groups: tuple[int, int]):
        """groups: of the first and of the last convolution."""
        super().__init__()
        first, last = groups
        own = width - before if stride == 2 else width
        narrow = own // 4
        self.strides = stride == 2
        self.layers = nn.Sequential(
            activated(before, narrow, kernel=1, groups=first),
            nn.ChannelShuffle(first),
            activated(narrow, narrow, stride=stride, groups=narrow),
            normalized(narrow, own, kernel=1, groups=last),
        )
        self.average = nn.AvgPool2d(3, stride=2, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        own = self.layers(images)
        if self.strides:
            return torch.relu(torch.cat((own, self.average(images)), 1))
        return torch.relu(own + images)


def shufflenet(channels: int, groups: int, stages: Sequence[Stage]) -> Features:
    """The first convolution is 1 x 1 and keeps all places; its few channels are not grouped."""
    width = 24
    layers: list[nn.Module] = [activated(channels, width, kernel=1)]
    first_groups = 1
    for stage in stages:
        for stride in stage.strides():
            layers.append(ShuffleUnit(width, stage.width, stride, (first_groups, groups)))
            width, first_groups = stage.width, groups
    return Features(nn.Sequential(*layers), width)


class InvertedResidual(nn.Module):
    """1 x 1 to a greater width, 3 x 3 by channel, 1 x 1 back without ReLU (Sandler et al. 2018, arXiv
    1801.04381), beside its input where nothing changes."""

    def __init__(self, before: int, width: int, stride: int, expansion: int):
        super().__init__()
        wide = before * expansion
        self.layers = nn.Sequential(
            activated(before, wide, kernel=1),
            activated(wide, wide, stride=stride, groups=wide),
            normalized(wide, width, kernel=1),
        )
        self.keeps = stride == 1 and before == width

    def forward(self, images: Tensor) -> Tensor:
        residual = self.layers(images)
        return residual + images if self.keeps else residual


def mobilenet(channels: int, stages: Sequence[Stage], expansion: int, last: int) -> Features:
    """The first stage does not expand. The first convolution strides, so that 2 x 2 places are left."""
    width = 2 * stages[0].width
    layers: list[nn.Module] = [activated(channels, width, stride=2)]
    for stage in stages:
        factor = 1 if stage is stages[0] else expansion
        for stride in stage.strides():
            layers.append(InvertedResidual(width, stage.width, stride, factor))
            width = stage.width
    layers.append(activated(width, last, kernel=1))
    return Features(nn.Sequential(*layers), last)


# --- by name

NETWORKS: dict[str, Callable[[int], Features]] = {
    "resnet32x4": partial(resnet, stem=32, stages=[Stage(64, 5, 1), Stage(128, 5, 2), Stage(256, 5, 2)]),
    "resnet8x4": partial(resnet, stem=32, stages=[Stage(64, 1, 1), Stage(128, 1, 2), Stage(256, 1, 2)]),
    "wrn_40_2": partial(wide_resnet, depth=40, factor=2),
    "vgg8": partial(plain, plan=[64, HALVED, 128, HALVED, 256, HALVED, 512, 512], bias=True),
    "shufflenet_v1": partial(
        shufflenet, groups=3, stages=[Stage(240, 4, 2), Stage(480, 8, 2), Stage(960, 4, 2)]
    ),
    # Half of the published widths but for the last.
    "mobilenet_v2": partial(
        mobilenet,
        stages=[
            Stage(8, 1, 1),
            Stage(12, 2, 1),
            Stage(16, 3, 2),
            Stage(32, 4, 2),
            Stage(48, 3, 1),
            Stage(80, 3, 2),
            Stage(160, 1, 1),
        ],
        expansion=6,
        last=1280,
    ),
    "resnet18": partial(
        resnet, stem=64, stages=[Stage(64, 2, 1), Stage(128, 2, 2), Stage(256, 2, 2), Stage(512, 2, 2)]
    ),
    "light_cnn": partial(plain, plan=[32, HALVED, 64, HALVED, 128, HALVED, 128]),
}
"""Name -> channels C -> features. Places of the last: 8 x 8 of resnet32x4, resnet8x4 and wrn_40_2, 2 x 2 of
mobilenet_v2, 4 x 4 of the others."""

_STUDENTS = {
    "resnet32x4": ("resnet8x4", "shufflenet_v1", "mobilenet_v2"),
    "wrn_40_2": ("vgg8", "shufflenet_v1", "mobilenet_v2"),
    "resnet18": ("light_cnn",),
}
PAIRS: dict[str, tuple[str, str]] = {
    f"{teacher}-{student}": (teacher, student)
    for teacher, students in _STUDENTS.items()
    for student in students
}
"""Name -> (teacher, student)."""


def build(name: str, classes: int, channels: int = 3, seed: int = 0) -> ImageNetwork:
    """The network of that name, with random weights that follow from ``seed`` alone: convolutions by He et
    al. 2015 (arXiv 1502.01852), of fan in. Raises SemcomError for a name that there is not."""
    if name not in NETWORKS:
        raise SemcomError(f"{shown(name)!r}: allowed are {', '.join(NETWORKS)}{meant(name, NETWORKS)}")
    # What layers draw when they are made is drawn anew below.
    with torch.random.fork_rng(devices=[]):
        network = ImageNetwork(NETWORKS[name](channels), classes)
    _draw(network, torch.Generator().manual_seed(seed))
    return network


def _draw(network: ImageNetwork, generator: torch.Generator) -> None:
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    bound = network.classifier.in_features**-0.5
    nn.init.uniform_(network.classifier.weight, -bound, bound, generator=generator)
    nn.init.zeros_(network.classifier.bias)
