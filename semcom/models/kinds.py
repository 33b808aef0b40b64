"""The kinds of ends, a row each: what a transmitter, or a receiver, may be.

A row is fetched when an end of its kind is built, so that the names alone cost no torch: flags offer them.
To add a kind, write its file (``transformer`` is one), and name its row here.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from semcom.models.protocols import Kind, Receiver, Transmitter

USUAL = "transformer"


def _transformer_transmitter() -> "Kind[Transmitter]":
    from semcom.models import transformer

    return transformer.TRANSMITTER


def _transformer_receiver() -> "Kind[Receiver]":
    from semcom.models import transformer

    return transformer.RECEIVER


TRANSMITTERS: "dict[str, Callable[[], Kind[Transmitter]]]" = {
    USUAL: _transformer_transmitter,
}
RECEIVERS: "dict[str, Callable[[], Kind[Receiver]]]" = {
    USUAL: _transformer_receiver,
}
