"""The sentences of a run, read and encoded once for all runs of a sweep."""

from pathlib import Path

from semcom.commands.inputs import Data, encode_splits, lines_about, read_corpus, tell
from semcom.data.settings import CorpusConfig
from semcom.data.vocabulary import Vocabulary


# Many arguments: what is read, where it is kept, and what is said of it.
def data_of_run(
    settings: CorpusConfig,
    vocabulary: Vocabulary,
    shared: str | None = None,
    warning: str = "",
    *,
    quiet: bool = True,
) -> Data:
    """Encoded splits of the corpus; lines are said about what was read, now or by another run. shared: a
    folder where the runs of a sweep keep it for each other. warning: in place of what is wrong with the
    vocabulary for such text."""
    source = read_corpus(settings, vocabulary, quiet=quiet, shared=Path(shared) if shared else None)
    data = encode_splits(source, vocabulary, quiet=quiet)
    tell(lines_about(source, settings, vocabulary), warning)
    return data
