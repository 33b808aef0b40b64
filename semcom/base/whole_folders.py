"""A folder that a run makes at once: it comes to its place whole, or not at all."""

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from semcom.base import places
from semcom.base.errors import SemcomError, escape
from semcom.base.output_files import check_outputs, sync_folder
from semcom.base.places import Place


@contextmanager
def whole_folder(
    flag: str, path: str | Path, inputs: Iterable[str | Path], *, overwrite: bool, own: tuple[str, ...]
) -> Iterator[Path]:
    """A folder to write in; what is there when the block ends comes to ``path``, which the user named. After
    an error nothing does, and what stood at ``path`` is as it was.

    inputs: files that are read, and may not lie in it. own: patterns of the names that are written; what else
    lies in a folder that is replaced stays in it.
    """
    with ExitStack() as held:
        _check(flag, path, list(inputs))
        wanted = Place(flag, path, named=True, overwrite=overwrite, folder=True, own=own)
        (place,) = places.reserve([wanted], held)
        making = place.real.with_name(f".{place.real.name}.making")
        _remove(making)  # of a run that died: the place is locked
        making.mkdir(parents=True)
        held.callback(_remove, making)
        yield making
        places.make_room([place])
        _move(making, place.working)
        places.publish([place])


def _check(flag: str, path: str | Path, inputs: list[str | Path]) -> None:
    """Raise SemcomError for a folder that is, holds or lies in what is read."""
    check_outputs({flag: path}, inputs)
    real = Path(os.path.realpath(path))
    for read in inputs:
        if real in Path(os.path.realpath(read)).parents:
            raise SemcomError(
                f"{flag} {escape(path)}: holds {escape(read)}, an input of this run; name another folder"
            )


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def _move(made: Path, target: Path) -> None:
    """Into a folder that is not there, or holds nothing of a run's."""
    if target.is_dir():
        for path in sorted(made.iterdir()):
            os.replace(path, target / path.name)
    else:
        made.rename(target)
    sync_folder(target.parent)
