"""Settings become flags, flags settings, and settings the command that a person would type."""

import argparse
import copy
import inspect
from dataclasses import dataclass

import pytest

from semcom.base.errors import SemcomError
from semcom.base.flag_words import changed, parse_over, words_of
from semcom.base.flags import (
    Validated,
    add_flags,
    group,
    groups,
    number,
    required,
    setting,
    settings_of,
)
from semcom.channel.settings import ChannelConfig
from semcom.commands import examples
from semcom.commands.analyse_settings import AnalysisSettings, analysis_like
from semcom.commands.distil_settings import DistillationFiles, DistilSettings
from semcom.commands.parsers import VERBS, analysis_parser, distillation_parser
from semcom.commands.sweep_plan import Grid
from semcom.data.settings import CorpusConfig
from semcom.distillation.settings import DistillationConfig
from semcom.distillation.training_settings import StudentConfig, TrainingConfig


@dataclass(frozen=True)
class Sound(Validated):
    """How it sounds:
    in two lines.

    More about it.
    """

    pitch: float = setting(440.0, "in Hz", number(0, above=True, example="440"), metavar="HZ")
    key: str = setting("major", "the key", choices=("major", "minor"))
    overtones: int | None = setting(None, "how many", type=int)


@dataclass(frozen=True, kw_only=True)
class Song(Validated):
    words: tuple[str, ...] = required("what is sung", positional=True, nargs="+", metavar="WORD")
    output: str = required("the file", metavar="FILE")
    loud: bool = setting(False, "sing loudly", action="store_true")
    lead: Sound = group(Sound(pitch=220.0), title="Lead", only=("pitch", "key"))
    choir: tuple[ChannelConfig, ...] = groups(ChannelConfig(), several="channel")


def parser_of(settings):
    parser = argparse.ArgumentParser(exit_on_error=False, prog="sing")
    add_flags(parser, settings)
    return parser


def parsed(settings, line):
    return settings_of(settings, parser_of(settings).parse_args(line.split()))


def test_a_group_has_its_own_defaults_and_flags():
    song = parsed(Song, "la la --output song.txt")
    assert song == Song(words=("la", "la"), output="song.txt")
    assert song.lead == Sound(pitch=220.0) and song.choir == (ChannelConfig(),)
    assert parsed(Song, "la --output s --pitch 110 --key minor").lead == Sound(110.0, "minor")
    assert parser_of(Song).parse_known_args(["la", "--output", "s", "--overtones", "3"])[1] == [
        "--overtones",
        "3",
    ]


def test_several_values_of_one_setting_are_several_groups_and_each_once():
    song = parsed(Song, "la --output s --channel rician awgn rician --rician-k 3")
    assert song.choir == (
        ChannelConfig(channel="rician", rician_k=3.0),
        ChannelConfig(channel="awgn", rician_k=3.0),
    )


def test_help_shows_titles_and_the_defaults_of_the_verb():
    page = parser_of(Song).format_help()
    assert "Lead:\n" in page and "(default 220.0)" in page and "440" not in page
    assert "How it sounds: in two lines:\n" in parser_of(Chorus).format_help(), "the first paragraph"


@dataclass(frozen=True)
class Chorus(Validated):
    sound: Sound = group(Sound())


@pytest.mark.parametrize("line", ["--output s", "la"])
def test_what_is_required_is_asked_for(line):
    with pytest.raises((argparse.ArgumentError, SystemExit)):
        parsed(Song, line)


def test_a_value_of_a_group_is_checked():
    with pytest.raises(SemcomError, match="--pitch 0: must be a finite number above 0"):
        parsed(Song, "la --output s --pitch 0")


# What a person types


@pytest.mark.parametrize(
    "line",
    [
        "la la --output song.txt",
        "la --output s --loud --pitch 110.5 --key minor --channel awgn rayleigh --equalizer mmse",
        "la --output s --pitch 110",
    ],
)
def test_words_are_the_flags_that_say_something_else(line):
    song = parsed(Song, line)
    assert words_of(song) == line.split()
    assert settings_of(Song, parser_of(Song).parse_args(words_of(song))) == song


def test_some_words_stand_first_also_where_they_say_the_default():
    song = Song(words=("la",), output="s", lead=Sound(pitch=220.0, key="minor"))
    assert words_of(song, first=("pitch", "loud")) == [
        "la",
        "--pitch",
        "220",
        "--output",
        "s",
        "--key",
        "minor",
    ]


@pytest.mark.parametrize(
    "settings",
    [
        DistilSettings(),
        DistilSettings(distillation=DistillationConfig(kd_loss="jsd", jsd_beta=0.3)),
        DistilSettings(distillation=DistillationConfig(temperature=1.0, scales=(1, 2))),
        DistilSettings(
            files=DistillationFiles(
                ("a b.pt", "c.pt"), create_hybrid=True, hybrid_parts=("encoder", "decoder")
            ),
            student=StudentConfig(student_init="random"),
            corpus=CorpusConfig(corpus=("a.en",), corpus_size=None, max_length=20),
            training=TrainingConfig(lr=1e-05, steps=7),
        ),
    ],
)
def test_the_command_of_a_distillation_makes_these_settings(settings):
    words = words_of(settings)
    assert settings_of(DistilSettings, distillation_parser().parse_args(words)) == settings
    assert bool(words) == (settings != DistilSettings())


