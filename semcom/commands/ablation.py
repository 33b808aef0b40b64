"""What distillation gains: arms that differ in their flags alone, run with the same seeds, measured on the
same sentences and draws.

An arm is a command of ``distillation.py``; each of its runs is measured against its teacher by
``semantic_analysis.py``.
"""

import json
import logging
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from semcom.base import output_files
from semcom.base.errors import SemcomError, escape
from semcom.commands import cli, parsers
from semcom.evaluation import intervals
from semcom.report import tables

log = logging.getLogger(__name__)

SNRS = (0.0, 6.0, 12.0)
MEASURED, SETTINGS = "divergence.json", "settings.json"
COLUMNS = {
    "bleu 0": "BLEU 0 dB",
    "bleu 6": "6 dB",
    "bleu 12": "12 dB",
    "validation": "validation CE",
    "kl 6": "KL 6 dB",
}


@dataclass(frozen=True)
class Arm:
    """flags: of ``distillation.py``, what sets the arm apart. base: the arm that it is compared with, None
    for one to compare with."""

    name: str
    flags: str
    base: str | None = "labels"

    def folder(self, root: Path, seed: int) -> Path:
        safe = "".join(c if c.isalnum() or c in ".-" else "_" for c in self.name)
        return root / safe / f"seed{seed}"


COMPARED = (
    Arm("labels", "--distill-weight 0", None),
    Arm("kd", ""),
    Arm("skl", "--kd-loss skl"),
    Arm("lskd", "--standardize-logits"),
)
"""What experiment 8 compares: labels alone, the default, a divergence that is not mass-covering alone, and
one blind to the logits' size."""
PLACES = {"bleu": ".2f", "validation": ".4f", "kl": ".4f"}
Gain = tuple[str, float, float | None]  # an arm, its mean and half of its interval
FOLDER = Path("checkpoints/examples/evidence")
RECEIVER = ("--distill-part", "decoder", "--student-layers", "2")


def commands(
    arm: Arm, seed: int, root: Path, common: Sequence[str], analysis: Sequence[str]
) -> list[list[str]]:
    """The distillation of one run and its analysis, as a person would type them."""
    folder = arm.folder(root, seed)
    return [
        [
            "python",
            "distillation.py",
            *common,
            *shlex.split(arm.flags),
            "--seed",
            str(seed),
            "--output-path",
            str(folder),
        ],
        [
            "python",
            "semantic_analysis.py",
            str(folder / "best_student_model.pt"),
            "--snr",
            *(f"{snr:g}" for snr in SNRS),
            *analysis,
            "--no-report",
            "--output",
            str(folder / MEASURED),
        ],
    ]


def run(
    arms: Iterable[Arm],
    seeds: Iterable[int],
    root: Path,
    common: Sequence[str],
    analysis: Sequence[str],
    *,
    share: tuple[int, int] = (0, 1),
) -> None:
    """All runs that are not finished yet. share: (k, n), this process's part of them where n processes work
    on one folder.

    Raises SemcomError where the folder holds runs of other flags: they would not compare.
    """
    settings, kept = {"distillation": list(common), "analysis": list(analysis)}, root / SETTINGS
    if kept.exists() and json.loads(kept.read_text(encoding="utf-8")) != settings:
        raise SemcomError(
            f"{escape(root)}: holds runs of other flags ({escape(kept)} says which), which would not compare; name another folder"
        )
    output_files.write_json(kept, settings)
    todo = [(arm, seed) for seed in seeds for arm in arms]
    for arm, seed in todo[share[0] :: share[1]]:
        if finished(arm, seed, root):
            continue
        distillation, measuring = commands(
            arm, seed, root, [*common, "--overwrite"], [*analysis, "--overwrite"]
        )
        log.info(f"\n$ {shlex.join(distillation)}")
        cli.distil(distillation[2:])
        cli.analyse(measuring[2:])


def finished(arm: Arm, seed: int, root: Path) -> bool:
    """Whether the run is there. Raises SemcomError where it was made with other flags than the arm has
    now."""
    folder = arm.folder(root, seed)
    if not (folder / MEASURED).exists():
        return False
    record = json.loads((folder / "distillation_config.json").read_text(encoding="utf-8"))
    parser = parsers.distillation_parser()
    wanted = vars(parser.parse_args(shlex.split(arm.flags)))
    given = {
        action.dest
        for action in parser._actions
        if {word.split("=")[0] for word in shlex.split(arm.flags)} & set(action.option_strings)
    }
    for name in sorted(given):
        if record.get(name) != wanted[name]:
            raise SemcomError(
                f"{escape(folder)}: was run with {name} {escape(record.get(name))}, arm {arm.name!r} has {escape(wanted[name])}; "
                "remove it, or name another folder"
            )
    return True


