"""The archive that torch writes: a zip file in which every byte has its place.

torch reads such a file by one library, a scan of it before by another, and where a zip file says something
twice the two need not choose alike. So what torch itself writes is all that is taken: records side by side
from the first byte on, none compressed, each under one name, then the table of contents and nothing behind.
"""

import struct
import unicodedata
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

MOST_TABLE_BYTES = 16_000_000
"""Of the table of contents: more than a hundred thousand records."""
END = struct.Struct("<4s4H2LH")
END_64 = struct.Struct("<4sQ2H2L4Q")
LOCATOR_64 = struct.Struct("<4sLQL")
HEAD = struct.Struct("<4s5H3L2H")
HAS_DESCRIPTOR = 0x0008
NAME_IS_UTF8 = 0x0800
DESCRIPTORS = ("<4s3L", "<4sL2Q", "<3L", "<L2Q")
"""What may follow a record: its checksum and twice its size, with a signature or without, of either width."""


class NotPlain(ValueError):
    """A zip file that says something twice, or more than torch does; the message says what."""


def is_zip(file: str | Path | BinaryIO) -> bool:
    """Whether there is the end of a zip file, sound or not."""
    try:
        return zipfile.is_zipfile(file)
    except zipfile.BadZipFile:
        return True


def records_of(file: BinaryIO) -> list[zipfile.ZipInfo]:
    """All records, in the order in which they lie in the file.

    Raises NotPlain for what torch does not write, zipfile.BadZipFile for what is no zip file.
    """
    table_at = _table_of_contents(file)
    with zipfile.ZipFile(file) as archive:
        records = archive.infolist()
    _check_names(record.orig_filename for record in records)
    place = 0
    for record in records:
        place = _check_record(file, record, place)
    if place != table_at:
        raise NotPlain("bytes between its records and its table of contents")
    return records


def _table_of_contents(file: BinaryIO) -> int:
    """Where it begins; it has to reach to the end of the file."""
    size = file.seek(0, 2)
    end_at = size - END.size
    if end_at < 0 or not _read(file, end_at, 4) == b"PK\5\6":
        if is_zip(file):
            raise NotPlain("bytes behind the archive")
        raise zipfile.BadZipFile
    _, disk, first_disk, here, count, length, offset, comment = END.unpack(_read(file, end_at, END.size))
    if disk or first_disk or here != count or comment:
        raise NotPlain("an end that torch does not write")
    table_end = end_at
    locator_at = end_at - LOCATOR_64.size
    if locator_at >= 0 and _read(file, locator_at, 4) == b"PK\6\7":
        wide = _wide_end(file, locator_at)
        narrow = (count, length, offset)
        if any(
            said not in (real, 2 ** (8 * width) - 1) for said, real, width in zip(narrow, wide, (2, 4, 4))
        ):
            raise NotPlain("two ends that disagree")
        count, length, offset = wide
        table_end = locator_at - END_64.size
    if offset + length != table_end:
        raise NotPlain("a table of contents that is not where the end says")
    if length > MOST_TABLE_BYTES:
        raise NotPlain(f"a table of contents of {length:,} bytes")
    return offset


def _wide_end(file: BinaryIO, locator_at: int) -> tuple[int, int, int]:
    """Number of records, bytes of the table of contents, where it begins: of a large file."""
    _, disk, end_at, disks = LOCATOR_64.unpack(_read(file, locator_at, LOCATOR_64.size))
    if disk or disks != 1 or end_at != locator_at - END_64.size:
        raise NotPlain("an end that torch does not write")
    found = END_64.unpack(_read(file, end_at, END_64.size))
    signature, size, _, _, disk, first_disk, here, count, length, offset = found
    if signature != b"PK\6\6" or size != END_64.size - 12 or disk or first_disk or here != count:
        raise NotPlain("an end that torch does not write")
    return count, length, offset


def _check_names(names: Iterable[str]) -> None:
    """Each once, however a library compares names, and all in one folder."""
    seen: dict[str, str] = {}
    folders = set()
    for name in names:
        parts = name.split("/")
        if "\\" in name or "\0" in name or len(parts) < 2 or not {"", ".", ".."}.isdisjoint(parts):
            raise NotPlain(f"a record named {name!a:.60}")
        folders.add(parts[0])
        alike = unicodedata.normalize("NFKC", name).casefold()
        if alike in seen:
            raise NotPlain(f"two records named alike, {seen[alike]!a:.60} and {name!a:.60}")
        seen[alike] = name
    if len(folders) > 1:
        raise NotPlain(f"{len(folders)} folders")


def _check_record(file: BinaryIO, record: zipfile.ZipInfo, place: int) -> int:
    """The record begins at ``place``, and its own head says what the table does; where it ends."""
    named = ascii(record.orig_filename)[:60]
    if record.header_offset != place:
        raise NotPlain(f"bytes before the record {named}, or records that overlap")
    if record.compress_type != zipfile.ZIP_STORED or record.compress_size != record.file_size:
        raise NotPlain(f"the compressed record {named}")
    if record.flag_bits & ~(HAS_DESCRIPTOR | NAME_IS_UTF8):
        raise NotPlain(f"the record {named}, encrypted or patched")
    head = HEAD.unpack(_read(file, place, HEAD.size))
    signature, _, flags, method, _, _, checksum, packed, size, name_length, extra_length = head
    name = _read(file, place + HEAD.size, name_length)
    said = (signature, flags, method, name.decode("utf-8" if flags & NAME_IS_UTF8 else "cp437"))
    if said != (b"PK\3\4", record.flag_bits, zipfile.ZIP_STORED, record.orig_filename):
        raise NotPlain(f"two heads of the record {named} that disagree")
    later = bool(flags & HAS_DESCRIPTOR)
    known = (record.CRC, record.file_size, record.file_size)
    for number, real in zip((checksum, packed, size), known):
        # 0 where a descriptor follows; all ones where the number stands in the extra field.
        if number != real and not (later and number == 0) and number != 0xFFFFFFFF:
            raise NotPlain(f"two heads of the record {named} that disagree")
    end = place + HEAD.size + name_length + extra_length + record.file_size
    return end + (_descriptor(file, end, known, named) if later else 0)


def _descriptor(file: BinaryIO, place: int, known: tuple[int, int, int], named: str) -> int:
    """How long it is."""
    for form in DESCRIPTORS:
        parts = (b"PK\7\x08", *known) if "4s" in form else known
        try:
            expected = struct.pack(form, *parts)
        except struct.error:  # a size of more than 32 bits
            continue
        if _read(file, place, len(expected)) == expected:
            return len(expected)
    raise NotPlain(f"a descriptor of the record {named} that disagrees")


def _read(file: BinaryIO, place: int, length: int) -> bytes:
    file.seek(place)
    return file.read(length)
