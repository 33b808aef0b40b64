"""Files as people have them: read, or named for what they are with the command that makes a text file of
them."""

import bz2
import contextlib
import csv
import gzip
import io
import json
import lzma
import os
import shutil
import socket
import subprocess
import tarfile
import threading
import time
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from semcom.base.errors import SemcomError
from semcom.data import corpus, corpus_files, source_lines, wrappers
from semcom.data.cleaning import is_markup
from semcom.data.file_kinds import Named
from semcom.data.reading import typed_lines
from semcom.data.settings import CorpusConfig
from semcom.data.source_lines import Budget, EnoughRead, split_lines

ENGLISH = [f"the sentence of number {n} is read" for n in range(40)]
FRENCH = [f"la décision numéro {n} a été prise à Genève" for n in range(40)]
CHINESE = [f"中国人民决心继承邓小平同志的遗志，第{n}次推向前进。" for n in range(40)]


def read(*paths, **settings):
    return corpus.read(CorpusConfig(corpus=tuple(map(str, paths)), corpus_size=None, **settings))


def texts(*paths, **settings):
    return [sentence.text for sentence in read(*paths, **settings).sentences]


def lines(sentences, end="\n"):
    return "".join(f"{sentence}{end}" for sentence in sentences)


@pytest.fixture
def write(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def refused(path, **settings):
    with pytest.raises(SemcomError) as error:
        read(path, **settings)
    message = str(error.value)
    assert str(path.name)[:80] in message and "\n" not in message and len(message) <= 500
    return message


# Encodings and line ends


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_marked_encodings_and_all_line_ends_are_read(write, encoding, end):
    assert texts(write("text", lines(CHINESE, end).encode(encoding))) == CHINESE
    assert texts(write("text", lines(CHINESE, end).rstrip(end).encode(encoding))) == CHINESE


def test_big_endian_and_gb18030_marks_are_read(write):
    assert texts(write("a", b"\xfe\xff" + lines(CHINESE).encode("utf-16-be"))) == CHINESE
    assert texts(write("b", ("\ufeff" + lines(CHINESE)).encode("gb18030"))) == CHINESE


def test_mixed_line_ends_and_those_that_are_none(write):
    path = write("text", "one two three four\rtwo two three four\r\nthree\u2028two\u0085three\x0cfour\n")
    assert texts(path) == ["one two three four", "two two three four", "three two three four"]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_lines_do_not_depend_on_blocks(size):
    content = b"a\r\nb\rc\n\n\r\r\nlonger than it may be\rlast"
    blocks = [content[i : i + size] for i in range(0, len(content), size)]
    assert list(split_lines(blocks, 10)) == [b"a", b"b", b"c", b"", b"", b"", None, b"last"]


@pytest.mark.parametrize("name", ["news.txt", "news.zh", "news", "with blank.txt", "-x.txt"])
def test_another_encoding_is_named_with_the_line_that_converts_it(write, name):
    message = refused(write(name, lines(CHINESE).encode("gbk")))
    assert (
        " line 1: not UTF-8; it is likely GB18030 (GBK); convert it: iconv -f GB18030 -t UTF-8 < " in message
    )
    assert "LATIN1" not in message


def test_the_first_line_of_another_encoding_is_named(write):
    message = refused(write("text", (lines(ENGLISH) + lines(FRENCH)).encode("cp1252")))
    assert "text line 41: not UTF-8; it is likely CP1252" in message


def test_a_flawed_file_is_converted_without_its_flaws(write):
    flawed = lines(CHINESE).encode("gbk").replace("推".encode("gbk"), b"\xff", 1)
    message = refused(write("flawed.txt", flawed))
    assert (
        "likely GB18030 (GBK), with broken characters, which -c leaves out; convert it: iconv -c -f"
        in message
    )


@pytest.mark.parametrize("line", [b"hello \xff there", b"caf\xe9 and \x96", b"\xa4 is here"])
@pytest.mark.parametrize("before", [0, 1, 2399])
def test_a_byte_or_two_in_one_of_many_lines_name_no_encoding(write, line, before):
    after = 2400 - before
    message = refused(write("odd.txt", b"hello there\n" * before + line + b"\n" + b"hello\n" * after))
    odd = " ".join(f"{byte:02X}" for byte in line if byte > 127)
    assert f"odd.txt line {before + 1}: is not UTF-8 (it holds the bytes {odd})" in message
    assert "likely" not in message and "LC_ALL=C.UTF-8 grep -ax '.*' < " in message


def test_mixed_encodings_name_the_line(write):
    mixed = lines(FRENCH[:3]).encode() + FRENCH[3].encode("cp1252") + b"\n" + lines(FRENCH[4:]).encode()
    message = refused(write("mixed.txt", mixed))
    assert "line 4: not UTF-8, as the 3 lines before it beyond ASCII are, but likely CP1252" in message
    odd = lines(FRENCH).encode() + b"hello \xff there\n"
    assert "are: the file mixes encodings" in refused(write("odd.txt", odd)), "one byte names none"
    cut = refused(write("cut.txt", lines(CHINESE).encode()[:-3]))
    assert "line 40: ends within a character, the file is cut off" in cut


@pytest.mark.parametrize(
    "content, reason",
    [
        (lines(CHINESE).encode("utf-16-le"), "likely UTF-16LE; convert it: iconv -f UTF-16LE"),
        (lines(ENGLISH).encode("utf-16-be"), "likely UTF-16BE; convert it: iconv -f UTF-16BE"),
        ("東京は今日も雨です。\n".encode("iso2022_jp"), "likely ISO-2022-JP"),
        (lines(FRENCH).encode().decode("cp1252").encode(), "was UTF-8, taken for CP1252 and encoded again"),
        (lines(CHINESE).encode("gbk").decode("latin-1").encode(), "was GB18030 (GBK), taken for "),
        (
            lines(CHINESE).encode("gbk").decode("utf-8", "replace").encode(),
            "many of its characters are U+FFFD",
        ),
        (b"\xff\xfe" + lines(CHINESE).encode("utf-16-le")[:-1], "broken UTF-16LE"),
    ],
)
def test_what_would_be_decoded_wrongly_is_not_read(write, content, reason):
    assert reason in refused(write("text", content))


# Compressed


PACK = {".gz": gzip.compress, ".xz": lzma.compress, ".bz2": bz2.compress}
PACK[".lzma"] = lambda content: lzma.compress(content, format=lzma.FORMAT_ALONE)
if find_spec("backports") and find_spec("backports.zstd"):
    from backports import zstd

    PACK[".zst"] = zstd.compress


@pytest.mark.parametrize("suffix", PACK)
@pytest.mark.parametrize("name", ["text{}", "text", "text.txt"])
def test_compressed_files_are_known_by_their_bytes(write, suffix, name):
    path = write(name.format(suffix), PACK[suffix](lines(CHINESE).encode()))
    assert texts(path) == CHINESE


@pytest.mark.parametrize("suffix", PACK)
def test_plain_text_may_be_called_compressed(write, suffix):
    assert texts(write(f"text{suffix}", lines(ENGLISH))) == ENGLISH


@pytest.mark.parametrize("suffix", PACK)
def test_what_is_cut_off_is_broken(write, suffix):
    cut = PACK[suffix](lines(CHINESE).encode())[:-20]
    assert ": broken " in refused(write(f"text{suffix}", cut))


def test_parts_that_were_compressed_one_by_one_are_one_file(write):
    packed = b"".join(gzip.compress(lines(part).encode()) for part in (ENGLISH, CHINESE))
    assert texts(write("text.gz", packed)) == ENGLISH + CHINESE
    assert "compressed by gzip within" in refused(write("twice.gz", gzip.compress(packed)))


def test_an_encoding_within_a_compressed_file_is_converted_behind_a_pipe(write):
    packed = write("news.gz", gzip.compress(lines(CHINESE).encode("gbk")))
    assert f"gzip -dc {packed} | iconv -f GB18030 -t UTF-8 > news.utf8" in refused(packed)


# What is no text


def zipped(*names):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name in names:
            archive.writestr(name, "content")
    return made.getvalue()


def tarred():
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("text.txt"))
    return made.getvalue()


