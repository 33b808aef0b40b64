"""``export --format safetensors`` and ``--format hub``."""

from pathlib import Path

from semcom.base.errors import SemcomError
from semcom.commands.export_settings import ExportSettings


def export_safetensors(settings: ExportSettings) -> Path:
    """The file made."""
    raise SemcomError(f"--format {settings.format}: is not there yet")


def export_hub(settings: ExportSettings) -> Path:
    """The folder made."""
    raise SemcomError(f"--format {settings.format}: is not there yet")
