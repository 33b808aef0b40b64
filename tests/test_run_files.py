"""Run files: flags from YAML and JSON, the record of a run as such a file, and what would be run as YAML."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
from functools import partial

import pytest
import torch
from cli_support import TINY_TRAINING, analyse, distil, examples, package, refused

from semcom.base import provenance, run_files
from semcom.base.errors import SemcomError
from semcom.base.flag_words import each_setting, typed_values
from semcom.base.flags import flag_of, name_of, settings_of
from semcom.base.settings import Request
from semcom.commands import examples as experiments
from semcom.commands.analyse_settings import AnalysisSettings
from semcom.commands.distil_settings import DistilSettings
from semcom.commands.parsers import VERBS, analysis_parser, distillation_parser, package_parser
from semcom.commands.recorded_flags import COMPARED, differences, recorded, settings_part
from semcom.commands.sweep_plan import Grid
from semcom.distillation.snapshots import Snapshots

pytestmark = pytest.mark.usefixtures("no_scores")

NUMBERS = ("0.3", "1", "2", "7", "-6", "12.5", "1e-3", "100", "3000")
TEXTS = (
    "a.pt",
    "on",
    "null",
    "~",
    "7",
    "a: b",
    "#x",
    "é😀",
    "x\ny",
    "'q'",
    '"',
    "{a}",
    "a, b",
    " ",
    "\udcff",
    "[]",
)


def flags_of(verb):
    """Parses words of a verb: its settings, and the words that must stand there."""
    if verb == "distillation.py":
        return lambda words: settings_of(DistilSettings, distillation_parser().parse_args(words)), []
    if verb == "semantic_analysis.py":
        return lambda words: settings_of(AnalysisSettings, analysis_parser().parse_args(words)), []
    kind = VERBS[verb].settings
    needed = {"dial": ["run", "--target", "0.2"], "import": ["x", "--vocab-file", "v", "--output", "o"]}
    needed["align"] = ["--transmitter", "t", "--receiver", "r"]
    needed["splice"] = [*needed["align"], "--output", "o"]
    needed |= {name: ["x"] for name in ("evaluate", "audit")} | {"export": ["x", "--output", "o"]}
    needed |= {name: ["--output", "o"] for name in ("vocab", "train")}
    return (
        lambda words: settings_of(kind, package_parser().parse_args([verb, *words])),
        needed.get(verb, []),
    )


ALL_VERBS = ("distillation.py", "semantic_analysis.py", *VERBS)


def random_words(settings, rng):
    """Flags with values that may be allowed."""
    words, known = [], list(each_setting(settings))
    for f, value, _ in known:
        argument = f.metadata["argument"]
        if f.metadata["positional"] or rng.random() > 3 / len(known):
            continue
        flag, several = flag_of(f.name), argument.get("nargs")
        if argument.get("action") == "store_true":
            words.append(flag)
            continue
        numeric = argument.get("type") in (int, float) or isinstance(value, (int, float))
        allowed = list(argument.get("choices", ())) or (NUMBERS if numeric else TEXTS)
        if several:
            words += [
                flag,
                *rng.choices(allowed, k=several if isinstance(several, int) else rng.randint(1, 3)),
            ]
        else:
            words.append(f"{flag}={rng.choice(allowed)}")
    return words


@pytest.mark.parametrize("verb", ALL_VERBS)
def test_what_is_printed_asks_for_the_same(verb, tmp_path):
    """Random flags of every verb, through YAML and through a record's JSON."""
    parse, needed = flags_of(verb)
    rng, accepted = random.Random(verb), 0
    file, defaults = tmp_path / "run.yaml", parse(needed)
    while accepted < 5:
        try:
            asked = parse([*needed, *random_words(defaults, rng)])
        except SemcomError:
            continue
        accepted += 1
        file.write_text(run_files.page(asked, verb))
        assert parse(["--config", str(file)]) == asked, file.read_text()
        values = typed_values(asked)
        record = tmp_path / "run.json"
        record.write_text(json.dumps({"semcom": "1", "torch": "2", "seed": [1], "settings": values}))
        assert parse(["--config", str(record)]) == asked


@pytest.mark.parametrize("verb", ALL_VERBS)
def test_every_flag_is_printed(verb):
    parse, needed = flags_of(verb)
    asked = parse(needed)
    printed = run_files.page(asked, verb)
    for f, _, _ in each_setting(asked):
        assert f"\n{name_of(flag_of(f.name))}: " in printed