NO_TEXT = [
    ("a.pdf", b"%PDF-1.4\n%\xe2\xe3", "is a PDF", "pdftotext"),
    ("a.docx", zipped("[Content_Types].xml", "word/document.xml"), "is a Word file", "soffice"),
    ("a.xlsx", zipped("[Content_Types].xml", "xl/workbook.xml"), "is an Excel file", "read_excel"),
    ("a.pptx", zipped("[Content_Types].xml", "ppt/slides.xml"), "is a PowerPoint file", "soffice"),
    ("a.odt", zipped("mimetype application/vnd.oasis.opendocument.text"), "an OpenDocument file", "soffice"),
    ("a.pt", zipped("archive/data.pkl"), "is a checkpoint of PyTorch", "give the text"),
    ("a.zip", zipped("text.txt"), "is a zip archive", "unzip -p"),
    ("a.doc", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100), "is a file of Microsoft Office", "soffice"),
    ("a.rtf", rb"{\rtf1\ansi text}", "is rich text", "soffice"),
    ("a.tar", tarred(), "is a tar archive", "tar -xO"),
    ("a.tgz", gzip.compress(tarred()), "is a tar archive", "gzip -dc"),
    ("a.7z", b"7z\xbc\xaf\x27\x1c" + bytes(30), "is a 7z archive", "7z x"),
    ("a.rar", b"Rar!\x1a\x07\x01\x00", "is a RAR archive", "unrar"),
    ("a.lz4", b"\x04\x22\x4d\x18" + bytes(30), "compressed by lz4", "lz4 -dc"),
    ("a.db", b"SQLite format 3\x00" + bytes(100), "is a database of SQLite", "sqlite3"),
    ("a.parquet", b"PAR1" + bytes(50) + b"PAR1", "is a Parquet file", "read_parquet"),
    ("a.feather", b"ARROW1\x00\x00" + bytes(50), "is an Arrow file", "read_feather"),
    ("a.npy", b"\x93NUMPY\x01\x00v\x00", "is an array of NumPy", "give the text"),
    ("a.png", b"\x89PNG\r\n\x1a\n\x00", "is a picture", "give the text"),
    ("a.jpg", b"\xff\xd8\xff\xe0\x00\x10JFIF", "is a picture", "give the text"),
    ("a.mp4", b"\x00\x00\x00\x18ftypmp42", "is sound or video", "give the text"),
    ("a.exe", b"MZ\x90\x00" + bytes(90), "is a program", "give the text"),
    ("a.bin", bytes(5000), "is binary data", "give the text"),
    ("b.bin", bytes(range(256)) * 20, "is binary data", "give the text"),
    (
        "a.txt",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d\n",
        "a pointer of Git LFS",
        "git lfs",
    ),
    ("a.html", "<!DOCTYPE html>\n<html><body>text of a page</body></html>", "is a web page", "pandoc"),
    ("404.txt", "<html>\n<head><title>404 Not Found</title></head>", "is a web page", "pandoc"),
    ("wiki.xml", '<mediawiki xmlns="x">\n<page>', "is a dump of Wikipedia", "wikiextractor"),
    ("a.json", json.dumps([{"text": "a b c d"}]), "is JSON over many lines", "jq -r"),
    ("a.json", json.dumps({"data": [{"text": "a"}]}, indent=1), "is JSON over many lines", "jq -r"),
    ("c.json", '[{"text": "a b c d", "n": ' + "1" * 99 + "},\n", "is JSON over many lines", "jq -r"),
    ("d.jsonl", '["a b c", "d"]\n' * 9, "is JSON lines of arrays", "jq -r '.[0]'"),
    ("e.jsonl", '"a b c d"\n' * 9, "is JSON lines of strings", "jq -r ."),
    ("a.srt", "1\n00:00:01,000 --> 00:00:02,000\nWe go\n\n2\n", "is a file of subtitles", "sed -E"),
    ("a.vtt", "WEBVTT\n\n00:01.000 --> 00:02.000\nWe go\n", "is a file of subtitles", "sed -E"),
    ("b.sgm", '<DOC docid="1">\n<hl>\n<seg id="1"> a b </seg>\n</hl>\n</DOC>\n', "is an SGM file", "sed -n"),
    ("c.sgm", "<seg id=1>a b c d</seg>\n<seg id=2>e f g h</seg>\n", "is an SGM file", "sed -n"),
    ("s.txt", "<s> a b c d </s>\n" * 9, "is lines of elements", "sed -n"),
    ("corpus.xml", "<corpus><s>a b c d</s><s>e f</s></corpus>", "is an XML file", "{*}s"),
    ("a.xlf", '<xliff version="1.2">\n<file><source>a</source></file></xliff>', "(XLIFF)", "{*}source"),
    ("b.xlf", '<?xml version="1.0"?>\n<!-- a -->\n<xliff><file/></xliff>', "(XLIFF)", "{*}source"),
    ("a.conllu", "# sent_id = 1\n# text = We support it all.\n1\tWe\n", "is a treebank", "sed -n"),
]


