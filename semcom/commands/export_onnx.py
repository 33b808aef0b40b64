"""``export --format onnx``."""

from pathlib import Path

from semcom.base.errors import SemcomError
from semcom.commands.export_settings import ExportSettings


def export_onnx(settings: ExportSettings) -> Path:
    """The folder made."""
    raise SemcomError(f"--format {settings.format}: is not there yet")