def run_file(tmp_path, text, name="run.yaml"):
    path = tmp_path / name
    path.write_text(text)
    return ["--config", str(path)]


def asked(words):
    return settings_of(DistilSettings, distillation_parser().parse_args(words))


def test_values_mean_what_they_mean_on_the_command_line(tmp_path):
    given = run_file(
        tmp_path,
        """
distill-part: Decoder
lr: 1e-3
student_checkpoint: on
output-path: 007
corpus_size: all
snr-range: [-6, -1.5]
scales: 2
create_hybrid: yes
quiet: off
epochs:
steps: null
""",
    )
    line = "--distill-part Decoder --lr 1e-3 --student-checkpoint on --output-path 007 --corpus-size all"
    line += " --snr-range -6 -1.5 --scales 2 --create-hybrid"
    assert asked(given) == asked(line.split())


def test_json_means_the_same(tmp_path):
    values = {"lr": 1e-3, "snr_range": [-6, -1.5], "create_hybrid": True, "quiet": False, "steps": None}
    given = run_file(tmp_path, json.dumps({**values, "output-path": "7"}), "run.json")
    assert asked(given) == asked(
        ["--create-hybrid", "--lr=.001", "--snr-range", "-6", "-1.5", "--output-path=7"]
    )


def test_the_command_line_wins(tmp_path):
    given = run_file(tmp_path, "seed: 1\nscales: [1, 2]\ncreate_hybrid: on\ncorpus: [a, b]\nsteps: 5\n")
    for words in ([*TYPED, *given], [*given, *TYPED]):
        made = asked(words)
        assert (made.run.seed, made.distillation.scales, made.corpus.corpus) == (3, (4,), ("a", "b"))
        assert not made.files.create_hybrid
        assert (made.training.epochs, made.training.steps) == (2, None), "--epochs stands in for steps"


TYPED = "--seed 2 --seed=3 --scales 4 --no-create-hybrid --epochs 2".split()


def test_of_several_files_the_last_wins(tmp_path):
    first = run_file(tmp_path, "seed: 1\nlr: 0.5\n", "first.yaml")
    second = run_file(tmp_path, "seed: 2\n", "second.yaml")
    made = asked([*first, *second])
    assert (made.run.seed, made.training.lr) == (2, 0.5)


def verb_asked(verb, words):
    return settings_of(VERBS[verb].settings, package_parser().parse_args([verb, *words]))


def test_arguments_and_required_flags_may_stand_in_the_file(tmp_path):
    given = run_file(tmp_path, "checkpoints: [a.pt, -b.pt]\nsnr: [-6]\n")
    assert verb_asked("evaluate", given).checkpoints == ("a.pt", "-b.pt")
    assert verb_asked("evaluate", ["c.pt", *given]).checkpoints == ("c.pt",)
    assert verb_asked("evaluate", [*given, "c.pt"]).evaluation.snr == (-6,)
    given = run_file(tmp_path, "checkpoint: a.pt\n")
    assert verb_asked("doctor", given).checkpoint == "a.pt"
    assert verb_asked("doctor", ["b.pt", *given]).checkpoint == "b.pt"
    assert verb_asked("export", [*given, "--output", "o"]).checkpoint == "a.pt"
    given = run_file(tmp_path, "output: -t.pt\n")
    assert verb_asked("train", given).output == "-t.pt"
    given = run_file(tmp_path, "from: a\nto: b\ntarget: [0.1]\n")
    assert verb_asked("dial", given).from_ == "a"
    given = run_file(tmp_path, "checkpoints: [a]\nchannel: [awgn, rician]\n")
    made = settings_of(AnalysisSettings, analysis_parser().parse_args(given))
    assert made.checkpoints == ("a",) and [c.channel for c in made.channels] == ["awgn", "rician"]


# What is refused


