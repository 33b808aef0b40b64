"""Settings of ``python -m semcom export``."""

import re
from dataclasses import dataclass

from semcom.base.errors import SemcomError, escape
from semcom.base.flags import Rule, Validated, differs, flag_of, group, required, setting
from semcom.base.paths import check as check_path
from semcom.base.settings import OutputConfig
from semcom.commands.settings import DEBUG
from semcom.models.settings import ExportConfig


@dataclass(frozen=True)
class Format:
    """what: it is for. folder: whether that is made, or a file. own: settings that other formats refuse."""

    what: str
    folder: bool = False
    own: tuple[str, ...] = ()


FORMATS = {
    "deepsc": Format("a state dict for public DeepSC code", own=("vocab_output", "positions")),
    "onnx": Format("a folder of graphs for onnxruntime, each end apart", folder=True, own=("int8",)),
    "safetensors": Format("weights in safetensors, their JSON beside"),
    "hub": Format(
        "a folder as the Hugging Face Hub has it, with a model card", folder=True, own=("license", "scores")
    ),
}


@dataclass(frozen=True, kw_only=True)
class ExportSettings(Validated):
    checkpoint: str = required("a teacher, student or hybrid", positional=True, metavar="CHECKPOINT")
    output: str = required("the file or folder made", metavar="PATH")
    format: str = setting(
        "deepsc", "; ".join(f"{name}: {each.what}" for name, each in FORMATS.items()), choices=FORMATS.keys()
    )
    vocab_output: str | None = setting(
        None, "deepsc: write its word vocabulary too, as vocab.json", metavar="FILE"
    )
    int8: bool = setting(
        False,
        "onnx: weights as whole numbers of 8 bits, dynamic quantisation; what it costs is measured",
        action="store_true",
    )
    license: str | None = setting(
        None,
        "hub: the licence that you publish it under, as the hub calls it",
        Rule(
            "an identifier of the hub: small letters, digits, dots and dashes",
            lambda name: re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,60}", name) is not None,
            "mit",
        ),
        metavar="NAME",
    )
    scores: str | None = setting(
        None,
        "hub: the table that evaluate --output wrote of this checkpoint, for the card (a distillation's "
        "best student has its run's)",
        metavar="FILE",
    )
    model: ExportConfig = group(ExportConfig())
    outputs: OutputConfig = group(OutputConfig())
    debug: bool = setting(False, DEBUG, action="store_true", recorded=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, each in FORMATS.items():
            if name != self.format:
                self._refuse(name, each.own)
        check_path("--output", self.output, "FOLDER" if FORMATS[self.format].folder else "FILE")

    def _refuse(self, format: str, own: tuple[str, ...]) -> None:
        """Raise for a flag that means something to another format alone."""
        given = [name for name in own if differs(self if hasattr(self, name) else self.model, name)]
        if given:
            raise SemcomError(
                f"{flag_of(given[0])}: belongs to --format {format}, asked for is {escape(self.format)}; "
                "leave one of the two out"
            )