@pytest.mark.parametrize(
    "name, content, kind, remedy", NO_TEXT, ids=[f"{row[0]} {row[2]}" for row in NO_TEXT]
)
def test_what_is_no_text_is_named_with_its_remedy(write, name, content, kind, remedy):
    message = refused(write(name, content))
    assert kind in message and remedy in message
    assert kind in refused(write("renamed.txt", content))


@pytest.mark.parametrize(
    "line",
    [
        "BMW was founded in Munich long ago",
        "MZ is a signature of programs",
        "PAR1 begins a Parquet file somewhere",
        "RIFF and ID3 and OggS begin sounds",
        "[ applause ] in the whole house",
        "{ he said } and went away",
        "version control is a good thing",
        "#hashtag of the day is this",
        "a, b, c and d are letters",
        "<3 means love to some people",
        "<P> we resume the session now </P>",
        "indented\tby one tab in places",
        '{ "hello": he said to them all',
        "[ { applause } goes on and on",
        '["applause] and "laughter] of all',
        "[1] is where it was cited",
        "<html> is the tag of pages",
        "<b>Hello</b> to all of you",
        "# text = what we have here",
        "WEBVTT is a form of subtitles",
    ],
)
def test_text_that_begins_like_something_else_is_read(write, line):
    assert texts(write("text", lines([line, *ENGLISH]))) == [" ".join(line.split()), *ENGLISH]