@pytest.mark.parametrize(
    "text, words",
    [
        ("temprature: 3", ["temprature: distillation.py has no such flag; did you mean temperature?"]),
        ("layers: 3", ["layers: distillation.py has no such flag (python -m semcom train has it)"]),
        ("config: x", ["config: distillation.py has no such flag"]),
        ("temperature: hot", ["temperature: 'hot': is not a number"]),
        ("seed: 1.5", ["seed: '1.5': is not a whole number"]),
        ("seed: 1" * 3000, ["is no YAML"]),
        ("seed: " + "9" * 9000, ["is too large a number"]),
        ("temperature: [2, 4]", ["temperature: 2 4: 2 values, 1 wanted"]),
        ("snr_range: 3", ["snr_range: 3: 1 values, 2 wanted"]),
        ("scales: 1 two", ["scales: '1 two'", "make a list: [1, 2]"]),
        ("kd_loss: kld", ["kd_loss: 'kld': allowed are kd,"]),
        ("corpus_size: " + "x" * 9000, ["corpus_size: "]),
        ("corpus_size: some", ["corpus_size: ", "or 'all'"]),
        ("create_hybrid: maybe", ["create_hybrid: maybe: is a switch; give on or off"]),
        ("lr: {a: 1}", ["lr: is nested"]),
        ("corpus: [[a]]", ["corpus: is nested"]),
        ("seed: 1\nseed: 2", ["seed is there twice"]),
        ("batch-size: 1\nbatch_size: 2", ["batch_size is there twice"]),
        ("a: &x [1]\nb: *x", ["has an anchor or alias in line 1"]),
        ("seed: !!int 7", ["has a tag in line 1"]),
        ("seed: [7", ["is no YAML", "in line 1"]),
        ("seed: 7\n---\nseed: 8", ["is no YAML"]),
        ("- seed", ["is no mapping of flags to values"]),
        ("[" * 20_000, ["nested too deeply"]),
        ("output_path: 'a\0b'", ["is no YAML"]),
        ('output_path: "a\\0b"', ["holds a character that no command line can"]),
        ("temperature: 0", ["--temperature 0: must be a finite number above 0"]),
        ("steps: 1\nminutes: 1", ["steps: 1 and minutes: 1: give one of them"]),
        ("epochs: 3\nsteps: 5", ["epochs: 3 and steps: 5: give one of them"]),
    ],
)
def test_a_wrong_file_is_one_line(text, words, tmp_path, capsys):
    line = refused(capsys, distil(*run_file(tmp_path, text)), *words)
    assert len(line) <= 500


@pytest.mark.parametrize(
    "content, words",
    [
        (None, ["run.yaml: cannot be read (No such file or directory)"]),
        (b"seed: \xff", ["is not UTF-8 from byte 6 on"]),
        (b"#" * 200_001, ["is larger than 200,000 bytes"]),
        ("seed: 7".encode("utf-16")[:-1], ["is not UTF-16 from byte"]),
    ],
)
def test_an_unreadable_file_is_one_line(content, words, tmp_path, capsys):
    path = tmp_path / "run.yaml"
    if content is not None:
        path.write_bytes(content)
    refused(capsys, distil("--config", path), "--config", *words)
    refused(capsys, distil("--config", tmp_path), "is a folder; give a file")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize(("name", "text"), [("run.yaml", "seed: 7"), ("run.json", '{"seed": 7}')])
def test_byte_order_marks(tmp_path, encoding, name, text):
    (tmp_path / name).write_bytes(text.encode(encoding))
    assert run_files.read(tmp_path / name) == {"seed": "7"}


def test_a_pipe_is_read_where_something_comes(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_text, args=["seed: 7"])
    writer.start()
    assert run_files.read(tmp_path / "pipe") == {"seed": "7"}
    writer.join()
    monkeypatch.setattr(run_files, "PIPE_SECONDS", 0.1)
    with pytest.raises(SemcomError, match="pipe: cannot be read .*nothing was written"):
        run_files.read(tmp_path / "pipe")


def test_wrong_json_is_one_line(tmp_path, capsys):
    refused(capsys, distil(*run_file(tmp_path, '{"seed": }', "run.json")), "is no JSON", "in line 1")
    given = run_file(tmp_path, '{"seed": 1, "seed": 2}', "run.json")
    refused(capsys, distil(*given), "seed is there twice")
    given = run_file(tmp_path, '{"lr": NaN}', "run.json")
    refused(capsys, distil(*given), "--lr nan: must be a finite number above 0")
    given = run_file(tmp_path, '{"output_path": "\\ud800"}', "run.json")
    refused(capsys, distil(*given), "holds a character that no command line can")


def test_other_verbs_refuse_too(tmp_path, capsys):
    given = run_file(tmp_path, "lerning_rate: 3")
    for verb in (analyse, partial(package, "train", "--output", "x"), partial(package, "doctor")):
        refused(capsys, verb(*given), "lerning_rate: ", "has no such flag")


