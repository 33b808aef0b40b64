"""Golden numbers: the commands that are run, in order, and the inputs made for them.

A command is what is typed, without ``python``, ``-m`` and ``.py``. Sizes are the smallest that still reach
every branch: what is learned is of no interest, only that it stays the same.
"""

import json
import math
import pickle
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from golden_values import Value, columns_of, tensor_digest
from torch import nn

PLAIN = "--corpus-size 400 --quiet --device cpu --precision fp32"
TINY = f"{PLAIN} --batch-size 32"
TEACHER = f"--layers 2 --model-width 16 --heads 2 --feed-forward 32 --steps 12 --lr 0.003 {TINY}"
STUDENT = "distillation --student-layers 1 --steps 4"
SENTENCES = "--corpus-size 400 --sentences 10 --quiet --device cpu"
PUBLIC_SENTENCES = "--corpus public.pkl --split all --sentences 20 --quiet --device cpu"
REPORT = f"--snr 6 12 --replicates 100 --examples 1 {SENTENCES}"


@dataclass(frozen=True)
class Step:
    """needs: steps whose files these commands read. code: the exit code that is right.

    compiled: whether a C++ compiler is needed, and decides the bits.
    """

    name: str
    commands: tuple[str | Callable[[], dict[str, Value]], ...]
    needs: tuple[str, ...] = ("train",)
    compiled: bool = False
    code: int = 0


def distillation(name: str, flags: str = "", *needs: str, size: str = TINY, compiled: bool = False) -> Step:
    """A student of the tiny teacher, in the folder ``runs/name``; a name may hold a folder of its own."""
    teacher = "" if "--teacher-checkpoint" in flags else "--teacher-checkpoint tiny.pt"
    command = f"{STUDENT} {teacher} {size} {flags} --output-path runs/{name}"
    return Step(f"distil-{Path(name).name}", (command,), ("train", *needs), compiled)


# --- inputs, made here so that no file need be shipped


def make_inputs(tree: Path) -> dict[str, Value]:
    """The shipped teacher, a word vocabulary, own text; weights, words, sentences of public DeepSC form."""
    shutil.copy(tree / "checkpoints" / "teacher.pt", "shipped.pt")
    words = "the of to and in is that we this for on a not it be which with as have are by europe".split()
    Path("words_known.json").write_text(_word_vocabulary(words))
    text = [
        f"the {a} {b} was adopted by {n} votes in the plenary."
        for a in ("long", "short", "new")
        for b in ("report", "motion")
        for n in range(100)
    ]
    Path("own.txt").write_text("\n".join(text))

    generator = torch.Generator().manual_seed(0)
    state = public_weights(generator)
    torch.save(state, "public.pth")
    Path("public.json").write_text(_word_vocabulary([f"word{n}" for n in range(26)]))
    lengths = torch.randint(5, 12, (400,), generator=generator).tolist()
    rows = [[1, *torch.randint(5, 30, (length,), generator=generator).tolist(), 2] for length in lengths]
    Path("public.pkl").write_bytes(pickle.dumps(rows))
    weights = torch.cat([tensor.reshape(-1) for tensor in state.values()])
    return {"public weights": tensor_digest(weights), "pieces": sum(lengths)}


def _word_vocabulary(words: list[str]) -> str:
    words = ["<PAD>", "<START>", "<END>", "<UNK>", *words]
    return json.dumps({"token_to_idx": {word: number for number, word in enumerate(words)}})


