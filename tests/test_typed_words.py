"""Words as people type and paste them: what they come to, and what is said of those that come to nothing."""

import argparse

import pytest
from cli_support import analyse, distil, examples, package, refused

from semcom.base import run_files, typed_words
from semcom.base.errors import LONGEST_LINE, SemcomError
from semcom.base.flags import settings_of
from semcom.base.typed_words import WholeNumberOr
from semcom.commands.analyse_settings import AnalysisSettings
from semcom.commands.distil_settings import DistilSettings
from semcom.commands.images_settings import ImagesSettings
from semcom.commands.parsers import VERBS, analysis_parser, commands, distillation_parser, package_parser
from semcom.commands.settings import DigitsSettings


def flags(line, words=None):
    """Of a verb, or of a script where ``line`` is its name."""
    parsers = {"distil": distillation_parser, "analyse": analysis_parser}
    if line in parsers:
        return parsers[line]().parse_args(words)
    return package_parser().parse_args([line, *words])


@pytest.mark.parametrize(
    "words",
    [
        ["--snr", "-6", "0", "6.5"],
        ["--snr", "-6,0,6.5"],
        ["--snr=-6,0,6.5"],
        ["--snr", "-6,", "0,", "6.5"],
        ["--snr", "-6, 0, 6.5"],
        ["--snr", "-6 0 6.5"],
        ["--snr", "-6;0;6.5"],
        ["--snr", "−6", "0", "6.5"],
        ["--snr", "–6,0,6.5"],
        ["--snr", "－６，０，６．５"],
        ["--snr", "-6、0、6。5"],
        ["--snr", "“-6,0,6.5”"],
        ["--snr", "“-6", "0", "6.5”"],
        ["–snr", "-6", "0", "6.5"],
        ["—snr", "-6", "0", "6.5"],
        ["−−snr＝-6,0,6.5"],
        ["--snr", "-6e0", "0e3", "65e-1"],
        ["--snr", "-.6e1", "0", "+6.5"],
    ],
    ids=" ".join,
)
def test_a_list_of_numbers_however_it_is_typed(words):
    assert flags("doctor", words).snr == [-6.0, 0.0, 6.5]
    assert flags("analyse", [*words, "--quiet"]).snr == [-6.0, 0.0, 6.5]


