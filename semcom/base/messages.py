"""Texts for people that are written in one place and translated in another."""


def N_(text: str) -> str:
    """Marks ``text`` for the catalogues of translations; it is translated where it is shown."""
    return text