PIECES = (
    "&a ",
    "*a",
    "!!x ",
    "[",
    "]",
    "{",
    "}",
    ": ",
    "- ",
    "\n",
    '"',
    "'",
    "\0",
    "#",
    "|",
    "---\n",
    "? ",
    "\t",
    "é",
)


def test_a_mutilated_file_is_one_line_or_none(tmp_path, capsys):
    rng, codes = random.Random(5), set()
    path = tmp_path / "run.yaml"
    for _ in range(60):
        text = run_files.page(DistilSettings(), "python distillation.py")
        for _ in range(rng.randint(1, 3)):
            place = rng.randrange(len(text))
            text = text[:place] + rng.choice(PIECES) + text[place + rng.randrange(3) :]
        path.write_text(text)
        code = distil("--config", path, "--print-config")
        error = capsys.readouterr().err
        assert (code, error.count("\n")) in ((0, 0), (2, 1)) and len(error) < 520 and "fault" not in error
        codes.add(code)
    assert codes == {0, 2}


def test_a_file_asks_for_the_traceback_too(tmp_path, capsys):
    given = run_file(tmp_path, "debug: on\ntemperature: 0\n")
    assert distil(*given) == 2 and "Traceback" in capsys.readouterr().err
    assert distil(*given, "--no-debug") == 2 and "Traceback" not in capsys.readouterr().err
    assert distil("--temperature", 0) == 2 and "Traceback" not in capsys.readouterr().err


def test_a_value_that_is_called_like_a_flag_is_none(tmp_path):
    given = run_file(tmp_path, "steps: 10\n")
    assert distillation_parser().parse_args([*map(str, given), "--output-path", "steps"]).steps == 10
    assert distillation_parser().parse_args([*map(str, given), "--epochs", "2"]).steps is None


# --print-config


def test_what_would_be_run_is_printed_alone(here, capsys):
    assert distil("--print-config", "--kd-loss", "jsd", "--teacher-checkpoint", "no.pt") == 0
    printed = capsys.readouterr().out
    assert "\ntemperature: 1\n" in printed and "\nteacher_checkpoint: [no.pt]\n" in printed
    assert "\n# The training loop\n" in printed
    assert not list(here.iterdir())
    assert package("train", "--output", "x", "--print-config") == 0
    assert analyse("--print-config") == 0
    assert distil("--help") == 0


def test_flags_alone_need_no_yaml():
    code = (
        "import sys; from semcom.commands import parsers as p; p.distillation_parser().parse_args(['--lr=1'])"
    )
    code += "; print([name for name in ('torch', 'yaml', 'tqdm') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# Experiments


def test_an_experiment_takes_a_run_file(tmp_path, capsys):
    given = run_file(tmp_path, "seed: 5\nkd_loss: jsd\n")
    (common,) = experiments.runs_of(6, given)
    runs = [point.settings for point in Grid(common, experiments.EXPERIMENTS[6].varied).sweep().points]
    assert [run.run.seed for run in runs] == [5] * 3
    assert [run.distillation.temperature for run in runs] == [2, 4, 8]
    given = run_file(tmp_path, "temperature: 5\n")
    refused(capsys, examples(6, "--dry-run", *given), "temperature of --config: experiment 6 sets it")
    refused(capsys, examples(6, "--print-config"), "--dry-run")


# The record of a run


@pytest.fixture
def second_teacher(teacher, here):
    from cli_support import train_tiny_teacher

    train_tiny_teacher(here, "--seed", 5)
    return here / teacher.name


def weights(path):
    return torch.load(path, weights_only=True)["weights"]


def same_weights(*paths):
    first, *others = map(weights, paths)
    return all(first.keys() == w.keys() and all(torch.equal(first[k], w[k]) for k in w) for w in others)


RUNS = {
    "minutes, a default hybrid": ["--minutes", "0.01", "--create-hybrid"],
    "decoder, named hybrid": "--distill-part decoder --steps 3 --create-hybrid --hybrid-output h.pt".split(),
    "encoder, parts, no fp32": "--distill-part encoder --steps 3 --precision bf16 --kd-loss dkd "
    "--dkd-beta 3 --create-hybrid --hybrid-parts encoder".split(),
    "tokens": "--epochs 1 --batch-tokens 400 --temperature-schedule cosine --final-temperature 2".split(),
}