@pytest.mark.parametrize(
    ("verb", "words", "name", "value"),
    [
        ("train", ["--lr", "1e-3"], "lr", 1e-3),
        ("train", ["--lr", "“0.01”"], "lr", 0.01),
        ("train", ["--lr=0。01"], "lr", 0.01),
        ("train", ["--steps", "1e3"], "steps", 1000),
        ("train", ["--steps", "１２"], "steps", 12),
        ("train", ["--steps", "1_000"], "steps", 1000),
        ("train", ["--snr-range", "-6,18"], "snr_range", [-6.0, 18.0]),
        ("train", ["--snr-range", "-1e1", "1e1"], "snr_range", [-10.0, 10.0]),
        ("train", ["--snr-range=−6，18"], "snr_range", [-6.0, 18.0]),
        ("train", ["--corpus-size", "１e3"], "corpus_size", 1000),
        ("train", ["--corpus-size", "ALL"], "corpus_size", None),
        ("train", ["--topics", "health,trade"], "topics", ["health", "trade"]),
        ("train", ["--topics", "health，trade、energy"], "topics", ["health", "trade", "energy"]),
        ("train", ["--channel", "“AWGN”"], "channel", "awgn"),
        ("train", ["--track", "wandb,mlflow"], "track", ["wandb", "mlflow"]),
        ("doctor", ["--snr", "6", "--split", "ALL"], "split", "all"),
        ("analyse", ["--channel", "awgn,rayleigh"], "channel", ["awgn", "rayleigh"]),
        ("analyse", ["a,b.pt", "--quiet"], "checkpoints", ["a,b.pt"]),
        ("analyse", ["--quiet", "--", "-a.pt", "–b"], "checkpoints", ["-a.pt", "–b"]),
        ("transmit", ["−6 “quoted”, 1,5"], "sentence", "−6 “quoted”, 1,5"),
        ("transmit", ["--snr", "6,12", "--quiet", "-6 dB, he said"], "sentence", "-6 dB, he said"),
        ("transmit", ["— snr"], "sentence", "— snr"),
        ("transmit", ["—snr"], "sentence", "—snr"),
        ("transmit", ["—snr", "--snr", "6"], "sentence", "—snr"),
        ("transmit", ["—snr", "6"], "snr", [6.0]),
        ("transmit", ["–quiet", "x"], "quiet", True),
        ("train", ["--output", "–seed", "–seed", "3"], "output", "–seed"),
        ("train", ["--corpus=-x.txt", "--seed", "3"], "corpus", ["-x.txt"]),
        ("train", ["--corpus", "a", "–seed", "3"], "seed", 3),
        ("doctor", ["--snr", "0,7"], "snr", [0.0, 7.0]),
        ("doctor", ["--snr", "0, 07"], "snr", [0.0, 7.0]),
        ("doctor", ["--snr", "10,0,0.5"], "snr", [10.0, 0.0, 0.5]),
        ("sweep", ["--temperature", "2,4,8"], "temperature", [2.0, 4.0, 8.0]),
        ("sweep", ["--channel", "awgn,rician"], "channel", ["awgn", "rician"]),
        ("sweep", ["--scales", "1,2", "--scales", "4"], "scales", [[1, 2], [4]]),
        ("distil", ["--teacher-checkpoint", "a,b.pt"], "teacher_checkpoint", ["a,b.pt"]),
        ("distil", ["--scales", "1", "2", "--scales=1,2", "--seed", "3", "--seed", "4"], "seed", 4),
        ("sweep", ["--seed", "1", "2", "--seed", "3"], "seed", [1, 2, 3]),
        ("distil", ["--scales", "1,2,4", "--seed", "7"], "scales", [1, 2, 4]),
    ],
)
def test_what_is_typed_is_what_is_meant(verb, words, name, value):
    needed = ["--output", "o"] if verb == "train" else []
    assert getattr(flags(verb, [*needed, *words]), name) == value


@pytest.mark.parametrize(
    ("key", "value", "meant"),
    [
        ("snr", "-6,0,6", [-6.0, 0.0, 6.0]),
        ("snr", ["−6", "０"], [-6.0, 0.0]),
        ("snr_range", "-6，18", [-6.0, 18.0]),
        ("channel", "“AWGN”", "awgn"),
        ("steps", "1e3", 1000),
        ("topics", "health,trade", ["health", "trade"]),
        ("corpus", "a,b.txt", ["a,b.txt"]),
    ],
)
def test_run_files_are_read_the_same(key, value, meant):
    parser = distillation_parser() if key == "snr_range" else package_parser()
    if key != "snr_range":
        verb = "doctor" if key == "snr" else "train"
        parser = next(a for a in parser._actions if a.choices).choices[verb]
    action = run_files.actions_of(parser)[key]
    assert run_files.parsed(action, run_files.words_of_value(value)) == meant


