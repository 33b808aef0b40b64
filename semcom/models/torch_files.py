"""What a file that torch wrote would do if it were loaded, found out before it is: which names its pickles
import, whether its records are whole. A file comes from a stranger until proved otherwise."""

import contextlib
import pickletools
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from semcom.base.errors import SemcomError, escape
from semcom.models.archive import NotPlain, records_of

TENSORS = {
    "torch._utils _rebuild_tensor_v2",
    "collections OrderedDict",
    "torch FloatStorage",
    "torch HalfStorage",
    "torch BFloat16Storage",
    "torch ByteStorage",
}
"""All that the pickle of a semcom checkpoint imports."""
LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""The pickled magic number that files of torch before 1.6 begin with."""
MOST_PICKLED = 2_000_000
"""Bytes of a pickle, which holds names and sizes alone: some 200 a tensor."""
MOST_STEPS = 500_000
"""Of a pickle, some 40 a tensor; reading so many takes a second or two."""
MOST_NAMED = 100
"""Names that a pickle imports, each of which it has once; with a trainer's configuration some dozens."""
MOST_CALLS = 50_000
"""Of what it imports, two to four a tensor; at each torch goes through all names that are allowed."""
WAYS_TO_IMPORT = {"GLOBAL", "STACK_GLOBAL", "INST", "OBJ", "EXT1", "EXT2", "EXT4"}
CALLS = {"REDUCE", "NEWOBJ", "NEWOBJ_EX", "BUILD"}
PARAMETERS = {
    "torch._utils _rebuild_parameter",
    *(f"torch {kind}Storage" for kind in ("Double", "Long", "Int", "Short", "Char", "Bool")),
}
"""What a state dict of other code may import beside."""


class TooMuch(ValueError):
    """A pickle of more than a model or its trainer needs; the message says of what."""


@contextlib.contextmanager
def told(where: str, what: str, cure: str) -> Iterator[None]:
    """Whatever reading a stranger's file may raise, as a SemcomError of one line; what torch has to say of it
    beside is left out."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except SemcomError:
        raise
    except TooMuch as error:
        raise SemcomError(f"{where}: not {what} ({error}); {cure}") from None
    except (MemoryError, OSError) as error:
        raise SemcomError(f"{where}: cannot be read ({escape(error)})") from None
    except Exception as error:
        raise SemcomError(f"{where}: broken or not {what} ({type(error).__name__}); {cure}") from error


def archived(path: Path, where: str, what: str, cure: str) -> tuple[bytes, int]:
    """The pickle in torch's archive at ``path``, and the bytes of all its records, whose checksums hold."""
    if path.stat().st_size == 0:
        raise SemcomError(f"{where}: the file is empty; {cure}")
    try:
        with path.open("rb") as file:
            records = records_of(file)
            pickles = [r for r in records if r.filename.split("/")[1:] == ["data.pkl"]]
            if len(pickles) != 1:
                raise SemcomError(f"{where}: not {what}; {cure}")
            if pickles[0].file_size > MOST_PICKLED:
                raise TooMuch(f"a pickle of {pickles[0].file_size:,} bytes, allowed are {MOST_PICKLED:,}")
            with zipfile.ZipFile(file) as archive:
                if archive.testzip() is not None:
                    raise SemcomError(f"{where}: the file is damaged; copy or {cure}")
                return archive.read(pickles[0]), sum(record.file_size for record in records)
    except zipfile.BadZipFile:
        raise SemcomError(f"{where}: truncated, or not {what}; copy or {cure}") from None
    except NotPlain as error:
        raise SemcomError(f"{where}: not {what} as torch writes one ({escape(error)}); {cure}") from None


def is_by_torch(path: Path) -> bool:
    """Whether it begins as a file of torch does, of any version."""
    with path.open("rb") as file:
        return file.read(len(LEGACY)).startswith((LEGACY, b"PK\3\4"))


def imports_of_legacy_file(path: Path) -> set[str]:
    """What the pickles at the head of a file of torch before 1.6 would import: magic number, protocol,
    system, object, keys of storages."""
    named: set[str] = set()
    with path.open("rb") as file:
        try:
            for _ in range(5):
                named |= imports(file)
        except TooMuch:
            raise
        except ValueError:
            pass  # torch says later what is broken
    return named


def strings(pickled: bytes) -> set[str]:
    """All texts in a pickle, the names of weights among them."""
    return {argument for _, argument, _ in pickletools.genops(pickled) if isinstance(argument, str)}


def imports(pickled: bytes | BinaryIO) -> set[str]:
    """Names of all that a pickle, or the next one of a file, would import ("module name"); unknown ways to
    import count as foreign. Raises TooMuch."""
    named: set[str] = set()
    strings: list[str] = []
    names, calls = 0, 0
    start = 0 if isinstance(pickled, bytes) else pickled.tell()
    for step, (opcode, argument, place) in enumerate(pickletools.genops(pickled)):
        if (place or 0) - start > MOST_PICKLED:
            raise TooMuch(f"a pickle of more than {MOST_PICKLED:,} bytes")
        if step >= MOST_STEPS:
            raise TooMuch(f"a pickle of more than {MOST_STEPS:,} steps")
        names += opcode.name in WAYS_TO_IMPORT
        calls += opcode.name in CALLS
        if names > MOST_NAMED:
            raise TooMuch(f"its pickle imports more than {MOST_NAMED} names")
        if calls > MOST_CALLS:
            raise TooMuch(f"its pickle makes more than {MOST_CALLS:,} objects")
        if opcode.name == "GLOBAL":
            named.add(str(argument))
        elif opcode.name in WAYS_TO_IMPORT:
            named.add(f"{opcode.name} {' '.join(strings[-2:])}")
        if isinstance(argument, str):
            strings.append(argument)
    return named
