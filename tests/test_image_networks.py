"""Networks of the image setting: as large as published, logits the mean of their grid, the same by seed."""

import pytest
import torch
from torch import nn

from semcom.base.errors import SemcomError
from semcom.models.image_networks import NETWORKS, PAIRS, build

# Millions of parameters for 100 classes, as the tables of CRD and of later papers print them.
PUBLISHED = {
    "resnet32x4": 7.43,
    "resnet8x4": 1.23,
    "wrn_40_2": 2.26,
    "vgg8": 3.97,
    "shufflenet_v1": 0.95,
    "mobilenet_v2": 0.81,
    "resnet18": 11.22,
}
GRIDS = {name: 4 for name in NETWORKS} | {"resnet32x4": 8, "resnet8x4": 8, "wrn_40_2": 8, "mobilenet_v2": 2}


def dense(before, width, kernel=3):
    """Weights of a convolution without bias, and of its BatchNorm."""
    return before * width * kernel**2 + 2 * width


def by_channel(width):
    return 9 * width + 2 * width


def residual(stem, stages):
    count = dense(3, stem)
    for before, width, blocks in zip((stem, *(width for width, _ in stages)), *zip(*stages)):
        count += dense(before, width) + dense(width, width) + (blocks - 1) * 2 * dense(width, width)
        count += dense(before, width, 1) * (before != width)
    return count


def wide(widths, blocks):
    count = 3 * 16 * 9
    for before, width in zip((16, *widths), widths):
        convolutions = before * width * 9 + before * width + (2 * blocks - 1) * width * width * 9
        norms = 2 * before + 2 * width + (blocks - 1) * 4 * width
        count += convolutions + norms
    return count + 2 * widths[-1]


def shuffled(stages, groups=3):
    count, before = dense(3, 24, 1), 24
    for width, blocks in stages:
        for block in range(blocks):
            first = 1 if before == 24 else groups
            own = width if block else width - before
            narrow = own // 4
            pointwise = before * narrow // first + 2 * narrow + narrow * own // groups + 2 * own
            count += pointwise + by_channel(narrow)
            before = width
    return count


def inverted(stages, last=1280):
    count, before = dense(3, 16), 16
    for number, (width, blocks) in enumerate(stages):
        for _ in range(blocks):
            wide = before * (6 if number else 1)
            count += dense(before, wide, 1) + by_channel(wide) + dense(wide, width, 1)
            before = width
    return count + dense(before, last, 1)


def by_formula(classes):
    def classifier(width):
        return (width + 1) * classes

    plain = [(3, 64), (64, 128), (128, 256), (256, 512), (512, 512)]
    light = [(3, 32), (32, 64), (64, 128), (128, 128)]
    small = [(8, 1), (12, 2), (16, 3), (32, 4), (48, 3), (80, 3), (160, 1)]
    return {
        "resnet32x4": residual(32, [(64, 5), (128, 5), (256, 5)]) + classifier(256),
        "resnet8x4": residual(32, [(64, 1), (128, 1), (256, 1)]) + classifier(256),
        "wrn_40_2": wide((32, 64, 128), 6) + classifier(128),
        "vgg8": sum(dense(*layer) + layer[1] for layer in plain) + classifier(512),
        "shufflenet_v1": shuffled([(240, 4), (480, 8), (960, 4)]) + classifier(960),
        "mobilenet_v2": inverted(small) + classifier(1280),
        "resnet18": residual(64, [(64, 2), (128, 2), (256, 2), (512, 2)]) + classifier(512),
        "light_cnn": sum(dense(*layer) for layer in light) + classifier(128),
    }


@pytest.fixture(scope="module")
def of_100_classes():
    return {name: build(name, 100) for name in NETWORKS}


def test_sizes_are_those_published_and_those_of_a_formula(of_100_classes):
    sizes = {name: sum(p.numel() for p in network.parameters()) for name, network in of_100_classes.items()}
    assert sizes == by_formula(100)
    assert {name: round(sizes[name] / 1e6, 2) for name in PUBLISHED} == PUBLISHED


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_are_the_mean_of_the_grid_and_the_classifier_of_pooled_features(name, of_100_classes):
    network = of_100_classes[name].eval()
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits, grid = network(images)
        pooled = nn.functional.adaptive_avg_pool2d(network.features(images), 1).flatten(1)
        plain = pooled @ network.classifier.weight.T + network.classifier.bias
    side = GRIDS[name]
    assert logits.shape == (2, 100) and grid.shape == (2, side, side, 100)
    scale = logits.abs().max()
    assert (logits - grid.mean((1, 2))).abs().max() <= 1e-6 * scale
    assert (logits - plain).abs().max() <= 1e-5 * scale


def test_weights_follow_from_the_seed_alone_and_draw_nothing_from_others():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = build("light_cnn", 10, channels=1, seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    again, other = build("light_cnn", 10, channels=1, seed=3), build("light_cnn", 10, channels=1, seed=4)
    assert all(map(torch.equal, first.state_dict().values(), again.state_dict().values()))
    assert not torch.equal(first.features[0].weight, other.features[0].weight)
    assert first(torch.zeros(2, 1, 32, 32))[0].shape == (2, 10)


def test_weights_keep_the_size_of_a_signal():
    """He et al.: the variance is 2 over fan in, also of convolutions by channel."""
    for layer in build("mobilenet_v2", 10).features.modules():
        if isinstance(layer, nn.Conv2d):
            fan_in = layer.in_channels // layer.groups * layer.kernel_size[0] ** 2
            assert float(layer.weight.detach().std()) == pytest.approx((2 / fan_in) ** 0.5, rel=0.25)


def test_seven_pairs_of_a_larger_teacher_and_a_smaller_student(of_100_classes):
    assert list(PAIRS) == [
        "resnet32x4-resnet8x4",
        "resnet32x4-shufflenet_v1",
        "resnet32x4-mobilenet_v2",
        "wrn_40_2-vgg8",
        "wrn_40_2-shufflenet_v1",
        "wrn_40_2-mobilenet_v2",
        "resnet18-light_cnn",
    ]
    for name, (teacher, student) in PAIRS.items():
        assert name == f"{teacher}-{student}" and {teacher, student} <= set(NETWORKS)


def test_an_unknown_name_is_one_line():
    with pytest.raises(SemcomError, match=r"'resnet8x5': allowed are resnet32x4, .*did you mean resnet8x4\?"):
        build("resnet8x5", 10)
