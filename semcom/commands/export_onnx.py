"""``export --format onnx``: both ends as graphs that onnxruntime runs, and what is needed beside them."""

import logging
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semcom.base import progress
from semcom.base.advice import path_word
from semcom.base.errors import escape
from semcom.base.json_files import finite
from semcom.base.output_files import write_json
from semcom.base.whole_folders import whole_folder
from semcom.commands.export_settings import ExportSettings
from semcom.models import checkpoint, onnx_check, onnx_folder, onnx_graphs, onnx_quantisation
from semcom.models.checkpoint import Checkpoint
from semcom.models.onnx_folder import FP32, GRAPHS, INT8, LINK

if TYPE_CHECKING:
    from semcom.commands.export_int8 import Test

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
        test = _test(settings, source)
        with tempfile.TemporaryDirectory() as made:
            sizes = _write_graphs(settings, source, graphs, Path(made), folder)
        link = _write_link(settings, source, folder)
        if test is not None:
            link["int8"] = _cost(source, folder, test)
            write_json(folder / LINK, finite(link))
    _show(settings, link, sizes, time.monotonic() - started)
    return Path(settings.output)


def _test(settings: ExportSettings, source: Checkpoint) -> "Test | None":
    """What ``--int8`` is measured on, where it is given."""
    if not settings.int8:
        return None
    from semcom.commands import export_int8

    return export_int8.test_of(source)


def _cost(source: Checkpoint, folder: Path, test: "Test") -> dict[str, Any]:
    from semcom.commands import export_int8

    return export_int8.cost(source, folder, test)


def _write_graphs(
    settings: ExportSettings, source: Checkpoint, graphs: list[onnx_graphs.Graph], made: Path, folder: Path
) -> dict[str, int]:
    """Checked in a folder of their own, ``made``, then as they are asked for in ``folder``. Returns the bytes
    of each in float32."""
    for graph in progress.each(graphs, "exporting", quiet=False):
        onnx_graphs.write(graph, made)
    found = onnx_check.check(source.model, made)
    log.info(f"checked: in float32 onnxruntime differs from torch, {found}")
    if settings.int8:
        onnx_quantisation.quantise(made, folder)
    else:
        for name in GRAPHS:
            shutil.copy(made / name, folder)
    return {name: (made / name).stat().st_size for name in GRAPHS}


def _write_link(settings: ExportSettings, source: Checkpoint, folder: Path) -> dict[str, Any]:
    """The vocabulary and the JSON, whose value is returned."""
    link = onnx_folder.described(source, INT8 if settings.int8 else FP32, onnx_graphs.OPSET)
    link["vocabulary"] = onnx_folder.write_vocabulary(source.vocabulary, folder)
    link["files"] = onnx_folder.digests(folder.iterdir())
    write_json(folder / LINK, finite(link))
    return link


def _show(settings: ExportSettings, link: dict[str, Any], sizes: dict[str, int], seconds: float) -> None:
    """sizes: of the graphs in float32."""
    files = link["files"]
    graphs = ", ".join(f"{name} {files[name]['bytes'] / 1e6:.1f} MB" for name in GRAPHS)
    beside = ", ".join([*(name for name in files if name not in GRAPHS), LINK])
    lines = [
        f"made {escape(settings.output)}: {graphs}; {beside}",
        f"opset {link['opset']}, {link['precision']}, any batch and length; {seconds:,.0f} s in all",
    ]
    if settings.int8:
        small, large = sum(files[name]["bytes"] for name in GRAPHS), sum(sizes.values())
        lines.append(f"graphs {small / 1e6:.1f} MB, in float32 {large / 1e6:.1f} MB")
    if cost := link.get("int8"):
        bleu = cost["bleu"]
        lines.append(
            f"BLEU at {cost['snr']:g} dB, {cost['channel']}, {cost['sentences']:,} test sentences: "
            f"{bleu['torch']:.2f} by torch, {bleu['int8']:.2f} by int8, {-cost['bleu_lost']:+.2f}\n"
            f"{cost['bleu_signature']}; seed {cost['seed']}"
        )
    folder, model = path_word(settings.output), path_word(settings.checkpoint)
    lines.append(f"next: python -m semcom evaluate {folder} {model} --runtime onnx")
    log.info("\n".join(lines))