CONFIRMING = {"minutes, a default hybrid", "tokens"}


@pytest.mark.parametrize(
    "flags",
    [pytest.param(RUNS[name], id=name, marks=[pytest.mark.slow] * (name in CONFIRMING)) for name in RUNS],
)
def test_a_run_repeats_from_its_record_alone(flags, teacher, here, capsys):
    tiny = [word for word in TINY_TRAINING if word not in flags]
    if "--batch-tokens" in flags:
        tiny = ["--corpus-size", "120", "--quiet"]
    assert distil("--teacher-checkpoint", teacher, *tiny, *flags, "--output-path", "one") == 0
    first = json.loads((here / "one/distillation_config.json").read_text())
    hybrid = first["hybrid_output"]
    kept = weights(hybrid) if hybrid else {}
    apart = ["--hybrid-output", "h2.pt"] if "h.pt" in flags else []
    capsys.readouterr()
    repeat = ["--config", "one/distillation_config.json", "--output-path", "again", "--quiet", *apart]
    assert distil(*repeat) == 0
    assert "numbers may differ" not in capsys.readouterr().out
    for name in ("best_student_model.pt", "final_student_model.pt"):
        assert same_weights(f"one/{name}", f"again/{name}")
    second = json.loads((here / "again/distillation_config.json").read_text())
    if hybrid:
        anew = weights(second["hybrid_output"])
        assert all(torch.equal(kept[name], anew[name]) for name in kept)
    differ = {name for name in first if first[name] != second[name]}
    may = {"command", "settings", "output_path", "hybrid_output", "minutes", "steps", "precision", "way"}
    assert differ <= may | {"training_seconds", "wall_seconds", "state_saves", "digests"}
    assert first["best_loss"] == second["best_loss"] and first["steps_done"] == second["steps_done"]
    assert second["settings"] == first["settings"] | {
        "output_path": "again",
        "hybrid_output": "h2.pt" if apart else first["settings"]["hybrid_output"],
    }


def test_a_stopped_run_goes_on_by_its_record(teacher, here, monkeypatch):
    """The record of an unfinished run says what was given, so that it names the same run."""
    given = ["--teacher-checkpoint", teacher, *TINY_TRAINING, "--minutes", "0.01", "--output-path"]
    assert distil_stopped(monkeypatch, 3, *given, "stopped") == 128 + signal.SIGTERM
    assert distil("--config", "stopped/distillation_config.json", "--resume", "--quiet") == 0
    settings = json.loads((here / "stopped/distillation_config.json").read_text())["settings"]
    assert settings["minutes"] is None and settings["steps"] > 3 and settings["precision"] == "fp32"


def distil_stopped(monkeypatch, at, *words):
    """A signal comes after step ``at``."""
    after_step = Snapshots.after_step

    def stops(self, step, means):
        after_step(self, step, means)
        if step == at:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patched:
        patched.setattr(Snapshots, "after_step", stops)
        return distil(*words)


def test_several_teachers_repeat_too(teacher, second_teacher, here):
    several = ["--teacher-checkpoint", teacher, second_teacher, "--teacher-weights", "2", "1"]
    assert distil(*several, *TINY_TRAINING, "--steps", "5", "--output-path", "one") == 0
    given = ["--config", "one/distillation_config.json", "--quiet"]
    assert distil(*given, "--output-path", "again") == 0
    assert same_weights("one/final_student_model.pt", "again/final_student_model.pt")
    record = json.loads((here / "one/distillation_config.json").read_text())
    del record["settings"]
    (here / "older.json").write_text(json.dumps(record))
    assert distil("--config", "older.json", "--quiet", "--output-path", "older") == 0
    assert same_weights("one/final_student_model.pt", "older/final_student_model.pt")


def test_a_training_repeats_from_its_record(teacher, here, capsys):
    assert (
        package("train", "--start-from", teacher, *TINY_TRAINING, "--steps", "4", "--output", "one.pt") == 0
    )
    assert package("train", "--config", "one.json", "--output", "again.pt", "--quiet") == 0
    assert same_weights("one.pt", "again.pt")
    record = json.loads((here / "again.json").read_text())
    assert record["command"] == "python -m semcom train --config one.json --output again.pt --quiet"
    refused(capsys, package("train", "--config", "one.json"), "--output one.pt: exists already")
    line = refused(capsys, distil("--config", "one.json"), "distillation.py has no such flag")
    assert "python -m semcom" in line


