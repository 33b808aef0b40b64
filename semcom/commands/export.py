"""The verb ``export``: a checkpoint in the form of another program."""

import pkgutil
from collections.abc import Callable
from pathlib import Path

from semcom.commands.export_settings import ExportSettings

MADE_BY = {
    "deepsc": "deepsc_models:export_deepsc",
    "onnx": "export_onnx:export_onnx",
    "safetensors": "export_weights:export_safetensors",
    "hub": "export_weights:export_hub",
}
"""Format -> ``module:name`` in this room, imported when it is asked for."""


def export(settings: ExportSettings) -> Path:
    """The file or folder made."""
    make: Callable[[ExportSettings], Path] = pkgutil.resolve_name(
        f"semcom.commands.{MADE_BY[settings.format]}"
    )
    return make(settings)
