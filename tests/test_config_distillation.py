"""Settings of distillation: their defaults, what is refused and how it is mended, and what is advised
against."""

import argparse
import math

import pytest

from semcom.base.errors import SemcomError
from semcom.base.flags import add_flags, as_record, settings_of
from semcom.distillation.logit_losses import LOGIT_LOSSES
from semcom.distillation.settings import KD_LOSSES, DistillationConfig
from semcom.distillation.transfer_settings import TransferConfig


def parsed(settings, line):
    """From a command line, as the scripts have it."""
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_flags(parser, settings)
    return settings_of(settings, parser.parse_args(line.split()))


def refused(settings, line, opening, cure):
    """The one line that ``line`` is refused with, from its first words to the cure at its end."""
    with pytest.raises(SemcomError) as error:
        parsed(settings, line)
    message = str(error.value)
    assert message.startswith(opening) and message.endswith(cure) and "\n" not in message, message


# Defaults


@pytest.mark.parametrize(
    "line, temperature",
    [
        ("", 4),
        ("--kd-loss rkl", 1),
        ("--kd-loss jsd", 1),
        ("--kd-loss skl", 1),
        ("--kd-loss dkd", 4),
        ("--standardize-logits", 1),
        ("--standardize-logits --kd-loss dkd", 1),
        ("--temperature 2.5", 2.5),
        ("--kd-loss jsd --temperature 4", 4),
        ("--standardize-logits --temperature 0.5", 0.5),
    ],
)
def test_the_temperature_follows_the_loss_unless_it_is_given(line, temperature):
    assert parsed(DistillationConfig, line).temperature == temperature
    assert as_record(parsed(DistillationConfig, line))["temperature"] == temperature


def test_every_loss_has_a_function_a_temperature_and_settings_of_its_own():
    assert set(LOGIT_LOSSES) == set(KD_LOSSES)
    assert all(loss.temperature > 0 for loss in KD_LOSSES.values())
    own = [name for loss in KD_LOSSES.values() for name in loss.own]
    assert len(set(own)) == len(own) and set(own) <= set(DistillationConfig.__dataclass_fields__)
    assert all(not loss.warmup or loss.warmup in loss.own for loss in KD_LOSSES.values())


def test_help_tells_losses_and_their_temperatures():
    words = {name: f.metadata.get("help") for name, f in DistillationConfig.__dataclass_fields__.items()}
    temperatures = "(default 4 for kd and dkd, 1 for the others and with --standardize-logits)"
    assert words["temperature"].endswith(temperatures)
    assert ": Kullback-Leibler, reversed, Jensen-Shannon, skewed, decoupled" in words["kd_loss"]


def test_defaults_settings_of_are_those_of_python():
    for settings in (DistillationConfig, TransferConfig):
        assert parsed(settings, "") == settings()
    plain = DistillationConfig()
    assert (plain.kd_loss, plain.standardize_logits, plain.distill_weight, plain.scales) == (
        "kd",
        False,
        0.7,
        (),
    )
    assert (plain.jsd_beta, plain.skew, plain.dkd_alpha, plain.dkd_beta, plain.complementary_weight) == (
        0.5,
        0.1,
        1,
        8,
        2,
    )


def test_flags_reach_their_settings():
    assert parsed(
        DistillationConfig, "--kd-loss DKD --dkd-alpha 2 --dkd-beta 4 --dkd-warmup 0.2"
    ) == DistillationConfig(kd_loss="dkd", dkd_alpha=2.0, dkd_beta=4.0, dkd_warmup=0.2)
    assert parsed(
        DistillationConfig, "--scales 1 2 4 --complementary-weight 3 --scale-weight 0.5"
    ) == DistillationConfig(scales=(1, 2, 4), complementary_weight=3.0, scale_weight=0.5)
    assert parsed(DistillationConfig, "--kd-loss jsd --jsd-beta 0.2").jsd_beta == 0.2
    assert parsed(DistillationConfig, "--kd-loss skl --skew 0.3").skew == 0.3
    scheduled = parsed(
        DistillationConfig,
        "--temperature-schedule cosine --final-temperature 1 --weight-schedule snr --final-weight 0",
    )
    assert (
        scheduled.temperature_schedule,
        scheduled.final_temperature,
        scheduled.weight_schedule,
        scheduled.final_weight,
    ) == ("cosine", 1, "snr", 0)
    assert parsed(
        TransferConfig,
        "--teacher-weights 2 1 --teacher-mean probabilities --feature-loss cosine --cross-weight 0.5 "
        "--sequence-level 4",
    ) == TransferConfig(
        teacher_weights=(2.0, 1.0),
        teacher_mean="probabilities",
        feature_loss="cosine",
        cross_weight=0.5,
        sequence_level=4,
    )


@pytest.mark.parametrize(
    "line", ["--kd-loss kl", "--temperature-schedule sine", "--weight-schedule steps", "--distill-part both"]
)
def test_choices(line):
    with pytest.raises(argparse.ArgumentError, match="invalid choice"):
        parsed(DistillationConfig, line)


