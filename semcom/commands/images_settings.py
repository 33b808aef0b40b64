"""Settings of experiment 11, and what its students learn from."""

from dataclasses import dataclass, replace

from semcom.base.flags import Rule, Validated, group, setting, whole
from semcom.base.settings import OutputConfig, RunConfig
from semcom.distillation.settings import DistillationConfig

FOLDER = "checkpoints/examples/images"
LABELS, KD = "labels", "kd"
PAIRS = (
    "resnet32x4-resnet8x4",
    "resnet32x4-shufflenet_v1",
    "resnet32x4-mobilenet_v2",
    "wrn_40_2-vgg8",
    "wrn_40_2-shufflenet_v1",
    "wrn_40_2-mobilenet_v2",
    "resnet18-light_cnn",
)
"""Names of ``models.image_networks.PAIRS``, which --help cannot wait for."""
WEIGHT = 0.9
# Temperatures and weights of the losses' public code, but for dkd at T = 4, which weighs 1 to 1 there.
_BASES = {
    KD: DistillationConfig(distill_weight=WEIGHT),
    "dkd": DistillationConfig(distill_weight=WEIGHT, kd_loss="dkd"),
    "lskd": DistillationConfig(distill_weight=WEIGHT, standardize_logits=True, temperature=2.0),
    "dkd+lskd": DistillationConfig(
        distill_weight=WEIGHT, kd_loss="dkd", standardize_logits=True, temperature=2.0
    ),
}
_SCALES = {"sdd1": (1,), "sdd12": (1, 2), "sdd124": (1, 2, 4)}
ARMS: dict[str, DistillationConfig] = {
    LABELS: DistillationConfig(distill_weight=0.0),
    **_BASES,
    **{
        f"{name}+{base}": replace(settings, scales=scales)
        for name, scales in _SCALES.items()
        for base, settings in _BASES.items()
    },
}
"""Name -> the loss of a student."""
FUSION = "sdd124+lskd"
PUBLISHED = "published-"
PUBLISHED_ARMS = tuple(
    PUBLISHED + name for name in ("kd", "dkd", "lskd", "sdd_kd", "sdd_dkd", "sdd_kd_lskd", "sdd_dkd_lskd")
)
"""The losses of ``distillation.published``, which is no module of settings."""


@dataclass(frozen=True)
class Plan:
    """What no flag sets. batch: images of a step. validation: share of the training images. lr: a student's
    peak, of 1e-3, 3e-3 and 1e-2 the best for labels alone and for KD on the validation images of seed 101."""

    batch: int = 64
    validation: float = 0.1
    teacher_lr: float = 2e-3
    lr: float = 3e-3
    warmup_steps: int = 50


@dataclass(frozen=True)
class ImagesSettings(Validated):
    images: str | None = setting(
        None,
        "a folder with a subfolder of images for each class, or the folder of CIFAR's binary files (default "
        "the 5,000 images of MNIST that the extra images brings, else scikit-learn's digits)",
        metavar="FOLDER",
    )
    pair: str = setting(
        "resnet18-light_cnn", f"teacher and student: {', '.join(PAIRS)}", choices=PAIRS, metavar="PAIR"
    )
    arms: tuple[str, ...] = setting(
        (LABELS, KD, FUSION),
        f"what students learn from: {', '.join((*ARMS, *PUBLISHED_ARMS))}",
        Rule("distinct names", lambda arms: len(set(arms)) == len(arms), f"{LABELS} {KD}"),
        nargs="+",
        choices=(*ARMS, *PUBLISHED_ARMS),
        metavar="ARM",
    )
    labelled: int = setting(
        4,
        f"images of each batch of {Plan.batch} that have a label; of the training images the same share",
        whole(1, Plan.batch, example="4"),
        metavar="N",
    )
    epochs: int = setting(
        10, "a student's passes over the training images", whole(1, example="10"), metavar="N"
    )
    steps: int | None = setting(
        None, "a student's steps, in place of --epochs", whole(1, example="500"), type=int, metavar="N"
    )
    teacher_epochs: int = setting(
        3, "the teacher's, which has all labels", whole(1, example="3"), metavar="N"
    )
    augment: bool = setting(
        False,
        "move images by up to 4 pixels and mirror those that are no letters or digits; the teacher is then "
        "asked at each step, else once",
        action="store_true",
    )
    output_path: str | None = setting(None, f"folder of the results (default {FOLDER})", metavar="FOLDER")
    outputs: OutputConfig = group(OutputConfig())
    run: RunConfig = group(RunConfig())