TRAIN = ["train", "--output", "t.pt"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([*TRAIN, "--lr", "0,001"], ["--lr '0,001'", "did you mean 0.001?"]),
        ([*TRAIN, "--steps", "24,000"], ["--steps '24,000'", "whole number", "did you mean 24000?"]),
        ([*TRAIN, "--steps", "7.0"], ["did you mean 7?"]),
        ([*TRAIN, "--steps", "7.5"], ["--steps '7.5': is not a whole number; see"]),
        ([*TRAIN, "--steps", "9" * 5000], ["--steps '999", "too large a number"]),
        ([*TRAIN, "--steps", "9" * 30], ["--steps 999", "2147483648 at most"]),
        ([*TRAIN, "--lr", "1e400"], ["--lr inf", "finite"]),
        ([*TRAIN, "--corpus-size", "9" * 5000], ["--corpus-size '99", "'all'"]),
        ([*TRAIN, "--corpus-size", "9" * 30], ["--corpus-size 999", "2147483648 at most"]),
        ([*TRAIN, "--corpus-size", "1000001"], ["--corpus-size 1000001", "1000000 sentences at most"]),
        ([*TRAIN, "--topics", "helth"], ["--topics helth", "did you mean health?"]),
        ([*TRAIN, "--steps", "1_"], ["--steps '1_'", "not a whole number"]),
        ([*TRAIN, "--lr=0,5"], ["--lr '0,5'", "did you mean 0.5?"]),
        ([*TRAIN, "--steps=--"], ["--steps --: is no value"]),
        (["train", "--output=--"], ["--output --: is no value"]),
        ([*TRAIN, "--quiet=yes"], ["--quiet yes: is a switch"]),
        ([*TRAIN, "--corpus-size", "24,000"], ["--corpus-size '24,000'", "did you mean 24000?"]),
        (["doctor", "--snr", "1,000"], ["--snr '1,000'", "written 1 0; did you mean 1000 or 1.000?"]),
        (["doctor", "--snr=0,05"], ["--snr '0,05'", "written 0 5; did you mean 0.05?"]),
        (["sweep", "--seed", "1,000"], ["--seed '1,000'", "written 1 0; did you mean 1000?"]),
        ([*TRAIN, "--snr-range", "0,05"], ["--snr-range '0,05'"]),
        ([*TRAIN, "--corpus", "-x.txt"], ["-x.txt: ", "that begins with - is given as --corpus ./-x.txt"]),
        (["train", "--output", "-t.pt"], ["-t.pt: ", "is given as --output ./-t.pt"]),
        (["transmit", "-h is a flag"], ["'-h is a flag': begins as -h", "stands last, after --"]),
        (["doctor", "--snr", "6dB"], ["--snr '6dB'", "did you mean 6?"]),
        (["doctor", "--snr", "-6 dB"], ["--snr '-6 dB'", "did you mean -6?"]),
        ([*TRAIN, "--channel", "awng"], ["'awng'", "did you mean awgn?"]),
        ([*TRAIN, "--track", "tensorbord"], ["did you mean tensorboard?"]),
        ([*TRAIN, "--epoch", "3"], ["--epoch: python -m semcom train has no such flag", "mean --epochs?"]),
        ([*TRAIN, "--EPOCHS=3"], ["--EPOCHS: ", "did you mean --epochs?"]),
        ([*TRAIN, "--batch_size", "3"], ["--batch_size", "did you mean --batch-size?"]),
        ([*TRAIN, "-seed", "3"], ["-seed", "did you mean --seed?"]),
        (["train", "--ouput", "t.pt"], ["--ouput", "did you mean --output?"]),
        ([*TRAIN, "--distill_weight", "1"], ["distillation.py has it"]),
        (["evalute", "t.pt"], ["evalute: no such verb", "did you mean python -m semcom evaluate?"]),
        (["Train"], ["did you mean python -m semcom train?"]),
        (["distill"], ["did you mean python distillation.py?"]),
        (["analysis"], ["did you mean python semantic_analysis.py?"]),
        (["\x1b[31m" + "v" * 5000], ["no such verb", r"\x1b"]),
        (
            ["transmit", "--snr", "6", "We support this."],
            ["'We support this.': is not a number", "give it first", "transmit 'We support this.' --snr"],
        ),
        (["transmit", "-We"], ["-We: ", "a sentence that begins with - stands last, after --"]),
        (["transmit", "We", "support", "this"], ["support this", "one sentence", "quotes"]),
        (["evaluate", "--corpus", "a.txt", "t.pt"], ["CHECKPOINT", "--corpus takes all words that follow"]),
        (["doctor", "a.pt", "b.pt"], ["b.pt", "takes one CHECKPOINT"]),
        (["splice", "a.pt", "--transmitter", "a", "--receiver", "b", "--output", "c"], ["takes flags alone"]),
        ([*TRAIN, "--epochs", "3", "--steps", "4"], ["--epochs 3 and --steps 4: give one of them"]),
        ([*TRAIN, "--epochs=10", "--minutes=4"], ["--epochs 10 and --minutes 4: give one of them"]),
        ([*TRAIN, "--steps", "3", "--minutes", "4"], ["--steps 3 and --minutes 4"]),
        ([*TRAIN, "--batch-size", "128", "--batch-tokens", "9"], ["--batch-size 128 and --batch-tokens 9"]),
        ([*TRAIN, "--quiet", "--no-quiet"], ["--quiet and --no-quiet"]),
        (["doctor", "--snr", "6", "--snr", "12"], ["--snr: is given twice", "at once: --snr 6 12"]),
        ([*TRAIN, "--corpus", "a b", "--seed", "1", "--corpus", "c"], ["at once: --corpus 'a b' c"]),
        (["sweep", "--steps", "3", "4", "--epochs", "2"], ["--epochs 2 and --steps 3"]),
    ],
)
def test_what_cannot_be_meant_is_told_with_what_may_be(words, told, here, capsys):
    line = refused(capsys, package(*words), *told)
    assert len(line) <= LONGEST_LINE + 1
    assert not list(here.iterdir())