@pytest.mark.parametrize(
    "part",
    ["<!-- x -->\n", "<!-- x ", "<?xml ?>\n", "<!DOCTYPE x>", "<a ", "<seg ", "[", "1\n", "# \n", "{\n", " "],
)
@pytest.mark.parametrize("begins", ["", "<", "<?xml ", '{"', "<doc>"])
def test_what_text_begins_with_is_told_at_once(part, begins):
    began = time.process_time()
    with contextlib.suppress(SemcomError):
        wrappers.check(Named(Path("text")), begins + part * (65_536 // len(part)))
    assert time.process_time() - began < 1


def test_lines_about_talks_are_left_out():
    about = ["<url>http://a.b/c</url>", "<keywords>talks, art, more</keywords>", "<title>A B: C d</title>"]
    assert all(map(is_markup, about))
    assert not any(map(is_markup, ["<b>Hello</b>", "<title>A</title> is what it is called", "<url>"[:3]]))


def test_markup_alone_is_left_out_and_counted(write):
    europarl = [
        "<CHAPTER ID=1>",
        ENGLISH[0],
        '<SPEAKER ID=1 LANGUAGE="DE" NAME="Bösch of four">',
        "<P>",
        ENGLISH[1],
    ]
    found = read(write("text", lines(europarl)))
    assert [s.text for s in found.sentences] == ENGLISH[:2]
    assert found.account == {"lines": 5, "of markup alone": 3} and "3 of markup alone" in found.describe()


def test_what_cleaning_drops_is_told(write):
    found = read(write("text", lines(["the well @-@ known\u200b view of all", *ENGLISH])))
    told = "; within lines: 1 joints of a tokeniser closed, 1 invisible characters)"
    assert found.describe().endswith(told) and found.sentences[0].text == "the well-known view of all"
    assert found.account == {"lines": 41}


# Tables


def table(rows, **format):
    made = io.StringIO()
    csv.writer(made, lineterminator="\n", **format).writerows(rows)
    return made.getvalue()


PAIRS = list(zip(ENGLISH, CHINESE))
ROWS = [[n, english, chinese, "1"] for n, (english, chinese) in enumerate(PAIRS)]
QUOTED = [[n, f'{english}, "so"\n{english}'] for n, (english, _) in enumerate(PAIRS)]
TABLES = {
    "lcqmc.tsv": (
        "text_a\ttext_b\tlabel\n" + lines(f"{b}\t{a}\t0" for a, b in PAIRS),
        "text_b",
        ENGLISH,
        "text_b",
    ),
    "leipzig.txt": (lines(f"{n}\t{a}" for n, a in enumerate(ENGLISH)), "2", ENGLISH, "2"),
    "pairs": (lines(f"{a} ||| {b}" for a, b in PAIRS), "2", CHINESE, "1"),
    "excel.csv": ("\ufeff" + table([["id", "en", "zh", "label"], *ROWS]), "zh", CHINESE, "en"),
    "europe.csv": (table([["id", "en", "zh", "label"], *ROWS], delimiter=";"), "en", ENGLISH, "en"),
    "plain": (table([["id", "en", "zh", "label"], *ROWS]), "3", CHINESE, "en"),
    "clue.json": (lines(json.dumps({"n": 1, "s1": a, "s2": b}) for a, b in PAIRS), "s2", CHINESE, "s1"),
    "hf.jsonl": (
        lines(json.dumps({"translation": {"en": a}}) for a in ENGLISH),
        "translation.en",
        ENGLISH,
        "",
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_column_of_a_table_is_read(write, name):
    content, column, expected, likely = TABLES[name]
    path = write(name, content)
    assert texts(path, column=column) == expected
    message = refused(path)
    assert "choose a column, such as --column" in message and "or make a text file of it: " in message
    assert f"--column {likely}" in message, "the one with most text, the English"
    packed = write(f"{name}.xz", lzma.compress(content.encode()))
    assert texts(packed, column=column) == expected
    wide = write(name, content.encode("utf-16"))
    assert texts(wide, column=column) == expected and "iconv -f UTF-16 -t UTF-8 < " in refused(wide)


def test_values_may_hold_dividers_quotes_and_lines(write):
    path = write("text.csv", table([["id", "text"], *QUOTED]))
    found = read(path, column="text")
    assert [s.text for s in found.sentences[:2]] == [f'{ENGLISH[0]}, "so"', ENGLISH[0]] and len(found) == 80


@pytest.mark.parametrize(
    "name, content, column, message",
    [
        ("a.tsv", "a\tb\n" * 9, "c", "is a table of 2 columns divided by tabs (a, b); give a name"),
        ("a.tsv", "a\tb\n" * 9, "3", "or a number from 1 to 2"),
        ("a.jsonl", '{"a": "b"}\n' * 9, "c", "has no such key, but a; name a key"),
        ("a.jsonl", '{"a": {"b": 1}}\n' * 9, "a.b", "has 1 there"),
        ("a.jsonl", '{"a": "b"}\n{"a": "b"\n', "a", "line 2: not JSON"),
        ("a.jsonl", '{"a": "b", "n": ' + "1" * 5000 + "}\n", "a", "(it holds a number of 5,000 "),
        ("a.jsonl", '{"a": ' + "[" * 100_000 + "\n", "a", "line 1: not JSON (nested too deeply"),
        ("a.jsonl", '{"a": "b"}\n[1]\n', "a", "line 2 of"),
        ("a.csv", 'id,text\n1,"never closed\n' + "2,text of a row\n" * 12_000, "text", "broken CSV"),
        ("a.txt", lines(ENGLISH), "1", "is no table"),
    ],
)
def test_a_table_that_cannot_be_read_says_so(write, name, content, column, message):
    assert message in refused(write(name, content), column=column)


def test_null_is_empty_and_rows_of_another_width_are_named(write):
    path = write("a.jsonl", '{"a": null}\n' + lines(json.dumps({"a": text}) for text in ENGLISH))
    assert read(path, column="a").account == {"lines": 41, "empty": 1}
    path = write("a.tsv", lines(f"{n}\t{text}" for n, text in enumerate(ENGLISH)) + "alone\n")
    told = refused(path, column="2")
    assert "line 41: 1 values, where the first line has 2; mend it, or leave such lines out: " in told
    assert r"awk -F '\t' 'NF==2' < " in told


COMMAS = [
    "the dog, too, sat",
    "however, the cat ran off",
    "no commas are in this",
    "one, two, three, four, five",
]


@pytest.mark.parametrize(
    "name, content",
    [
        ("prose.csv", COMMAS),
        ("prose.csv", ["Yes, we can go", "No, we cannot go", "Well, we may go"]),
        ("love", ["love,love", "hate,hate me and you", "one,two and three four"]),
        ("quote", ['{ "a": he said so', *ENGLISH]),
    ],
)
def test_prose_with_commas_is_no_table(write, name, content):
    long_enough = [line for line in content if len(line.split()) > 3]
    assert texts(write(name, lines(content))) == long_enough


@pytest.mark.parametrize(
    "name, content, column, message",
    [
        ("a.csv", [["id", "text"], *ROWS[:3]], "text", "line 2: 4 values, where the first line has 2"),
        ("a.csv", [["id", "text"], *[row[:2] for row in ROWS]], "Text", "; did you mean text?"),
        (
            "a.json",
            {"data": ENGLISH},
            None,
            "of which none is text; make a text file of it: jq -r '.data[].KEY'",
        ),
        ("a.jsonl", {"text": "a b"}, "Text", "; did you mean text?"),
        ("two.tsv", "a b c d\te f g\nh i j k\tl m n\n", None, "is a table of 2 columns divided by tabs"),
    ],
)
def test_what_is_asked_of_a_table_is_answered(write, name, content, column, message):
    content = table(content) if isinstance(content, list) else content
    content = f"{json.dumps(content)}\n" if isinstance(content, dict) else content
    assert message in refused(write(name, content), column=column)


def test_a_number_is_a_number_before_it_is_a_name(write):
    rows = [["1", "0"], *[[english, "0"] for english in ENGLISH]]
    assert texts(write("a.csv", table(rows)), column="1") == ENGLISH
    rows = [["2", english] for english in ENGLISH]
    assert texts(write("b.csv", table(rows)), column="2") == ENGLISH


# The commands that are told


def told_command(message):
    return (
        message.rpartition("make a text file of it: ")[2]
        if "make a" in message
        else message.rpartition(": ")[2]
    )


XML = '<?xml version="1.0"?>\n<dataset><doc><src lang="en"><p>{}</p></src></doc></dataset>'
TMX = '<?xml version="1.0"?>\n<tmx version="1.4"><body>{}</body></tmx>'
SGM = '<srcset setid="newstest" srclang="any">\n<doc docid="1">\n{}</doc></srcset>'
UNIT = '<tu><tuv xml:lang="en"><seg>{}</seg></tuv><tuv xml:lang="zh"><seg>{}</seg></tuv></tu>\n'
PASTED = {
    "gbk.txt": (lines(CHINESE).encode("gbk"), CHINESE),
    "gbk.txt.gz": (gzip.compress(lines(CHINESE).encode("gbk")), CHINESE),
    "of two words.txt": (lines(CHINESE).encode("big5", "ignore"), None),
    "wide": (lines(CHINESE).encode("utf-16-le"), CHINESE),
    "twice.txt": (lines(FRENCH).encode().decode("cp1252").encode(), FRENCH),
    "wrong.txt": (lines(CHINESE).encode("gbk").decode("cp1252", "ignore").encode(), None),
    "mixed": (lines(FRENCH).encode() + b"caf\xe9 au lait du matin\n", FRENCH),
    "wmt14.sgm": (SGM.format(lines(f'<seg id="1"> {text} </seg>' for text in ENGLISH)), ENGLISH),
    "wmt22.xml": (XML.format(lines(f'<seg id="1">{text}</seg>' for text in ENGLISH)), ENGLISH),
    "opus.xml": (XML.format(lines(f"<s><w>{text}</w></s>" for text in ENGLISH)), ENGLISH),
    "a.tmx": (TMX.format("".join(UNIT.format(*pair) for pair in PAIRS)), ENGLISH),
    "b.tmx": (TMX.format("".join(UNIT.format(*pair) for pair in PAIRS)).encode("utf-16"), ENGLISH),
    "c.tmx.gz": (gzip.compress(TMX.format("".join(UNIT.format(*pair) for pair in PAIRS)).encode()), ENGLISH),
    "lcqmc.tsv": (TABLES["lcqmc.tsv"][0], ENGLISH),
    "pairs": (TABLES["pairs"][0], ENGLISH),
    "excel.csv": (TABLES["excel.csv"][0], ENGLISH),
    "clue.json": (TABLES["clue.json"][0], ENGLISH if shutil.which("jq") else None),
    "t.tgz": (gzip.compress(tarred()), None),
}


@pytest.mark.skipif(not shutil.which("iconv"), reason="no iconv")
def test_commands_do_what_they_say(tmp_path, write, monkeypatch):
    monkeypatch.chdir(tmp_path)
    commands = [
        told_command(refused(write(name, content).relative_to(tmp_path)))
        for name, (content, _) in PASTED.items()
    ]
    script = 'python() { "$PYTHON" "$@"; }\n' + "\n".join(commands)
    environment = {**os.environ, "PYTHON": os.sys.executable}
    subprocess.run(["bash", "-c", script], env=environment, capture_output=True, check=False)
    for command, (name, (_, expected)) in zip(commands, PASTED.items()):
        made = tmp_path / command.rpartition("> ")[2].strip("'")
        if expected is not None:
            assert texts(made) == expected, f"{name}: {command}"


# Places


def test_folders_and_links_are_read_once_or_named(write, tmp_path):
    inner = tmp_path / "folder" / "inner"
    inner.mkdir(parents=True)
    (inner / "a.txt").write_text(lines(ENGLISH))
    (inner / "back").symlink_to(tmp_path / "folder")
    assert read(tmp_path / "folder").account == {"lines": 40}
    (tmp_path / "folder" / "gone").symlink_to("nowhere")
    assert "gone: a link to what is not there" in refused_folder(tmp_path / "folder")
    (tmp_path / "folder" / "gone").unlink()
    (tmp_path / "folder" / "self").symlink_to("self")
    assert "Too many levels of symbolic links" in refused_folder(tmp_path / "folder")


def refused_folder(folder):
    with pytest.raises(SemcomError) as error:
        read(folder)
    return str(error.value)


def test_unreadable_folders_inside_are_named(write, tmp_path, monkeypatch):
    (tmp_path / "folder" / "locked").mkdir(parents=True)
    (tmp_path / "folder" / "a.txt").write_text(lines(ENGLISH))
    real = os.scandir

    def scandir(path):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert "locked: cannot be read (Permission denied)" in refused_folder(tmp_path / "folder")


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/random", "/dev/null", "/dev/tty"])
def test_devices_are_no_files(path):
    if os.path.exists(path):
        assert f"--corpus {path}: is a device" in refused_folder(path)


def test_sockets_are_no_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("listening")
        assert "listening: is a socket" in refused_folder("listening")


@pytest.mark.parametrize(
    "path", ["x" * 5000, "a/" * 3000, "no\x00thing", "", "no\udce9where", "/proc/self/mem"]
)
def test_impossible_paths_are_one_short_line(path):
    message = refused_folder(path)
    assert message.startswith("--corpus") and len(message) < 500


def test_a_pipe_is_read_and_one_that_nobody_writes_to_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(corpus_files, "WAIT_FOR_WRITER", 0.2)
    monkeypatch.setattr(corpus_files, "WAIT_FOR_MORE", 0.3)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert "a pipe to which nothing was written for 0.2 seconds" in refused_folder(pipe)
    writer = threading.Thread(target=lambda: pipe.write_text(lines(ENGLISH)))
    writer.start()
    assert texts(pipe) == ENGLISH
    writer.join()
    silent = os.open(pipe, os.O_RDWR)
    assert "for 0.3 seconds" in refused_folder(pipe)
    os.close(silent)


# Bounds


@pytest.mark.parametrize(
    "content, reason",
    [
        (b"\n" * 50_000, "lines in a row without a new sentence"),
        (b"a b\n" * 50_000, "lines in a row without a new sentence"),
        (lines(ENGLISH[:1]).encode() * 50_000, "lines in a row without a new sentence"),
        (b"a" * (1 << 22), "1 MiB in a row without a new sentence"),
        (lines(f"line {n} is of six words" for n in range(50_000)).encode(), "20,000 lines"),
    ],
)
def test_reading_stops_where_nothing_comes_and_says_so(write, monkeypatch, content, reason):
    bounds = {"lines": 20_000, "fruitless_lines": 10_000, "fruitless_bytes": 1 << 20}
    monkeypatch.setattr(source_lines.Budget, "of", classmethod(lambda cls, sentences: cls(**bounds)))
    path = write("text.gz", gzip.compress(lines(ENGLISH).encode() + content))
    found = read(path)
    assert "; stopped after " in found.describe() and reason in found.describe()
    assert found.describe().endswith("what follows was not read)")
    assert found.account["lines"] <= 22_000 and len(found) >= 40


def test_bounds_rise_with_the_sentences_asked_for():
    few, many = Budget.of(1), Budget.of(10**8)
    assert (few.lines, few.fruitless_lines) == (20_000_000, 1_000_000)
    assert many.lines == 10**9 and many.fruitless_lines == 5 * 10**7 and many.bytes == 10**12
    with pytest.raises(EnoughRead, match="after 1,000,448 lines in a row"):
        for _ in range(1_001_000):
            few.read_line()


# Standard input


def typed(content):
    return typed_lines(io.BytesIO(content if isinstance(content, bytes) else content.encode()))


def test_standard_input_is_read_as_files_are():
    lines_with_text = ["caf\u200bé &amp; thé", "last"]
    assert typed("caf\u200bé &amp; thé\r\n\n<P>\n\u200b\nlast") == lines_with_text
    assert typed(lines(CHINESE).encode("utf-16")) == CHINESE
    assert typed(b"") == []


@pytest.mark.parametrize(
    "content, message",
    [
        (lines(CHINESE).encode("gbk"), "standard input line 1: not UTF-8; it is likely GB18030"),
        (b"caf\xe9\n", "standard input line 1: not UTF-8; it is likely CP1252"),
        (bytes(500), "standard input: is binary data"),
        (b"a" * 20_000, "standard input line 1: longer than 10,000 characters"),
        (b"a\n" * 50_000, "standard input: more than 10,000 lines"),
    ],
)
def test_standard_input_that_is_no_text_is_refused(content, message):
    with pytest.raises(SemcomError) as error:
        typed(content)
    assert str(error.value).startswith(message)
    assert "FILE" not in str(error.value).replace("100 FILE | …", "")


def test_what_is_piped_is_converted_in_the_pipe():
    with pytest.raises(SemcomError, match=r": … \| iconv -f GB18030 -t UTF-8 \| python -m semcom transmit$"):
        typed(lines(CHINESE).encode("gbk"))
