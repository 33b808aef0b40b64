"""Texts for people that are written in one place and translated in another."""

from collections.abc import Callable


def N_(text: str) -> str:
    """Marks ``text`` for the catalogues of translations; it is translated where it is shown."""
    return text


class Message(str):
    """A marked text with its fields filled in: as a string it is English, and ``said`` says it in another
    language."""

    text: str
    fields: dict[str, object]

    def __new__(cls, text: str, /, **fields: object) -> "Message":
        message = super().__new__(cls, text.format(**fields))
        message.text, message.fields = text, fields
        return message


def said(text: str, gettext: Callable[[str], str]) -> str:
    """A ``Message`` in the language of ``gettext``; other text as it is."""
    return gettext(text.text).format(**text.fields) if isinstance(text, Message) else text