OLDER = {
    "semcom": "0.1",
    "torch": "2",
    "teacher_checkpoint": "a.pt",
    "teachers": [["a.pt", "f1"], ["b.pt", "f2"]],
    "output_path": "checkpoints/distillation_decoder",
    "distill_part": "decoder",
    "create_hybrid": False,
    "hybrid_output": None,
    "hybrid_parts": ["channel_decoder", "decoder"],
    "corpus_size": None,
    "minutes": 2.0,
    "steps": None,
    "steps_done": 77,
    "stopped": None,
    "d_model": 128,
    "device": "cpu",
    "quiet": True,
    "overwrite": True,
    "snr_range": [-6.0, 18.0],
}


def older(tmp_path, **values):
    return asked(run_file(tmp_path, json.dumps(OLDER | values), "older.json"))


def test_of_an_older_record_the_flags_are_read(tmp_path):
    made = older(tmp_path)
    line = "--teacher-checkpoint a.pt b.pt --distill-part decoder --corpus-size all --steps 77 --device cpu"
    assert made == asked(line.split()), "also what followed from flags is left out"
    made = older(tmp_path, create_hybrid=True, hybrid_output="checkpoints/hybrid_model.pt")
    assert made.files.hybrid_output is None and made.hybrid_parts == ("channel_decoder", "decoder")
    made = older(tmp_path, create_hybrid=True, hybrid_output="h.pt", target_divergence=[0.1])
    assert made.files.hybrid_output == "h.pt"
    assert older(tmp_path, stopped="interrupted").training.minutes == 2


def test_a_record_holds_what_repeats_the_run():
    settings = asked("--minutes 2 --quiet --overwrite --debug --corpus-size all".split())
    values = recorded(settings)
    assert values["minutes"] == 2 and values["corpus_size"] == "all"
    assert not {"quiet", "overwrite", "debug"} & values.keys()
    assert recorded(settings, 40)["steps"] == 40 and recorded(settings, 40)["minutes"] is None
    assert recorded(asked([]), 40)["steps"] is None, "--epochs says it"
    assert settings_part({"settings": values, "seed": 3}, ["seed"]) == values


def test_what_is_not_as_it_was_is_told():
    before = {name: "old" for name in COMPARED} | {"threads": "2", "teachers": [["a.pt", "f1"]], "gpu": None}
    now = {name: "old" for name in COMPARED} | {"threads": 2, "teachers": [["b.pt", "f1"]], "gpu": None}
    request = Request("python distillation.py", "run.json", before)
    assert list(differences(request, now)) == [], "a teacher that was moved is the same"
    changed = now | {"threads": 4, "teachers": [["a.pt", "f2"]], "torch": "new"}
    assert list(differences(request, changed)) == [
        "the teacher is f2, in run.json it was f1: numbers may differ",
        "torch is new, in run.json it was old: numbers may differ",
        "the number of threads is 4, in run.json it was 2: numbers may differ",
    ]
    assert list(differences(Request(), now)) == []


def test_a_repeated_run_tells_what_is_not_as_it_was(teacher, here, capsys):
    given = ["--teacher-checkpoint", teacher, *TINY_TRAINING, "--steps", "2"]
    assert distil(*given, "--output-path", "one") == 0
    file = here / "one/distillation_config.json"
    record = json.loads(file.read_text())
    assert {"torch", "commit", "cpu", "start_fingerprint"} <= record.keys()
    assert record["command"].startswith("python distillation.py --teacher-checkpoint ")
    file.write_text(json.dumps(record | {"torch": "1.0", "corpus_fingerprint": "other"}))
    capsys.readouterr()
    assert distil("--config", file, "--output-path", "again", "--quiet", "--student-init=random") == 0
    lines = capsys.readouterr().out.splitlines()
    told = [line for line in lines if "numbers may differ" in line]
    assert len(told) == 3 and all(line.startswith("warning: ") for line in told)
    assert "the corpus" in told[0] and "what is trained, before its first step," in told[1]
    assert "torch" in told[2]


def test_the_commit_of_the_source(tmp_path, monkeypatch):
    commit = provenance.source_commit()
    assert commit is None or len(commit.removesuffix("-dirty")) == 40
    monkeypatch.setattr(provenance, "PACKAGE", tmp_path)
    assert provenance.source_commit.__wrapped__() is None
    assert provenance.cpu_model()