@pytest.mark.parametrize(
    "line, distils",
    [
        ("", True),
        ("--distill-weight 0", False),
        ("--distill-weight 0 --weight-schedule linear --final-weight 0.5", True),
        ("--weight-schedule linear --final-weight 0", True),
    ],
)
def test_whether_anything_is_distilled(line, distils):
    assert parsed(DistillationConfig, line).distils is distils


# Refusals of single values


@pytest.mark.parametrize(
    "flag, values, allowed",
    [
        ("--temperature", ("0", "-1", "nan", "inf"), "a finite number above 0"),
        ("--final-temperature", ("0", "-2", "nan"), "a finite number above 0"),
        ("--distill-weight", ("-0.1", "1.1", "nan"), "a number from 0 to 1"),
        ("--final-weight", ("-0.1", "1.1"), "a number from 0 to 1"),
        ("--jsd-beta", ("0", "1", "1.5", "nan"), "a number between 0 and 1"),
        ("--skew", ("-0.1", "1", "1.5", "nan"), "a number of 0 or more and below 1"),
        ("--dkd-alpha", ("-1", "inf"), "a finite number of 0 or more"),
        ("--dkd-beta", ("-1", "nan"), "a finite number of 0 or more"),
        ("--dkd-warmup", ("-0.1", "1.1"), "a number from 0 to 1"),
        ("--scales", ("0", "513", "-2", "1 2 2"), "distinct whole numbers from 1 to 512"),
        ("--scale-weight", ("-1", "inf"), "a finite number of 0 or more"),
        ("--complementary-weight", ("-1", "nan"), "a finite number of 0 or more"),
    ],
)
def test_values_out_of_range(flag, values, allowed):
    example = example_of(DistillationConfig, flag)
    for value in values:
        refused(
            DistillationConfig,
            f"{flag} {value}",
            f"{flag} {value}: must be {allowed}",
            f"; for example {flag} {example}",
        )
    mended = {
        "--jsd-beta": "--kd-loss jsd",
        "--skew": "--kd-loss skl",
        "--scale-weight": "--scales 1",
        "--complementary-weight": "--scales 1",
        "--final-temperature": "--temperature-schedule linear",
        "--final-weight": "--weight-schedule linear",
    }
    needed = "--kd-loss dkd" if flag.startswith("--dkd") else mended.get(flag, "")
    parsed(DistillationConfig, f"{needed} {flag} {example}")


@pytest.mark.parametrize(
    "flag, values, allowed",
    [
        *(
            (f"--{name}-weight", ("-1", "nan", "inf"), "a finite number of 0 or more")
            for name in ("feature", "encoder", "signal", "decoder", "cross")
        ),
        ("--sequence-level", ("-1", "65"), "a whole number of 0 or more, at most 64"),
        ("--teacher-weights", ("0 1", "-1", "1 nan", "1 inf"), "numbers above 0"),
    ],
)
def test_values_out_of_range_of_transfer(flag, values, allowed):
    for value in values:
        refused(
            TransferConfig,
            f"{flag} {value}",
            f"{flag} {value}: must be {allowed}",
            f"; for example {flag} {example_of(TransferConfig, flag)}",
        )
    parsed(TransferConfig, f"{flag} {example_of(TransferConfig, flag)}")


def example_of(settings, flag):
    return settings.__dataclass_fields__[flag[2:].replace("-", "_")].metadata["rule"].example


# Refusals of combinations: the line, how the refusal opens and ends, and the line that follows its cure


OWNERS = {
    "--jsd-beta 0.3": "jsd",
    "--skew 0.3": "skl",
    "--dkd-alpha 2": "dkd",
    "--dkd-beta 4": "dkd",
    "--dkd-warmup 0.2": "dkd",
}


@pytest.mark.parametrize("kd_loss", KD_LOSSES)
@pytest.mark.parametrize("given", OWNERS)
def test_a_setting_of_another_loss(given, kd_loss):
    owner = OWNERS[given]
    if kd_loss == owner:
        parsed(DistillationConfig, f"--kd-loss {kd_loss} {given}")
        return
    refused(
        DistillationConfig,
        f"--kd-loss {kd_loss} {given}",
        f"{given}: is a setting of --kd-loss {owner}, this run has {kd_loss};",
        f"leave it out, or give --kd-loss {owner}",
    )
    parsed(DistillationConfig, f"--kd-loss {owner} {given}")


