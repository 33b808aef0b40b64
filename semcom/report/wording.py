"""What files and flags name by a word of their own, in words for a reader."""

from semcom.base.messages import N_, Message
from semcom.channel.settings import KINDS


def channel_told(label: str) -> Message:
    """A channel by its label, its name first: ``rician K=2 zf`` is Rician (K=2, ZF)."""
    name, *settings = label.split()
    title = Message(KINDS[name].title) if name in KINDS else name
    told = ", ".join(text.upper() for text in settings)
    if not told:
        return Message("{title}", title=title)
    return Message(N_("{what} ({aside})"), what=title, aside=told)
