"""Sizes of a transceiver: what is needed to build one whose weights are then loaded, and the bounds on what
is taken from a file.

Letters: V pieces, D width of an end's states, C real channel dimensions a token.
"""

from collections.abc import Mapping
from dataclasses import Field, asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from semcom.base.errors import SemcomError, escape
from semcom.models.kinds import RECEIVERS, TRANSMITTERS, USUAL

if TYPE_CHECKING:
    from semcom.models.protocols import Kind, Receiver, Transmitter

ENDS = ("transmitter", "receiver")
FRONTS = ("aligner", "snr_aware")
"""Fields of what may stand before a receiver."""
SIZES = ("layers", "d_model", "num_heads", "dff")
"""Sizes that flags give, by the name of their field; a kind of end has those that mean something to it."""
LIMITS = {
    "vocab_size": 1_000_000,
    "channel_dim": 4096,
    "channel_encoder_hidden": 65_536,
    "channel_decoder_hidden": 65_536,
}
"""The largest sizes, beside those of the ends, that are taken from a file."""
ALIGNER_LIMITS = {"channel_dim": 4096, "hidden": 65_536}


@dataclass(frozen=True)
class AlignerSize:
    """Size of the map before a receiver that was trained for another transmitter.

    channel_dim: real dimensions a token that the receiver behind the map reads. bias: whether the map's
    straight part moves the origin. hidden: width of its bent part, 0 where it has none.
    """

    channel_dim: int
    bias: bool = False
    hidden: int = 0

    def __str__(self) -> str:
        bent = f" with {self.hidden} hidden" if self.hidden else ""
        return f"a map to {self.channel_dim}{bent}{', biased' if self.bias else ''}"


class EndSize(Protocol):
    """Size of one end, a frozen dataclass of whole numbers, true and false.

    kind: its row in ``kinds``. d_model: width D of its states. Of ``SIZES`` it has those it needs, and what
    else it has has a default.
    """

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    kind: ClassVar[str]

    def __init__(self, **sizes: int) -> None: ...

    @property
    def d_model(self) -> int: ...


@dataclass(frozen=True)
class Architecture:
    """All that is needed to build a transceiver whose weights are then loaded.

    channel_encoder_hidden, channel_decoder_hidden: widths between D and C, and between D and D. amplitude:
    the receiver was trained on signals this many times as strong as ours, so it multiplies what arrives by
    it: 1, or sqrt(2) where the transceiver comes from public DeepSC code, whose signals have power 1 per real
    dimension. channel_dim: C of what the transmitter sends and of what arrives. aligner: the map between what
    arrives and the receiver, where there is one; the receiver behind it reads the map's own channel_dim.
    snr_aware: the receiver is told the SNR.
    """

    vocab_size: int
    transmitter: EndSize
    receiver: EndSize
    channel_dim: int = 16
    dropout: float = 0.1
    channel_encoder_hidden: int = 256
    channel_decoder_hidden: int = 512
    amplitude: float = 1.0
    aligner: AlignerSize | None = None
    snr_aware: bool = False

    @property
    def behind_aligner(self) -> "Architecture":
        """As the receiver sees it that stands behind the aligner."""
        if self.aligner is None:
            return self
        return replace(self, channel_dim=self.aligner.channel_dim, aligner=None)

    def size(self, end: str) -> EndSize:
        """Of the ``transmitter`` or the ``receiver``."""
        return {"transmitter": self.transmitter, "receiver": self.receiver}[end]

    def to_dict(self) -> dict[str, Any]:
        """As a checkpoint holds it. The usual kind and the fronts that are not there go unsaid, so that what
        older runs recorded still holds."""
        made = asdict(self)
        for front in FRONTS:
            if not getattr(self, front):
                del made[front]
        for end in ENDS:
            if (kind := self.size(end).kind) != USUAL:
                made[end] = {"kind": kind, **made[end]}
        return made


def kind_of(end: str, name: str) -> "Kind[Transmitter] | Kind[Receiver]":
    """The row of a kind of ``transmitter`` or ``receiver``. Raises KeyError where there is none."""
    return TRANSMITTERS[name]() if end == "transmitter" else RECEIVERS[name]()


def sized(end: str, kind: str, wanted: Mapping[str, int | None], like: EndSize | None = None) -> EndSize:
    """A size of this kind. wanted: by name, those of ``SIZES`` that are given, None where not.

    A kind without a field of that name passes over what is wanted: a recurrent one over num_heads. What is
    not wanted is as in ``like``, by name where that is of another kind, else as the kind's defaults are.
    Raises SemcomError for what is over the kind's limits.
    """
    row = kind_of(end, kind)
    named = {field.name for field in fields(row.size)}
    given = {name: value for name, value in wanted.items() if name in named and value is not None}
    if like is not None and like.kind == kind:
        return replace(like, **given)
    if like is not None:
        theirs = {name: value for name, value in sizes_of(like).items() if name in named}
        given = {name: value for name, value in theirs.items() if value is not None} | given
    for name, value in given.items():
        if value > row.limits[name]:
            raise SemcomError(
                f"{name} {value}: a {end} of kind {kind} has at most {row.limits[name]}; give a smaller one"
            )
    return row.size(**given)


