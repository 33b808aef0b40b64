"""Settings of ``python -m semcom demo``."""

from dataclasses import dataclass

from semcom.base.errors import SemcomError, escape
from semcom.base.flags import Rule, Validated, group, setting, whole
from semcom.base.settings import RunConfig
from semcom.channel.settings import ChannelConfig
from semcom.models.settings import DEFAULT_TEACHER
from semcom.report.settings import LANGUAGES

RECEIVERS = 6
"""At most beside each other: as many as there are colours that can be told apart."""
LOOPBACK = "127.0.0.1"
FIRST_PORT, PORTS_TRIED = 7860, 20
HOST = Rule(
    "the name or address of a network interface of this machine",
    lambda host: 0 < len(host) <= 253 and not set(host) & set("/\\ \t\r\n\0"),
    LOOPBACK,
)


@dataclass(frozen=True, kw_only=True)
class DemoSettings(Validated):
    checkpoints: tuple[str, ...] = setting(
        (),
        f"checkpoints, and folders of finished distillations (default {DEFAULT_TEACHER} and the runs under "
        "checkpoints/)",
        positional=True,
        nargs="*",
        metavar="CHECKPOINT",
    )
    lang: str = setting("en", "language of the page at first: English or Chinese", choices=LANGUAGES)
    host: str = setting(
        LOOPBACK,
        "address to listen at; 0.0.0.0: whoever reaches this machine can see the page",
        HOST,
        metavar="ADDRESS",
        recorded=False,
    )
    port: int | None = setting(
        None,
        "port to listen at",
        whole(1, 65_535, example="7860"),
        absent=f"the first from {FIRST_PORT} that is free",
        type=int,
        metavar="PORT",
        recorded=False,
    )
    channel: ChannelConfig = group(ChannelConfig())
    run: RunConfig = group(RunConfig())

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.checkpoints) > RECEIVERS:
            last = escape(self.checkpoints[-1])
            raise SemcomError(
                f"CHECKPOINT {last}: {len(self.checkpoints)} are given, {RECEIVERS} at most stand beside "
                "each other; leave some out"
            )