def public_weights(generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Random weights under the names of public DeepSC code: 2 layers at each end."""
    pieces, width, hidden, channel, length = 30, 16, 24, 8, 40
    state: dict[str, torch.Tensor] = {}

    def linear(name: str, inputs: int, outputs: int) -> None:
        for part, shape in (("weight", (outputs, inputs)), ("bias", (outputs,))):
            state[f"{name}.{part}"] = (2 * torch.rand(shape, generator=generator) - 1) / math.sqrt(inputs)

    def norm(name: str) -> None:
        state[f"{name}.weight"] = 0.7 + 0.6 * torch.rand(width, generator=generator)
        state[f"{name}.bias"] = 0.6 * torch.rand(width, generator=generator) - 0.3

    frequencies = torch.exp(-math.log(10000.0) / width * torch.arange(0, width, 2))
    angles = torch.arange(length)[:, None] * frequencies
    table = torch.stack([angles.sin(), angles.cos()], -1).reshape(1, length, width)
    attentions_of = {"encoder": ["mha"], "decoder": ["self_mha", "src_mha"]}
    for end, attentions in attentions_of.items():
        state[f"{end}.embedding.weight"] = 2 * torch.rand(pieces, width, generator=generator) - 1
        state[f"{end}.pos_encoding.pe"] = table.clone()
        for layer in (f"{end}.{end[:3]}_layers.{n}" for n in range(2)):
            for attention in attentions:
                for part in ("wq", "wk", "wv", "dense"):
                    linear(f"{layer}.{attention}.{part}", width, width)
            linear(f"{layer}.ffn.w_1", width, hidden)
            linear(f"{layer}.ffn.w_2", hidden, width)
            for n in range(len(attentions) + 1):
                norm(f"{layer}.layernorm{n + 1}")
    linear("channel_encoder.0", width, hidden)
    linear("channel_encoder.2", hidden, channel)
    linear("channel_decoder.linear1", channel, width)
    linear("channel_decoder.linear2", width, hidden)
    linear("channel_decoder.linear3", hidden, width)
    norm("channel_decoder.layernorm")
    linear("dense", width, pieces)
    return state


# --- the Python API


def distil_toys() -> dict[str, Value]:
    """A few steps of a small classifier after a larger one, under each kind of loss."""
    # Only now is it known whose package this is to be.
    from semcom import (
        DistillationConfig,
        DistillationLoss,
        Distiller,
        compare_models,
        plot_training_curves,
        set_seed,
    )

    class Grid(nn.Module):
        """[B, 1, 8, 8] -> logits [B, 5], and at each of 4 x 4 places."""

        def __init__(self, width: int):
            super().__init__()
            self.layers = nn.Sequential(nn.Conv2d(1, width, 2, 2), nn.ReLU(), nn.Conv2d(width, 5, 1))

        def forward(self, images):
            grid = self.layers(images).movedim(1, -1)
            return grid.mean((1, 2)), grid

    set_seed(1)
    batches = [(torch.randn(16, 1, 8, 8), torch.randint(5, (16,))) for _ in range(3)]
    settings = {
        "kd": {},
        "labels": {"distill_weight": 0.0},
        "dkd": {"kd_loss": "dkd"},
        "jsd": {"kd_loss": "jsd"},
        "lskd": {"standardize_logits": True},
        "rkl": {"kd_loss": "rkl"},
        "skl": {"kd_loss": "skl"},
        "sdd": {"scales": (1, 2)},
        "scheduled": {"temperature_schedule": "linear", "final_temperature": 1.0},
    }
    found: dict[str, object] = {}
    for name, choice in settings.items():
        set_seed(2)
        teacher, student = Grid(12), Grid(3)
        distiller = Distiller(student, teacher, DistillationConfig(**choice), lr=0.01)
        history = distiller.fit(batches, 2, validation=batches[:1], quiet=True)
        weights = torch.cat([p.reshape(-1) for p in student.parameters()])
        evaluated = distiller.evaluate(batches)
        found[name] = {"history": history, "evaluated": evaluated, "weights": tensor_digest(weights)}
    plot_training_curves(history, "api_curves.png", "sample")
    models = {"teacher": teacher, "student": student}
    found["compared"] = compare_models(models, batches[0][0], repeats=1, quiet=True)
    logits, targets = torch.randn(2, 6, 5), torch.tensor([0, 1, 2, 3, 4, 0])
    means = DistillationLoss(DistillationConfig(temperature=2.0))(logits[0], logits[1], targets)
    found["loss"] = {name: mean.item() for name, mean in means.items()}
    return columns_of(found)


# --- the steps

LINKS = (
    "--channel awgn",
    "--channel rayleigh",
    "--channel rayleigh --equalizer mmse",
    "--channel rician --rician-k 3",
    "--channel rician --equalizer mmse",
    "--channel ideal",
)
LOSSES = {
    "rkl": "--kd-loss rkl",
    "jsd": "--kd-loss jsd --jsd-beta 0.3",
    "skl": "--kd-loss skl --skew 0.2",
    "dkd": "--kd-loss dkd --dkd-beta 4",
    "lskd": "--standardize-logits",
    "labels": "--distill-weight 0",
}
ENDS = ("distil-full", "distil-encoder", "distil-decoder")
SHIPPED = ("inputs", "distil-shipped")


def steps(tree: Path) -> list[Step]:
    """All of them; ``tree`` lends its shipped teacher."""
    inputs = Step("inputs", (lambda: make_inputs(tree),), ())
    return [inputs, *teachers(), *students(), *measurements(), *reports()]


def teachers() -> list[Step]:
    return [
        Step(
            "train",
            (
                f"semcom train --output tiny.pt {TEACHER}",
                f"semcom train --output second.pt {TEACHER} --seed 2",
            ),
            (),
        ),
        Step(
            "train-on",
            (
                f"""semcom train --start-from tiny.pt --output on.pt --steps 3 --lr 1e-4
                --channel rayleigh --equalizer mmse --batch-tokens 600 {PLAIN}""",
            ),
        ),
        Step(
            "train-words",
            (
                f"semcom train --vocab words_known.json --output words.pt {TEACHER}",
                f"semcom evaluate words.pt --snr 6 --output words.csv {SENTENCES}",
            ),
            ("inputs",),
        ),
        Step("train-bf16", (f"semcom train --output bf16.pt {TEACHER} --precision bf16",), ()),
        Step(
            "vocab",
            (
                "semcom vocab --output own.model --size 300 --corpus own.txt",
                "semcom vocab --output built_in.model --size 400 --corpus-size 400",
                f"semcom train --vocab own.model --output own.pt {TEACHER} --corpus own.txt",
            ),
            ("inputs",),
        ),
    ]


def students() -> list[Step]:
    to_one = "--temperature-schedule linear --final-temperature 1 --weight-schedule cosine --final-weight 0.2"
    by_snr = "--temperature-schedule snr --final-temperature 2 --weight-schedule snr --final-weight 0.9"
    two = "--teacher-checkpoint tiny.pt second.pt --distill-part decoder"
    return [
        *(
            distillation(f"ends/{part}", f"--distill-part {part} --create-hybrid --hybrid-output {part}.pt")
            for part in ("full", "encoder", "decoder")
        ),
        *(
            distillation(f"losses/{name}", f"--distill-part decoder {flags}")
            for name, flags in LOSSES.items()
        ),
        distillation("sdd", "--scales 1 2"),
        distillation(
            "sdd-jsd-lskd", "--scales 2 --kd-loss jsd --standardize-logits --complementary-weight 3"
        ),
        distillation("features-mse", "--feature-weight 0.5 --encoder-weight 0.3"),
        distillation("features-cosine", "--signal-weight 0.5 --decoder-weight 0.2 --feature-loss cosine"),
        distillation("crossed", "--cross-weight 0.5"),
        distillation("teachers", two),
        distillation("teachers-weighted", f"{two} --teacher-mean probabilities --teacher-weights 2 1"),
        distillation("sequence", "--sequence-level 1 --distill-part decoder"),
        distillation("sequence-beam", "--sequence-level 2 --distill-part encoder --corpus-size 300"),
        distillation("schedules", to_one),
        distillation("schedules-snr", by_snr),
        distillation(
            "random-narrow", "--student-init random --student-d-model 8 --student-heads 1 --student-dff 12"
        ),
        distillation(
            "from-checkpoint", "--student-checkpoint runs/ends/full/best_student_model.pt", "distil-full"
        ),
        distillation("rayleigh-mmse", "--channel rayleigh --equalizer mmse --batch-tokens 500", size=PLAIN),
        distillation("rician", "--channel rician --rician-k 2 --snr-range 0 12"),
        distillation("ideal", "--channel ideal --distill-part encoder"),
        distillation("bf16", "--precision bf16"),
        distillation("compiled", "--compile", compiled=True),
        distillation(
            "compiled-jsd", "--compile --kd-loss jsd --distill-part decoder --precision bf16", compiled=True
        ),
        # Of a teacher that understands: its scores are not those of noise.
        Step(
            "distil-shipped",
            (
                f"""distillation --teacher-checkpoint shipped.pt --distill-part decoder --student-layers 3
                --create-hybrid --hybrid-output shipped_hybrid.pt --output-path shipped_run {PLAIN}
                --steps 4 --batch-size 16""",
            ),
            ("inputs",),
        ),
    ]


def measurements() -> list[Step]:
    say = "semcom transmit 'We support the report.' --device cpu"
    return [
        Step(
            "splice",
            (
                """semcom splice --transmitter runs/ends/encoder/best_student_model.pt
               --receiver runs/ends/decoder/best_student_model.pt --output spliced.pt""",
            ),
            ENDS,
        ),
        Step(
            "evaluate",
            (
                f"""semcom evaluate shipped.pt shipped_hybrid.pt --snr 0 6 12 --examples 2
                --output greedy.csv {SENTENCES}""",
                f"""semcom evaluate shipped.pt shipped_hybrid.pt --snr 6 --beam-width 3 --length-penalty 0.6
                --output beam.csv {SENTENCES}""",
            ),
            SHIPPED,
        ),
        Step(
            "evaluate-channels",
            tuple(
                f"semcom evaluate shipped.pt --snr 3 --output link{number}.csv {flags} {SENTENCES}"
                for number, flags in enumerate(LINKS)
            ),
            ("inputs",),
        ),
        Step(
            "transmit",
            (
                f"{say} --checkpoints shipped.pt shipped_hybrid.pt --snr 0 12",
                f"{say} --checkpoints shipped.pt --snr 6 --beam-width 3 --channel rayleigh --seed 3",
            ),
            SHIPPED,
        ),
        Step(
            "doctor",
            (f"semcom doctor shipped.pt --draws 1000 --output doctor.json {SENTENCES}",),
            ("inputs",),
        ),
        Step("audit", (f"semcom audit shipped.pt --snr 0 12 --output audit.csv {SENTENCES}",), ("inputs",)),
        Step(
            "deepsc",
            (
                "semcom import public.pth --vocab-file public.json --output imported.pt --heads 4",
                "semcom export imported.pt --output back.pth --vocab-output back.json",
                """distillation --teacher-checkpoint imported.pt --corpus public.pkl --distill-part decoder
               --student-layers 1 --steps 2 --batch-size 32 --output-path imported_run --quiet --device cpu
               --precision fp32""",
                "semcom export imported_run/best_student_model.pt --output student.pth",
                f"semcom evaluate imported.pt --snr 6 --output imported.csv {PUBLIC_SENTENCES}",
                f"""semcom audit imported.pt --snr 6 --channel rician --output imported_audit.csv
                {PUBLIC_SENTENCES}""",
            ),
            ("inputs",),
        ),
    ]


def reports() -> list[Step]:
    return [
        Step(
            "analysis",
            (
                f"semantic_analysis --runs runs/ends --matrix all --output ends.json "
                f"--report-dir ends_report {REPORT}",
            ),
            ENDS,
        ),
        Step(
            "analysis-zh",
            (
                f"""semantic_analysis --runs runs/losses --matrix matched --lang zh --output losses.json
                --report-dir losses_report {REPORT}""",
            ),
            tuple(f"distil-{name}" for name in LOSSES),
        ),
        Step(
            "analysis-shipped",
            (
                f"""semantic_analysis shipped_hybrid.pt --teacher-checkpoint shipped.pt --no-report
                --output pair.json --snr 6 12 --beam-width 2 {SENTENCES}""",
            ),
            SHIPPED,
        ),
        Step(
            "examples",
            (
                "distillation_examples list",
                "distillation_examples 6 --dry-run --epochs 2",
                "distillation_examples 8 --dry-run --seeds 2",
                "distillation_examples all --dry-run",
            ),
            (),
        ),
        Step("api", (distil_toys,), ()),
        Step(
            "refusals",
            ("semcom evaluate missing.pt", "distillation --temperature 0", "semantic_analysis --device tpu"),
            (),
            code=2,
        ),
        # Most of the time: it has no flag that shortens it.
        Step("digits", ("distillation_examples 9 --seeds 1 --quiet --output-path digits",), ()),
    ]
