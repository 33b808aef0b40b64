"""What a file that torch wrote would do if it were loaded, found out before it is: which names its pickles
import, whether its records are whole. A file comes from a stranger until proved otherwise."""

import contextlib
import pickletools
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from semcom.base.errors import SemcomError, escape

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
PARAMETERS = {
    "torch._utils _rebuild_parameter",
    *(f"torch {kind}Storage" for kind in ("Double", "Long", "Int", "Short", "Char", "Bool")),
}
"""What a state dict of other code may import beside."""


@contextlib.contextmanager
def told(where: str, what: str, cure: str) -> Iterator[None]:
    """Whatever reading a stranger's file may raise, as a SemcomError of one line."""
    try:
        yield
    except SemcomError:
        raise
    except (MemoryError, OSError) as error:
        raise SemcomError(f"{where}: cannot be read ({escape(error)})") from None
    except Exception as error:
        raise SemcomError(f"{where}: broken or not {what} ({type(error).__name__}); {cure}") from error


def archived(path: Path, where: str, what: str, cure: str) -> tuple[bytes, int]:
    """The pickle in torch's archive at ``path``, and the bytes of all its records."""
    if path.stat().st_size == 0:
        raise SemcomError(f"{where}: the file is empty; {cure}")
    try:
        with zipfile.ZipFile(path) as archive:
            records = archive.infolist()
            stored = sum(r.file_size for r in records)
            # torch stores its records as they are: a compressed one may unpack to anything.
            if stored > path.stat().st_size or any(r.compress_type != zipfile.ZIP_STORED for r in records):
                raise SemcomError(f"{where}: not {what} (its records claim more than the file holds); {cure}")
            pickles = [archive.read(r) for r in records if r.filename.endswith("data.pkl")]
            if archive.testzip() is not None:
                raise SemcomError(f"{where}: the file is damaged; copy or {cure}")
    except zipfile.BadZipFile:
        raise SemcomError(f"{where}: truncated, or not {what}; copy or {cure}") from None
    if len(pickles) != 1:
        raise SemcomError(f"{where}: not {what}; {cure}")
    return pickles[0], stored


def imports_of_legacy_file(path: Path) -> set[str]:
    """What the pickles at the head of a file of torch before 1.6 would import: magic number, protocol,
    system, object, keys of storages."""
    named: set[str] = set()
    with path.open("rb") as file, contextlib.suppress(ValueError):  # torch says later what is broken
        for _ in range(5):
            named |= imports(file)
    return named


def imports(pickled: bytes | BinaryIO) -> set[str]:
    """Names of all that a pickle, or the next one of a file, would import ("module name"); unknown ways to
    import count as foreign."""
    named: set[str] = set()
    strings: list[str] = []
    for opcode, argument, _ in pickletools.genops(pickled):
        if opcode.name == "GLOBAL":
            named.add(str(argument))
        elif opcode.name in ("STACK_GLOBAL", "INST", "OBJ", "EXT1", "EXT2", "EXT4"):
            named.add(f"{opcode.name} {' '.join(strings[-2:])}")
        if isinstance(argument, str):
            strings.append(argument)
    return named
