"""``export --format onnx``: both ends as graphs that onnxruntime runs, and what is needed beside them."""

import logging
import time
from pathlib import Path
from typing import Any

from semcom.base import progress
from semcom.base.advice import path_word
from semcom.base.errors import escape
from semcom.base.json_files import finite
from semcom.base.output_files import write_json
from semcom.base.whole_folders import whole_folder
from semcom.commands.export_settings import ExportSettings
from semcom.models import checkpoint, onnx_check, onnx_folder, onnx_graphs
from semcom.models.checkpoint import Checkpoint

log = logging.getLogger(__name__)


def export_onnx(settings: ExportSettings) -> Path:
    """The folder made."""
    started = time.monotonic()
    onnx_graphs.check_installed()
    source = checkpoint.load(settings.checkpoint)
    graphs = onnx_graphs.graphs_of(source.model)
    inputs, overwrite = [settings.checkpoint], settings.outputs.overwrite
    with whole_folder(
        "--output", settings.output, inputs, overwrite=overwrite, own=onnx_folder.OWN
    ) as folder:
        for graph in progress.each(graphs, "exporting", quiet=False):
            onnx_graphs.write(graph, folder)
        found = onnx_check.check(source.model, folder)
        made = onnx_folder.described(source, onnx_folder.FP32, onnx_graphs.OPSET)
        made["vocabulary"] = onnx_folder.write_vocabulary(source.vocabulary, folder)
        made["files"] = onnx_folder.digests(folder.iterdir())
        write_json(folder / onnx_folder.LINK, finite(made))
    _show(settings, source, made, found, time.monotonic() - started)
    return Path(settings.output)


def _show(
    settings: ExportSettings,
    source: Checkpoint,
    made: dict[str, Any],
    found: onnx_check.Differences,
    seconds: float,
) -> None:
    sizes = {name: each["bytes"] for name, each in made["files"].items()}
    graphs = ", ".join(f"{name} {sizes[name] / 1e6:.1f} MB" for name in onnx_folder.GRAPHS)
    beside = [name for name in sizes if name not in onnx_folder.GRAPHS]
    log.info(
        f"made {escape(settings.output)}: {graphs}; {', '.join([*beside, onnx_folder.LINK])}\n"
        f"opset {made['opset']}, {made['precision']}, any batch and length; {seconds:,.0f} s in all\n"
        f"checked: onnxruntime differs from torch, {found}"
    )
    folder, model = path_word(settings.output), path_word(source.path)
    log.info(f"next: python -m semcom evaluate {model} {folder} --runtime onnx")
