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

    def __getnewargs_ex__(self) -> tuple[tuple[str], dict[str, object]]:
        """For copies, which would else take what is filled in for a text with fields."""
        return (self.text,), self.fields


def said(text: str, gettext: Callable[[str], str]) -> str:
    """A ``Message`` in the language of ``gettext``, with those among its fields; other text as it is."""
    if not isinstance(text, Message):
        return text
    fields = {
        name: said(value, gettext) if isinstance(value, str) else value for name, value in text.fields.items()
    }
    return gettext(text.text).format(**fields)
