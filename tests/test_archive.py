"""Archives as torch writes them, and zip files that say something twice."""

import io
import struct
import warnings
import zipfile

import pytest
import torch

from semcom.models.archive import END, NotPlain, is_zip, records_of

WEIGHTS = {"a": torch.arange(4.0), "b": torch.ones(2, 3)}


def written(value=WEIGHTS):
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


CONTENT = written()


def entries():
    with zipfile.ZipFile(io.BytesIO(CONTENT)) as archive:
        return [(info.filename, archive.read(info)) for info in archive.infolist()]


def zipped(pairs, compression=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that are there twice
        for name, content in pairs:
            info = zipfile.ZipInfo("x")
            info.filename, info.compress_type = name, compression
            archive.writestr(info, content)
    return buffer.getvalue()


def with_name(name):
    return zipped([*entries(), (name, b"other")])


def head_of(content, name):
    """Where the central head of a record begins, and where its own does."""
    at = content.rindex(b"PK\1\2", 0, content.rindex(name))
    return at, struct.unpack_from("<L", content, at + 42)[0]


def changed(place, form, value, of="table", name=b"archive/data/1"):
    """The archive with one number of a head changed, in the table of contents or at the record."""
    content = bytearray(CONTENT)
    table, own = head_of(CONTENT, name)
    struct.pack_into(form, content, (table if of == "table" else own) + place, value)
    return bytes(content)


def with_end(**parts):
    """The archive with another end."""
    names = ("signature", "disk", "first", "here", "count", "length", "offset", "comment")
    end = dict(zip(names, END.unpack(CONTENT[-END.size :]))) | parts
    return CONTENT[: -END.size] + END.pack(*end.values())


def shifted():
    """Two bytes more between two records, which the table of contents knows of."""
    pairs = entries()
    whole = zipped(pairs)
    last = head_of(whole, pairs[-1][0].encode())[1]
    table = whole.index(b"PK\1\2")
    moved = bytearray(whole[:last] + b"??" + whole[last:])
    at = head_of(bytes(moved), pairs[-1][0].encode())[0]
    struct.pack_into("<L", moved, at + 42, last + 2)
    struct.pack_into("<L", moved, len(moved) - 6, table + 2)
    return bytes(moved)


@pytest.mark.parametrize(
    "content", [CONTENT, written(torch.zeros(0)), zipped(entries())], ids=["torch", "one", "zipfile"]
)
def test_what_torch_writes_is_taken(content):
    names = [record.filename for record in records_of(io.BytesIO(content))]
    assert sorted(names) == sorted(zipfile.ZipFile(io.BytesIO(content)).namelist())
    assert "archive/data.pkl" in names


REFUSED = {
    "a name twice": (with_name("archive/data/0"), "alike"),
    "in another case": (with_name("archive/DATA/0"), "alike"),
    "in full width": (with_name("archive/data/\uff10"), "alike"),
    "decomposed": (zipped([("a/caf\u00e9", b""), ("a/cafe\u0301", b"")]), "alike"),
    "here": (with_name("./archive/data/0"), "named"),
    "here within": (with_name("archive/./data/0"), "named"),
    "doubled slash": (with_name("archive//data/0"), "named"),
    "backslash": (with_name("archive\\data\\0"), "named"),
    "above": (with_name("archive/../data/0"), "named"),
    "absolute": (with_name("/etc/passwd"), "named"),
    "a folder": (with_name("archive/more/"), "named"),
    "no folder": (with_name("data.pkl"), "named"),
    "another folder": (with_name("other/data.pkl"), "2 folders"),
    "compressed": (zipped(entries(), zipfile.ZIP_DEFLATED), "compressed"),
    "bytes behind": (CONTENT + b"\0", "behind"),
    "an archive behind": (CONTENT + written({"a": torch.zeros(4)}), "an end that torch"),
    "an archive before": (written({"a": torch.zeros(4)}) + CONTENT, "an end that torch"),
    "a comment": (with_end(comment=2) + b"hi", "behind|torch"),
    "a gap": (shifted(), "bytes before"),
    "overlapping": (changed(42, "<L", 0), "overlap"),
    "encrypted": (changed(8, "<H", 0x0809), "encrypted"),
    "encrypted there": (changed(6, "<H", 0x0809, "record"), "disagree"),
    "method there": (changed(8, "<H", 8, "record"), "disagree"),
    "checksum there": (changed(14, "<L", 7, "record"), "disagree"),
    "size there": (changed(22, "<L", 7, "record"), "disagree"),
    "name there": (changed(43, "<c", b"7", "record"), "disagree"),
    "checksum": (changed(16, "<L", 7), "descriptor"),
    "more records": (with_end(count=99), "torch"),
    "other disks": (with_end(disk=1), "torch"),
    "two ends": (with_end(offset=0), "ends that disagree"),
    "another table": (zipped(entries())[:-6] + struct.pack("<LH", 7, 0), "not where"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_torch_does_not_write_is_refused(kind):
    content, why = REFUSED[kind]
    with pytest.raises(NotPlain, match=why):
        records_of(io.BytesIO(content))


def test_an_end_that_spans_disks_is_one_too(tmp_path):
    at = CONTENT.rindex(b"PK\6\7")
    (tmp_path / "x.pt").write_bytes(CONTENT[: at + 16] + b"\2" + CONTENT[at + 17 :])
    with pytest.raises(zipfile.BadZipFile):
        zipfile.is_zipfile(tmp_path / "x.pt")
    assert is_zip(tmp_path / "x.pt")


@pytest.mark.parametrize("content", [b"", b"PK", CONTENT[:-1], bytes(1000)])
def test_no_archive(content):
    with pytest.raises(zipfile.BadZipFile):
        records_of(io.BytesIO(content))