def sizes_of(size: EndSize) -> dict[str, int | None]:
    """By name, those of ``SIZES``; None for what its kind does not have."""
    return {name: getattr(size, name, None) for name in SIZES}


def from_file(given: dict[str, Any], where: str) -> Architecture:
    """The architecture that a checkpoint claims, bounded. Raises SemcomError that begins with ``where``."""
    limits = {end: dict(_kind_in_file(given, end, where).limits) for end in ENDS}
    _check_limits(given, LIMITS, where)
    for end in ENDS:
        _check_limits(given[end], limits[end], where)
    sizes = {end: _size_in_file(given, end, where) for end in ENDS}
    architecture = Architecture(**{**given, **sizes, **_fronts_in_file(given, where)})
    heads_fit = all(size.d_model % getattr(size, "num_heads", 1) == 0 for size in sizes.values())
    if not heads_fit or architecture.channel_dim % 2:
        raise SemcomError(
            f"{where}: claims a width that its heads do not divide, or an odd channel_dim; "
            "not a semcom checkpoint"
        )
    if type(architecture.dropout) not in (int, float) or not 0 <= architecture.dropout < 1:
        raise SemcomError(
            f"{where}: claims dropout {escape(architecture.dropout)}, allowed are 0 to under 1; "
            "not a semcom checkpoint"
        )
    if type(architecture.amplitude) not in (int, float) or not 1e-3 <= architecture.amplitude <= 1e3:
        raise SemcomError(
            f"{where}: claims amplitude {escape(architecture.amplitude)}, allowed are 0.001 to 1000; "
            "not a semcom checkpoint"
        )
    return architecture


def _kind_in_file(given: dict[str, Any], end: str, where: str) -> "Kind[Transmitter] | Kind[Receiver]":
    name, known = given[end].get("kind", USUAL), TRANSMITTERS if end == "transmitter" else RECEIVERS
    if not isinstance(name, str) or name not in known:
        raise SemcomError(
            f"{where}: its {end} is of kind {escape(name)}, this program knows {', '.join(known)}; "
            "update the program, if a newer one made this checkpoint"
        )
    return kind_of(end, name)


def _check_limits(sizes: dict[str, Any], limits: Mapping[str, int], where: str) -> None:
    for name, value in sizes.items():
        if name in limits and not (type(value) is int and 1 <= value <= limits[name]):
            raise SemcomError(
                f"{where}: claims {name} {escape(value)}, allowed are 1 to {limits[name]}; "
                "not a semcom checkpoint"
            )


def _size_in_file(given: dict[str, Any], end: str, where: str) -> EndSize:
    kind = _kind_in_file(given, end, where)
    sizes = {name: value for name, value in given[end].items() if name != "kind"}
    for name, value in sizes.items():
        if name not in kind.limits and type(value) is not bool:
            raise SemcomError(
                f"{where}: its {escape(name)} is neither true nor false; not a semcom checkpoint"
            )
    return kind.size(**sizes)


def _fronts_in_file(given: dict[str, Any], where: str) -> dict[str, Any]:
    """What a checkpoint says of the fronts of its receiver."""
    found: dict[str, Any] = {name: given[name] for name in FRONTS if name in given}
    if type(found.get("snr_aware", False)) is not bool:
        raise SemcomError(f"{where}: its snr_aware is neither true nor false; not a semcom checkpoint")
    if found.get("aligner") is not None:
        found["aligner"] = _aligner_in_file(found["aligner"], where)
    return found


def _aligner_in_file(given: dict[str, Any], where: str) -> AlignerSize:
    for name, least in (("channel_dim", 2), ("hidden", 0)):
        value, most = given.get(name, 0), ALIGNER_LIMITS[name]
        if type(value) is not int or not least <= value <= most or name == "channel_dim" and value % 2:
            even = "even numbers from " if name == "channel_dim" else ""
            raise SemcomError(
                f"{where}: its aligner claims {name} {escape(value)}, allowed are {even}{least} to {most}; "
                "not a semcom checkpoint"
            )
    if type(given.get("bias", False)) is not bool:
        raise SemcomError(f"{where}: its aligner's bias is neither true nor false; not a semcom checkpoint")
    return AlignerSize(**given)