SETTINGS = {
    "distillation.py": DistilSettings,
    "semantic_analysis.py": AnalysisSettings,
    "distillation_examples.py 9": DigitsSettings,
    "distillation_examples.py 11": ImagesSettings,
    **{f"python -m semcom {name}": verb.settings for name, verb in VERBS.items() if not verb.varies},
}


@pytest.mark.parametrize("program", SETTINGS)
def test_no_number_is_infinite_and_the_flag_is_named(program):
    parser = dict(commands())[program]
    actions = [action for action in parser._actions if not isinstance(action, argparse._HelpAction)]
    for action in actions:
        if not (action.type in (int, float) or isinstance(action.type, WholeNumberOr)):
            continue
        flag = action.option_strings[-1]
        others = [a for a in actions if a.required and a is not action]
        needed = [word for a in others for word in [*a.option_strings[-1:], "1"]]
        several = action.nargs if isinstance(action.nargs, int) else 1
        with pytest.raises(SemcomError, match=f"{flag} '?(1e400|inf)"):
            settings_of(SETTINGS[program], parser.parse_args([*needed, flag, *["1e400"] * several]))


def test_other_programs_say_the_same(here, capsys):
    refused(capsys, distil("--kdloss", "kd"), "--kdloss", "did you mean --kd-loss?")
    refused(capsys, distil("--epochs", "2", "--steps", "3"), "--epochs 2 and --steps 3")
    refused(capsys, analyse("--channel", "awgn", "a.pt"), "'a.pt'", "that is the CHECKPOINT, give it first")
    refused(capsys, examples("al"), "experiment 'al'", "did you mean all?")
    refused(capsys, examples("9" * 5000), "experiment '999", "allowed are 1, 2")
    refused(capsys, examples("1", "--epochs", "2", "--steps", "3", "--dry-run"), "--epochs 2", "--steps 3")
    assert examples("１", "--dry-run") == 0


def test_alone_the_program_prints_its_help(capsys):
    assert package() == 0
    page = capsys.readouterr().out
    for name in ("distillation.py", "semantic_analysis.py", "distillation_examples.py", *VERBS):
        assert name in page, name


@pytest.mark.parametrize("program", [package, distil, analyse, examples])
def test_every_program_tells_its_version(program, capsys):
    assert program("--version") == 0
    assert capsys.readouterr().out.startswith("semcom 0.")


def test_help_is_shown_whatever_else_is_typed(capsys):
    assert package("train", "--epoch", "x", "--help") == 0
    assert "usage: python -m semcom train" in capsys.readouterr().out


def test_words_that_are_no_flags_stay(capsys):
    actions = {}
    for words in (["-", "--", "–snr", "“x”"], ["a b", "-a b", "−6"], []):
        assert [word.text for word in typed_words.read(words, actions)] == words