def experiment(extra: Sequence[str], seeds: int, dry_run: bool) -> list[dict[str, object]]:
    """Experiment 8: ``COMPARED`` receivers of two layers over ``seeds`` seeds, 300 steps each unless
    ``extra`` says otherwise.

    Returns and prints the rows of ``collect``; leaves them as CSV and JSON, with a picture, in ``FOLDER``.
    """
    own = {
        "--seed",
        "--output-path",
        "--distill-part",
        "--student-layers",
        *(word for arm in COMPARED for word in shlex.split(arm.flags)),
    }
    if wrong := next((word for word in extra if word.split("=")[0] in own and word.startswith("--")), None):
        raise SemcomError(
            f"{escape(wrong)}: experiment 8 sets it; for another value type the command yourself, see --dry-run"
        )
    parsers.distillation_parser().parse_args(extra)
    lengths = {"--steps", "--epochs", "--minutes"}
    common = [
        *RECEIVER,
        *([] if lengths & {word.split("=")[0] for word in extra} else ["--steps", "300"]),
        "--quiet",
        *extra,
    ]
    analysis = ["--sentences", "500", *cli.shared_flags(common)]
    numbers = range(1, seeds + 1)
    if dry_run:
        for command in [
            line
            for seed in numbers
            for arm in COMPARED
            for line in commands(arm, seed, FOLDER, common, analysis)
        ]:
            log.info(f"\n$ {shlex.join(command)}")
        return []
    if line := output_files.make_room("--output-path", FOLDER, named=False, overwrite=False, folder=True):
        log.info(line)
    run(COMPARED, numbers, FOLDER, common, analysis)
    rows = collect(COMPARED, numbers, FOLDER)
    log.info(f"\n{seeds} seeds, {shlex.join(common)}\n{table(rows)}")
    keep(rows, FOLDER, shlex.join(common))
    return rows


def gains(rows: Sequence[dict[str, object]]) -> list[Gain]:
    """BLEU that each arm gains over its base at 6 dB."""
    return [
        (str(row["arm"]), row["bleu 6 less base"].mean, row["bleu 6 less base"].half_width)
        for row in rows
        if row["base"]
    ]


def keep(rows: Sequence[dict[str, object]], root: Path, title: str, stem: str = "arms") -> None:
    """Rows as CSV and JSON, and what each arm gains at 6 dB as a picture."""
    tables.write_csv(root / f"{stem}.csv", flat(rows))
    output_files.write_json(root / f"{stem}.json", {"title": title, "rows": flat(rows)})
    tables.plot_intervals({"BLEU gained at 6 dB over its base": gains(rows)}, root / f"{stem}.png", mark=0)
    log.info(f"\nmade {escape(root / stem)}.csv, .json and .png")


def measured(arm: Arm, seed: int, root: Path) -> dict[str, float]:
    """What one run came to: BLEU and KL to the teacher (nats a token) by SNR, validation cross-entropy,
    seconds of training."""
    folder = arm.folder(root, seed)
    record, divergence = (
        json.loads((folder / name).read_text(encoding="utf-8"))
        for name in ("distillation_config.json", MEASURED)
    )
    by_snr = divergence["records"][0]["by_snr"]
    values = {
        "validation": record["best_loss"],
        "seconds": record["training_seconds"],
        "steps": record["steps_done"],
    }
    for snr in map("{:g}".format, SNRS):
        at = by_snr[snr]
        values |= {
            f"bleu {snr}": at["bleu"],
            f"kl {snr}": at["kl_divergence"],
            f"teacher bleu {snr}": at["reference_bleu"],
        }
    return values


def collect(arms: Sequence[Arm], seeds: Sequence[int], root: Path) -> list[dict[str, object]]:
    """One row an arm: mean and interval of each measure over seeds, and its paired difference to the arm's
    base, Holm-adjusted over the arms."""
    values = {arm.name: [measured(arm, seed, root) for seed in seeds] for arm in arms}
    rows = []
    for arm in arms:
        row: dict[str, object] = {"arm": arm.name, "base": arm.base, "seeds": len(seeds), "flags": arm.flags}
        for name in values[arm.name][0]:
            row[name] = intervals.estimate([v[name] for v in values[arm.name]])
            if arm.base:
                row[f"{name} less base"] = intervals.paired(
                    [v[name] for v in values[arm.name]], [v[name] for v in values[arm.base]]
                )
        rows.append(row)
    for name in COLUMNS:
        tested = [row for row in rows if row["base"] and row[f"{name} less base"].p is not None]
        for row, p in zip(tested, intervals.holm([row[f"{name} less base"].p for row in tested])):
            row[f"{name} p"] = p
    return rows


def table(rows: Sequence[dict[str, object]]) -> str:
    """Means, and what each arm gains over its base at 6 dB."""
    lines = []
    for row in rows:
        gain, p = row.get("bleu 6 less base"), row.get("bleu 6 p")
        measures = [format(row[name], PLACES[name.split()[0]]) for name in COLUMNS]
        lines.append(
            [row["arm"], *measures, f"{gain:.2f}" if gain else None, f"{p:.3f}" if p is not None else None]
        )
    return tables.table(lines, ["arm", *COLUMNS.values(), "gain 6 dB", "Holm p"])


def flat(rows: Sequence[dict[str, object]]) -> list[dict[str, object]]:
    """Rows of plain values, for files."""
    return [{key: part for name, value in row.items() for key, part in _parts(name, value)} for row in rows]


def _parts(name: str, value: object) -> list[tuple[str, object]]:
    if not isinstance(value, intervals.Estimate):
        return [(name, value)]
    return [(name, value.mean), (f"{name} half width", value.half_width)]