@pytest.mark.parametrize(
    "line, opening, cure, mended",
    [
        *(
            (given, f"{given}: weighs segments", "leave it out, or add --scales 1 2", f"{given} --scales 1 2")
            for given in ("--scale-weight 2", "--complementary-weight 3")
        ),
        *(
            (
                f"--final-{name} {end}",
                f"--final-{name} {end}: needs a schedule",
                f"leave it out, or give --{name}-schedule linear",
                f"--final-{name} {end} --{name}-schedule linear",
            )
            for name, end in (("temperature", 2), ("weight", 0))
        ),
        *(
            (
                f"--temperature-schedule {shape}",
                f"--temperature-schedule {shape}: needs an end to go to",
                "add --final-temperature",
                f"--temperature-schedule {shape} --final-temperature 1",
            )
            for shape in ("linear", "cosine", "snr")
        ),
        *(
            (
                f"--weight-schedule {shape}",
                f"--weight-schedule {shape}: needs an end to go to",
                "add --final-weight",
                f"--weight-schedule {shape} --final-weight 0.3",
            )
            for shape in ("linear", "cosine", "snr")
        ),
        *(
            (
                f"--distill-weight 0 {given}",
                f"{given.split()[0]}: with --distill-weight 0 nothing is compared with the teacher",
                "leave it out, or give a weight above 0",
                f"--distill-weight 0.1 {given}",
            )
            for given in (
                "--kd-loss rkl",
                "--standardize-logits",
                "--teacher-top-k 50",
                "--scales 1 2",
                "--temperature-schedule linear --final-temperature 1",
            )
        ),
    ],
)
def test_combinations(line, opening, cure, mended):
    refused(DistillationConfig, line, opening, cure)
    parsed(DistillationConfig, mended)


# Feature weights by the part that is distilled


@pytest.mark.parametrize(
    "line, part, weights",
    [
        ("", "full", {}),
        ("--feature-weight 2", "full", {"signal": 2, "decoder": 2}),
        ("--feature-weight 2", "encoder", {"signal": 2}),
        ("--feature-weight 2", "decoder", {"decoder": 2}),
        ("--feature-weight 2 --signal-weight 0", "full", {"decoder": 2}),
        ("--feature-weight 2 --decoder-weight 0.5", "full", {"signal": 2, "decoder": 0.5}),
        ("--encoder-weight 1", "full", {"encoder": 1}),
        ("--encoder-weight 1 --signal-weight 3", "encoder", {"encoder": 1, "signal": 3}),
        ("--decoder-weight 3", "decoder", {"decoder": 3}),
        ("--signal-weight 0 --encoder-weight 0", "decoder", {}),
        ("--decoder-weight 0", "encoder", {}),
    ],
)
def test_feature_weights(line, part, weights):
    assert parsed(TransferConfig, line).feature_weights(part) == weights


@pytest.mark.parametrize(
    "line, part, opening",
    [
        (
            "--encoder-weight 1.5",
            "decoder",
            "--encoder-weight 1.5: compares semantic encoder states, and --distill-part decoder",
        ),
        (
            "--signal-weight 2",
            "decoder",
            "--signal-weight 2: compares transmitted signals, and --distill-part decoder",
        ),
        (
            "--decoder-weight 3",
            "encoder",
            "--decoder-weight 3: compares semantic decoder states, and --distill-part encoder",
        ),
    ],
)
def test_features_of_the_end_that_is_not_trained(line, part, opening):
    with pytest.raises(SemcomError) as error:
        parsed(TransferConfig, line).feature_weights(part)
    assert str(error.value) == f"{opening} trains the other end; leave it out"


# Advice


SHARPENS, FLAT, LABELS = (
    "it sharpens the teacher instead of softening it",
    "the teacher's distribution is nearly flat",
    "the labels hardly count",
)


@pytest.mark.parametrize(
    "line, lines",
    [
        ("", []),
        *((f"--kd-loss {name}", []) for name in KD_LOSSES),
        ("--temperature 1 --distill-weight 0.95", []),
        ("--temperature 15", []),
        ("--temperature 0.5", [f"--temperature 0.5 is under 1: {SHARPENS}"]),
        ("--temperature 0.5 --standardize-logits", []),
        ("--temperature 16", [f"--temperature 16 is over 15: {FLAT}"]),
        ("--temperature 16 --standardize-logits", [f"--temperature 16 is over 15: {FLAT}"]),
        ("--distill-weight 0.96", [f"--distill-weight 0.96 is over 0.95: {LABELS}"]),
        (
            "--temperature-schedule linear --temperature 20 --final-temperature 0.5",
            [f"--temperature 20 is over 15: {FLAT}", f"--final-temperature 0.5 is under 1: {SHARPENS}"],
        ),
        ("--weight-schedule cosine --final-weight 1", [f"--final-weight 1 is over 0.95: {LABELS}"]),
    ],
)
def test_advice(line, lines):
    assert parsed(DistillationConfig, line).advice() == lines


def test_python_is_held_to_the_same_rules():
    with pytest.raises(SemcomError, match="--temperature nan: must be a finite number above 0"):
        DistillationConfig(temperature=math.nan)
    with pytest.raises(SemcomError, match="--skew 0.3: is a setting of --kd-loss skl, this run has kd"):
        DistillationConfig(skew=0.3)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"kd_loss": "foo"}, "--kd-loss foo: allowed are kd, rkl"),
        ({"weight_schedule": "lin"}, "--weight-schedule lin: allowed are constant"),
        ({"kd_loss": "jsd", "jsd_beta": 1.0}, "--jsd-beta 1: must be a number between 0 and 1"),
        ({"kd_loss": "skl", "skew": 1.0}, "--skew 1: must be"),
    ],
)
def test_what_flags_cannot_say_is_refused_from_python_too(settings, words):
    with pytest.raises(SemcomError, match=words):
        DistillationConfig(**settings)
