"""``evaluate --runtime onnx``: exported folders beside checkpoints, and how long their ends take."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from semcom.base.advice import path_word
from semcom.base.errors import SemcomError, escape
from semcom.base.provenance import cpu_model
from semcom.commands import chosen_way
from semcom.commands.measuring import REFERENCE_PREFERRED, entrants, labels, nearest
from semcom.commands.settings import EvaluateSettings
from semcom.data.batching import Encoded
from semcom.evaluation import frames
from semcom.evaluation.latency import UPPER, Setting, latencies
from semcom.evaluation.scores import Meeting
from semcom.evaluation.settings import EvaluationConfig
from semcom.models import checkpoint, onnx_link
from semcom.models.checkpoint import Checkpoint
from semcom.models.decoding import Search
from semcom.models.onnx_link import OnnxTransceiver
from semcom.models.onnx_reading import is_onnx_folder
from semcom.models.transceiver import Transceiver
from semcom.report import tables

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

SUFFIX = ".latency.csv"
SHARED = 1.5
"""Wall time over processor time from which on a line says that the machine was not idle."""
Loaded = Sequence[tuple[str, Checkpoint]]


def is_asked(settings: EvaluateSettings) -> bool:
    return settings.runtime == "onnx"


def device_of(settings: EvaluateSettings) -> str:
    """As ``resolve_device`` takes it. Raises SemcomError for another than the CPU, on which graphs run."""
    if not is_asked(settings):
        return settings.run.device
    if settings.run.device not in ("auto", "cpu"):
        raise SemcomError(
            f"--device {escape(settings.run.device)}: --runtime onnx runs and times all ends on the CPU; "
            "leave it out"
        )
    return "cpu"


def loaded(settings: EvaluateSettings) -> list[tuple[str, Checkpoint]]:
    """Checkpoints, and folders where they are asked for, under their labels."""
    paths = settings.checkpoints
    if not is_asked(settings):
        return [(label, _by_torch(path)) for label, path in zip(labels(paths), paths)]
    folders = [path for path in paths if _is_of_graphs(path)]
    if not folders:
        first, around = path_word(paths[0]), Path(paths[0]).parent
        if is_onnx_folder(around):
            raise SemcomError(f"--runtime onnx: {first} is one file of a folder; give {path_word(around)}")
        raise SemcomError(
            f"--runtime onnx: {first} is a checkpoint; export it, and give the folder: "
            f"python -m semcom export {first} --format onnx --output FOLDER"
        )
    read = [onnx_link.load(path) if path in folders else checkpoint.load(path) for path in paths]
    return list(zip(_labels(paths, folders), read))


def _by_torch(path: str) -> Checkpoint:
    if is_onnx_folder(path):
        raise SemcomError(f"checkpoint {escape(path)}: is a folder of ONNX graphs; add --runtime onnx")
    return checkpoint.load(path)


def _is_of_graphs(path: str) -> bool:
    """Whether it is a folder, or is to be one."""
    return Path(path).is_dir() or not Path(path).exists() and not Path(path).suffix


def _labels(paths: Sequence[str], folders: Sequence[str]) -> list[str]:
    """A folder beside a checkpoint of its name says what it is."""
    names = [Path(path).stem for path in paths]
    alike = len(set(names)) < len(names)
    return labels([f"{path.rstrip('/')} (onnx)" if alike and path in folders else path for path in paths])


def search_for(
    settings: EvaluationConfig, models: Sequence[Transceiver], tokens: int, device: torch.device
) -> tuple[Search, str]:
    """As ``chosen_way.search_for`` for the models that torch runs."""
    by_torch = [model for model in models if not model.receiver.says_logits]
    if by_torch:
        return chosen_way.search_for(settings, by_torch, tokens, device)
    if settings.compile == "on":
        log.warning("--compile: onnxruntime has its own kernels; going on without")
    return Search(settings.beam_width, settings.length_penalty), "onnxruntime"


def outputs(settings: EvaluateSettings, picture: Path) -> dict[str, str | Path]:
    """As ``plots.outputs`` has them."""
    return {"--output (latency)": table_of(picture)} if is_asked(settings) else {}


def table_of(picture: Path) -> Path:
    """Beside the picture of all measures."""
    return picture.with_name(f"{picture.stem}{SUFFIX}")


def latency(
    settings: EvaluateSettings, models: Loaded, encoded: Sequence[Encoded], meeting: Meeting
) -> "pd.DataFrame | None":
    """Rows of ``latencies`` with what ran them, shown too; None where they are not asked for."""
    if not is_asked(settings) or not meeting.processes.is_main:
        return None
    snr = nearest(settings.evaluation.snr, REFERENCE_PREFERRED)
    at = Setting(meeting.channel, snr, meeting.seed, meeting.search)
    runtimes = {label: _runtime(c.model, meeting.search) for label, c in models}
    machine = {"snr": snr, "threads": torch.get_num_threads(), "cpu": cpu_model()}
    rows = [
        {**row, "runtime": runtimes[str(row["model"])], **machine, "decoding": str(meeting.search)}
        for row in latencies(entrants(models), encoded, at)
    ]
    found = frames.frame_of(rows)
    _show(found)
    return found


def _runtime(model: Transceiver, search: Search) -> str:
    if isinstance(model, OnnxTransceiver):
        return f"onnxruntime {onnx_link.onnxruntime('--runtime onnx').__version__}, {model.precision}"
    kernels = " with compiled kernels" if search.compiled else ""
    return f"torch {torch.__version__}{kernels}"


def _show(rows: "pd.DataFrame") -> None:
    first = rows.iloc[0]
    threads = "1 thread" if first["threads"] == 1 else f"{first['threads']} threads"
    ends = rows.drop_duplicates(["model", "end"])[["model", "end"]]
    ends = ends.assign(MB=[_megabytes(rows, model, end) for model, end in ends.itertuples(index=False)])
    for size in rows["batch"].unique():
        of_size = rows[rows["batch"] == size].rename(
            columns={"median_ms": f"batch {size}", "upper_ms": f"{UPPER} % ({size})"}
        )
        ends = ends.merge(of_size[["model", "end", f"batch {size}", f"{UPPER} % ({size})"]])
    log.info(
        f"\nlatency: ms of wall time a sentence, median, and what {UPPER} % of batches stay under, at "
        f"{first['snr']:g} dB\n{tables.text(ends, 3)}"
    )
    run_by = rows.drop_duplicates("model")
    for runtime in run_by["runtime"].unique():
        names = ", ".join(escape(name) for name in run_by[run_by["runtime"] == runtime]["model"])
        log.info(f"{names}: {runtime}")
    log.info(f"{threads} of {escape(first['cpu'])}")
    slower = rows["median_ms"].sum() / rows["median_cpu_ms"].sum()
    if slower > SHARED:
        log.warning(
            f"other programs were at work: wall time is {slower:.1f} times the processor time, "
            "which the CSV of --output has too; time it again on an idle machine"
        )
    if not any(runtime.startswith("torch") for runtime in run_by["runtime"]):
        log.info("give the checkpoint beside its folder for torch's figures")


def _megabytes(rows: "pd.DataFrame", model: str, end: str) -> str:
    of_end = rows[(rows["model"] == model) & (rows["end"] == end)]
    return f"{of_end['bytes'].iloc[0] / 1e6:.2f}"


def write(rows: "pd.DataFrame | None", picture: Path) -> None:
    """As CSV, where there are any."""
    if rows is not None:
        tables.write_csv(table_of(picture), rows)
        log.info(f"made {escape(table_of(picture))}")