def test_a_path_that_begins_with_a_dash_is_typed_as_a_path():
    files = DistillationFiles(("-a.pt", "b.pt"), output_path="-run")
    words = words_of(DistilSettings(files=files))
    assert words == ["--teacher-checkpoint", "./-a.pt", "b.pt", "--output-path", "./-run"]
    made = settings_of(DistilSettings, distillation_parser().parse_args(words))
    assert made.output_path.resolve() == DistilSettings(files=files).output_path.resolve()


def test_a_temperature_that_follows_from_the_loss_is_not_typed():
    settings = DistilSettings(distillation=DistillationConfig(kd_loss="jsd"))
    assert settings.distillation.temperature == 1
    assert settings.command() == "python distillation.py --kd-loss jsd"
    given = DistilSettings(distillation=DistillationConfig(kd_loss="jsd", temperature=4.0))
    assert given.command() == "python distillation.py --temperature 4 --kd-loss jsd"


def test_flags_over_settings():
    common = DistilSettings(
        distillation=DistillationConfig(distill_part="decoder"), training=TrainingConfig(steps=300)
    )
    words = ["--kd-loss", "jsd", "--steps", "7", "--seed=3"]
    over = parse_over(distillation_parser(), words, common)
    assert over.distillation == DistillationConfig(distill_part="decoder", kd_loss="jsd")
    assert over.training.steps == 7 and over.run.seed == 3
    assert parse_over(distillation_parser(), [], common) == common
    assert (
        parse_over(distillation_parser(), ["--distill-part", "full"], common).distillation
        == DistillationConfig()
    )


def test_a_setting_that_is_fixed_does_not_follow_from_others():
    words, settings = ["--kd-loss", "jsd"], DistilSettings()
    follows = parse_over(distillation_parser(), words, settings)
    fixed = parse_over(distillation_parser(), words, settings, fixed=["temperature"])
    assert (follows.distillation.temperature, fixed.distillation.temperature) == (1, 4)
    (common,) = examples.runs_of(6, words)
    runs = Grid(common, examples.EXPERIMENTS[6].varied).sweep().points
    temperatures = [run.settings.distillation.temperature for run in runs]
    assert temperatures == [2, 4, 8], "what the experiment compares is not changed by a loss of the user's"


def test_an_analysis_like_a_distillation():
    run = DistilSettings(
        files=DistillationFiles(("a.pt", "b.pt")),
        corpus=CorpusConfig(corpus_size=400, exclude_topics=("health",)),
        channel=ChannelConfig(channel="rayleigh"),
    )
    analysis = analysis_like(run)
    assert analysis.command() == (
        "python semantic_analysis.py --teacher-checkpoint a.pt --channel rayleigh"
    ), "its first teacher, its channel; the corpus whole"
    assert (
        settings_of(AnalysisSettings, analysis_parser().parse_args(analysis.command().split()[2:]))
        == analysis
    )


@pytest.mark.parametrize("verb", VERBS.values(), ids=list(VERBS))
def test_every_verb_names_a_function_of_its_settings(verb):
    argument, *varied = inspect.signature(verb.load()).parameters.values()
    assert argument.annotation is verb.settings and len(varied) == (verb.varies is not None)


@pytest.mark.parametrize("verb", VERBS.values(), ids=list(VERBS))
def test_every_verb_has_settings_of_its_flags(verb):
    parser = parser_of(verb.settings)
    needed = [action for action in parser._actions if action.required]
    positional = ["x" for action in needed if not action.option_strings]
    if verb is VERBS["dial"]:
        positional = ["x"]  # a run, or two flags in its place
    flags = []
    for action in needed:
        if action.option_strings:
            flags += [action.option_strings[0], "1" if action.type is float else "x"]
    made = settings_of(verb.settings, parser.parse_args([*positional, *flags]))
    assert words_of(made) == [*positional, *flags]


def test_changed_settings_are_those_of_their_flags():
    given = distillation_parser()
    common = DistilSettings(
        distillation=DistillationConfig(temperature=3.0), training=TrainingConfig(steps=9)
    )
    changes = {"kd_loss": "jsd", "student_layers": 2}
    words = ["--kd-loss", "jsd", "--student-layers", "2"]
    assert changed(common, changes) == parse_over(given, words, common)
    assert changed(common, changes).distillation.temperature == 3.0, "it was chosen"


def test_what_follows_from_changed_settings_follows_anew():
    common = DistilSettings()
    assert common.distillation.temperature == 4.0
    assert changed(common, {"kd_loss": "skl"}).distillation.temperature == 1.0
    assert changed(common, {"kd_loss": "skl"}, ["temperature"]).distillation.temperature == 4.0
    with pytest.raises(ValueError, match="no settings: kd_los"):
        changed(common, {"kd_los": "skl"})
    with pytest.raises(SemcomError, match="--kd-loss"):
        changed(common, {"kd_loss": "none"})


def test_settings_refuse_names_that_they_do_not_have():
    with pytest.raises(
        SemcomError, match=r"ChannelConfig\(chanel=…\): there is no such setting; did you mean channel\?"
    ):
        ChannelConfig(chanel="awgn")
    with pytest.raises(SemcomError, match=r"ChannelConfig\(\\x1b=…\): there is no such setting$"):
        ChannelConfig(**{"\x1b": 1})
    assert copy.deepcopy(ChannelConfig(channel="rician")) == ChannelConfig(channel="rician")
