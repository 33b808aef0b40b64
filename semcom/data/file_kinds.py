"""What a file is by its first bytes, whatever its name: compressed, or something that is no text, with the
command that makes a text file of it."""

import re
from dataclasses import dataclass
from pathlib import Path

from semcom.base.advice import path_word
from semcom.base.errors import SemcomError, shown


@dataclass(frozen=True)
class Packing:
    """A compression. magic: its first bytes. command: that unpacks to standard output."""

    name: str
    magic: re.Pattern[bytes]
    command: str


PACKINGS = (
    Packing("gzip", re.compile(rb"\x1f\x8b\x08"), "gzip -dc"),
    Packing("xz", re.compile(rb"\xfd7zXZ\x00|\x5d\x00\x00.{10}", re.DOTALL), "xz -dc"),
    Packing("bzip2", re.compile(rb"BZh[1-9](?:1AY&SY|\x17\x72\x45\x38\x50\x90)"), "bzip2 -dc"),
    Packing("zstd", re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"), "zstd -dc"),
)


@dataclass(frozen=True)
class Kind:
    """Of files that are no text. name: with its article. remedy: what makes a text file of it; FILE stands
    for it, TEXT for what is made. holds: what must stand behind the magic, which text may begin with."""

    name: str
    magic: re.Pattern[bytes]
    remedy: str
    holds: bytes = b""


def _kind(name: str, magic: bytes, remedy: str, holds: bytes = b"") -> Kind:
    return Kind(name, re.compile(magic, re.DOTALL), remedy, holds)


_OFFICE = "soffice --headless --convert-to txt:Text:UTF8 FILE"
_PANDAS = "python -c \"import pandas, sys; print(*pandas.{}(sys.argv[1])['COLUMN'], sep='\\n')\" FILE > TEXT"
_ANOTHER = "give the text itself"
_BINARY = b"\x00"
KINDS = (
    _kind("a PDF", rb"%PDF-[0-9]\.", "pdftotext -layout FILE TEXT"),
    _kind("a Word file", rb"PK\x03\x04", _OFFICE, b"word/"),
    _kind("an Excel file", rb"PK\x03\x04", _PANDAS.format("read_excel"), b"xl/"),
    _kind("a PowerPoint file", rb"PK\x03\x04", _OFFICE, b"ppt/"),
    _kind("an OpenDocument file", rb"PK\x03\x04", _OFFICE, b"opendocument"),
    _kind("an e-book", rb"PK\x03\x04", "pandoc -t plain --wrap=none -o TEXT FILE", b"epub"),
    _kind("a checkpoint of PyTorch", rb"PK\x03\x04", _ANOTHER, b"data.pkl"),
    _kind("a zip archive", rb"PK(?:\x03\x04|\x05\x06|\x07\x08)", "unzip -p FILE > TEXT"),
    _kind("a file of Microsoft Office", rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", _OFFICE),
    _kind("rich text (RTF)", rb"\{\\rtf", _OFFICE),
    _kind("a tar archive", rb".{257}ustar", "tar -xO < FILE > TEXT"),
    _kind("a 7z archive", rb"7z\xbc\xaf\x27\x1c", "7z x -so FILE > TEXT"),
    _kind("a RAR archive", rb"Rar!\x1a\x07", "unrar p -inul FILE > TEXT"),
    _kind("compressed by lz4", rb"\x04\x22\x4d\x18", "lz4 -dc < FILE > TEXT"),
    _kind("compressed by compress", rb"\x1f[\x9d\xa0]", "uncompress -c < FILE > TEXT"),
    _kind("compressed by lzip", rb"LZIP\x01", "lzip -dc < FILE > TEXT"),
    _kind("a database of SQLite", rb"SQLite format 3\x00", "sqlite3 FILE 'select COLUMN from TABLE' > TEXT"),
    _kind("a Parquet file", rb"PAR1", _PANDAS.format("read_parquet"), _BINARY),
    _kind("an Arrow file", rb"ARROW1|FEA1", _PANDAS.format("read_feather"), _BINARY),
    _kind("an HDF5 file", rb"\x89HDF\r\n", _ANOTHER),
    _kind("an Avro file", rb"Obj\x01", _ANOTHER, _BINARY),
    _kind("an array of NumPy", rb"\x93NUMPY", _ANOTHER),
    _kind("a picture", rb"\x89PNG|\xff\xd8\xff|II\*\x00|MM\x00\*", _ANOTHER),
    _kind("a picture", rb"GIF8[79]a|BM.{4}\x00\x00", _ANOTHER, _BINARY),
    _kind("sound or video", rb"ID3|OggS|fLaC|RIFF|.{4}ftyp|\x1aE\xdf\xa3", _ANOTHER, _BINARY),
    _kind("a program", rb"\x7fELF|MZ|\xcf\xfa\xed\xfe|\xca\xfe\xba\xbe", _ANOTHER, _BINARY),
    _kind("a pointer of Git LFS", rb"version https://git-lfs", "git lfs pull --include FILE"),
)


def packing_of(head: bytes) -> Packing | None:
    return next((packing for packing in PACKINGS if packing.magic.match(head)), None)


@dataclass(frozen=True)
class Named:
    """How a message speaks of a file. unpacking: the command that writes what it holds to standard output;
    empty where it is not compressed. label: instead of its path."""

    path: Path
    unpacking: str = ""
    label: str = ""

    def __str__(self) -> str:
        return self.label or f"--corpus: {shown(self.path)}"

    def through(self, command: str) -> str:
        """The command with this file for FILE, and for TEXT or ALIKE a file to be made, of text or of the
        same kind; of standard input, a pipe."""
        if self.label and " < FILE" in command:
            piped = command.replace(" < FILE", "").replace(" > TEXT", "").replace(" > ALIKE", "")
            return f"… | {piped} | python -m semcom transmit"
        made = command.replace("TEXT", path_word(made_of(self.path, ".txt")))
        made = made.replace("ALIKE", path_word(made_of(self.path)))
        if not self.unpacking:
            return made.replace("FILE", path_word(self.path))
        if " < FILE" in command:
            return f"{self.unpacking} | {made.replace(' < FILE', '')}"
        return f"{self.unpacking} > unpacked; {made.replace('FILE', 'unpacked')}"


def check_kind(named: Named, head: bytes) -> None:
    """Raise SemcomError that names what the file is where it is one of the kinds."""
    for kind in KINDS:
        if kind.magic.match(head) and kind.holds in head:
            raise refusal(named, kind.name, kind.remedy)


def check_packing(named: Named, head: bytes) -> None:
    """Raise for what is compressed within something compressed."""
    if again := packing_of(head):
        raise refusal(named, f"compressed by {again.name} within", f"{again.command} < FILE > TEXT")


def refusal(named: Named, what: str, remedy: str) -> SemcomError:
    """Of a file that is something else. remedy: as for ``Named.through``, or words."""
    made = f"make a text file of it: {named.through(remedy)}" if "FILE" in remedy else remedy
    return SemcomError(f"{named}: is {what}, not text of one sentence a line; {made}")


def made_of(path: Path, suffix: str | None = None) -> str:
    """The name of a file in UTF-8 to make of a file, where the command is given."""
    name = re.sub(r"\.(?:gz|xz|bz2|zst|lzma)$", "", path.name)
    own = re.search(r"(?<=.)\.[A-Za-z0-9]{1,7}$", name)
    stem = name.removesuffix(own[0] if own else "")[:60] or "corpus"
    return f"{stem}.utf8{suffix or (own[0] if own else '')}"
