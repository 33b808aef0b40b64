"""Make and measure knowledge mismatch between the two ends of a semantic-communication link.

The Python API: ``from semcom import Distiller`` and the other names of ``__all__``.
"""

import logging
import sys
from importlib import import_module
from importlib.util import find_spec

__version__ = "0.1.0"

_HOMES = {
    "Checkpoint": "models.checkpoint",
    "DistillationConfig": "distillation.settings",
    "DistillationLoss": "distillation.kd_loss",
    "Distiller": "distillation.distiller",
    "SemcomError": "base.errors",
    "Transceiver": "models.transceiver",
    "UNLABELLED": "distillation.kd_loss",
    "Unwise": "base.errors",
    "benchmark": "commands.benchmark",
    "compare_models": "commands.compare",
    "dial": "commands.dial",
    "plot_temperature_effect": "report.plots",
    "plot_training_curves": "report.plots",
    "published": "distillation.published",
    "set_seed": "distillation.distiller",
}
__all__ = [*_HOMES]

# Without it Python would show warnings on stderr to a program that asked for none.
logging.getLogger(__name__).addHandler(logging.NullHandler())


def __getattr__(name: str) -> object:
    # Imported when asked for: ``--help`` imports the package and is to answer before torch could.
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    from semcom.distillation.other_conventions import missing_name

    told = missing_name(name, __all__)
    # ``from semcom import name`` asks whether there is one; of an AttributeError it would not say a word.
    if sys._getframe(1).f_code.co_name == "_handle_fromlist" and not find_spec(f"{__name__}.{name}"):
        raise ImportError(told, name=name)
    raise AttributeError(told, name=name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
