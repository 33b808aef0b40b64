"""The report's language: English stands in the code, marked by ``_("...")`` where it is shown and by
``N_("...")`` where it is only written down; other languages are gettext catalogues,
``locale/LANGUAGE/LC_MESSAGES/semcom.po``.

A text may have fields for ``str.format``, ``{snr}``, which stand in every language.
"""

import gettext
import io
from functools import cache
from pathlib import Path

LOCALE = Path(__file__).parent / "locale"


@cache
def translation(language: str) -> gettext.NullTranslations:
    """``translation("zh").gettext(text)`` is ``text`` in Chinese; where it has none, it stays English."""
    if language == "en":
        return gettext.NullTranslations()
    from babel.messages import mofile, pofile

    with (LOCALE / language / "LC_MESSAGES/semcom.po").open("rb") as source:
        catalogue = pofile.read_po(source, locale=language)
    compiled = io.BytesIO()
    mofile.write_mo(compiled, catalogue)
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)
