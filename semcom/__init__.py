"""Make and measure knowledge mismatch between the two ends of a semantic-communication link.

The Python API: ``from semcom import Distiller`` and the other names of ``__all__``.
"""

import logging
from importlib import import_module

__version__ = "0.1.0"

_HOMES = {
    "DistillationConfig": "distillation.settings",
    "DistillationLoss": "distillation.kd_loss",
    "Distiller": "distillation.distiller",
    "compare_models": "commands.compare",
    "dial": "commands.dial",
    "plot_temperature_effect": "report.plots",
    "plot_training_curves": "report.plots",
    "set_seed": "distillation.distiller",
}
__all__ = [*_HOMES]

# Without it Python would show warnings on stderr to a program that asked for none.
logging.getLogger(__name__).addHandler(logging.NullHandler())


def __getattr__(name: str) -> object:
    # Imported when asked for: ``--help`` imports the package and is to answer before torch could.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
