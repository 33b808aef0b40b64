"""Pickles of ids: read as Python's own module reads them, and nothing else in a pickle is so much as looked
up."""

import io
import os
import pickle
import pickletools
import random
import re
import struct

import pytest

from semcom.base.errors import SemcomError
from semcom.data import pickled_ids

PROTOCOLS = range(6)
EXPECTED = "expected a pickled list of lists of whole numbers"


@pytest.fixture
def read(tmp_path):
    def read(data: bytes) -> list[list[int]]:
        path = tmp_path / "ids.pkl"
        path.write_bytes(data)
        return pickled_ids.read_id_lists(path)

    return read


def refused(read, data: bytes) -> str:
    with pytest.raises(SemcomError, match=f"^--corpus: .*ids.pkl: .*; {EXPECTED}") as error:
        read(data)
    assert "\n" not in str(error.value)
    return str(error.value)


def sentences(rng: random.Random, number: int = 40) -> list[list[int]]:
    """Ids around every width that pickles have opcodes for, and ordinary ones."""
    edges = [0, 1, 2, 3, 255, 256, 65_535, 65_536, 2**31 - 1, 2**31]
    return [
        [
            rng.choice(edges) if rng.random() < 0.2 else rng.randrange(22_234)
            for _ in range(rng.choice((0, 1, 2, 20, 30)))
        ]
        for _ in range(number)
    ]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("seed", range(4))
def test_lists_come_back_as_they_were(read, protocol, seed):
    written = sentences(random.Random(seed))
    data = pickle.dumps(written, protocol)
    assert read(data) == read(pickletools.optimize(data)) == written
    # The module written in Python makes other pickles than the one in C does.
    slowly = io.BytesIO()
    pickle._Pickler(slowly, protocol).dump(written)
    assert read(slowly.getvalue()) == written


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_empty_long_and_shared_lists(read, protocol):
    shared = [4, 5, 6]
    for written in ([], [[]], [shared, [7], shared], [list(range(3000))], [[n] for n in range(3000)]):
        found = read(pickle.dumps(written, protocol))
        assert found == written
    found = read(pickle.dumps([shared, [7], shared], protocol))
    assert found[0] is found[2], "held once, as in the file"


@pytest.mark.parametrize(
    "data",
    [
        b"(lp0\n(lp1\nI4\naL5L\naag1\na.",
        b"((I4\nL5L\nl(I4\nI5\nll.",
        b"](]q\x00(K\x04M\x05\x00eh\x00e.",
        b"](]r\x07\x00\x00\x00(J\x04\x00\x00\x00\x8a\x01\x05ej\x07\x00\x00\x00e.",
        b"\x80\x04](]\x94(\x8b\x02\x00\x00\x00\x04\x00K\x05eh\x00e.",
    ],
)
def test_opcodes_that_python_does_not_write_today(read, data):
    assert read(data) == pickle.loads(data) == [[4, 5], [4, 5]]


def test_a_memo_may_leave_out_numbers_but_not_reach_far(read):
    """The unpickler's memo has a place for each number below the highest."""
    assert read(b"](]r\x01\x01\x00\x00e.") == [[]]
    assert "keeps more lists" in refused(read, b"](]r\x02\x01\x00\x00e.")
    assert "keeps more lists" in refused(read, b"](]p258\ne.")


# Refusals


class Runs:
    """Pickled, it runs a command when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("place", ["alone", "in a sentence", "after good ones"])
def test_code_is_refused_and_does_not_run(read, tmp_path, protocol, place):
    marker = tmp_path / "ran"
    hostile = Runs(marker)
    data = pickle.dumps(
        {"alone": hostile, "in a sentence": [[4, hostile]], "after good ones": [[4, 5]] * 50 + [hostile]}[
            place
        ],
        protocol,
    )
    message = refused(read, data)
    assert not marker.exists() and (
        "posix system" in message if protocol < 4 else "SHORT_BINUNICODE" in message
    )
    pickle.loads(data)
    assert marker.exists(), "what was refused would have run"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_nothing_is_looked_up_even_where_the_check_has_a_hole(read, tmp_path, monkeypatch, protocol):
    marker = tmp_path / "ran"
    monkeypatch.setattr(pickled_ids, "_check", lambda data: (len(data), 1))
    assert "posix.system is refused" in refused(read, pickle.dumps(Runs(marker), protocol))
    assert "somebody is refused" in refused(read, b"Psomebody\n.")
    assert not marker.exists()


@pytest.mark.parametrize(
    "data, name",
    [
        (b"cos\nsystem\n(S'true'\ntR.", "GLOBAL os system"),
        (b"(S'true'\nios\nsystem\n.", "STRING"),
        (b"(ios\nsystem\n.", "INST os system"),
        (b"\x80\x04\x93.", "STACK_GLOBAL"),
        (b"](K\x04R.", "REDUCE"),
        (b"]b.", "BUILD"),
        (b"\x80\x02]\x81.", "NEWOBJ"),
        (b"(o.", "OBJ"),
        (b"\x80\x02\x82\x01.", "EXT1"),
        (b"\x80\x02\x83\x01\x00.", "EXT2"),
        (b"\x80\x02\x84\x01\x00\x00\x00.", "EXT4"),
        (b"Pname\n.", "PERSID"),
        (b"]Q.", "BINPERSID"),
        (b"\x80\x05\x97.", "NEXT_BUFFER"),
        (b"]0.", "POP"),
        (b"]2.", "DUP"),
        (b"(1.", "POP_MARK"),
        (b"c\x1b[31m\n\xe2\x80\xae\n.", r"GLOBAL \x1b[31m"),
    ],
)
def test_other_opcodes_are_named(read, data, name):
    assert f"found {name}" in refused(read, data)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "written, kinds",
    [
        ([["word"]], ("str",)),
        ([(4, 5)], ("tuple", "MARK")),
        ({"a": [4]}, ("dict",)),
        ([[4.0]], ("float",)),
        ([[None]], ("None",)),
        ([[True]], ("True", "bool")),
        ([[4, False]], ("False", "bool")),
        ([[b"ab"]], ("bytes", "_codecs")),
        ([{4}], ("set", "GLOBAL")),
        (7, ("number 7 alone",)),
        ([4, 5], ("place 1 of the outer list holds the number 4",)),
        ([[4], 5], ("place 2 ",)),
        ([[4], [5, [6]]], ("deeper than two",)),
        ([[[4]]], ("deeper than two",)),
        ([[4], [5, -1]], ("sentence 2 holds -1",)),
        ([[2**31 + 1]], ("sentence 1 holds 2147483649",)),
        ([[2**70]], ("bytes", "sentence 1 holds 1180591620717411303424")),
        ([[2**3000]], ("376 bytes", "digits")),
    ],
)
def test_other_values_are_named(read, protocol, written, kinds):
    message = refused(read, pickle.dumps(written, protocol))
    assert any(kind in message.partition(EXPECTED)[0] for kind in kinds), message


def test_lists_within_themselves_are_refused(read):
    around, inside = [], []
    around.append(around)
    inside.append(inside)
    for protocol in PROTOCOLS:
        for written in (around, [[4], inside]):
            assert "deeper than two" in refused(read, pickle.dumps(written, protocol))


def test_what_follows_the_end_or_lacks_is_told(read):
    whole = pickle.dumps([[4, 5], [300, 70_000]], 4)
    assert "something follows the end" in refused(read, whole + b"\n")
    assert "something follows the end" in refused(read, whole + whole)
    for protocol in PROTOCOLS:
        data = pickle.dumps([[4, 5], [300, 70_000]], protocol)
        for length in range(len(data)):
            assert "truncated" in refused(read, data[:length])


def claims(opcode: bytes, form: str, number: int, rest: bytes = b".") -> bytes:
    return b"](]" + opcode + struct.pack(form, number) + rest


@pytest.mark.parametrize(
    "data, message",
    [
        (claims(b"\x8b", "<i", 2**31 - 1), "a number of 2147483647 bytes"),
        (claims(b"\x8b", "<i", -5), "a number of -5 bytes"),
        (claims(b"\x95", "<Q", 2**63), "truncated"),
        (claims(b"r", "<I", 2**32 - 1, b"r" + struct.pack("<I", 7) + b"\x94\x94."), "keeps more lists"),
        (b"]" + b"\x94" * 1000 + b".", "keeps more lists"),
        (b"(" * 100_000, "deeper than two"),
        (b"]K\x04\x94a.", "keeps a number"),
        (b"](I" + b"9" * 100_000 + b"\nl.", "more than 24 digits"),
        (b"\x80\xff].", "protocol 255"),
        (b"K\x04K\x05a.", "appends to a number"),
        (b"K\x04(K\x05e.", "appends to a number"),
        (b"a.  ", "nothing to work on"),
        (b"].]", "something follows"),
        (b"]].", "nothing to work on|truncated"),
        (b"](K\x04.", "truncated|ends within a list"),
        (b"]h\x05a. ", "nothing to work on"),
        (b"\x00].", "0x00, which is no pickle opcode"),
        (b"", "truncated"),
        (b"(I4 \nl.", "no whole number"),
        (b"(I4_0\nl.", "no whole number"),
        (b"](I010\nl.", "no whole number"),
        (b"](I010\nal.", "no whole number"),
        (b"(LL\nl.", "no whole number"),
        (b"(I\x1b[2J\nl.", "no whole number"),
    ],
)
def test_lies_are_refused(read, data, message):
    found = refused(read, data)
    assert re.search(message, found) and "\x1b" not in found, found


def test_many_lists_are_refused_before_they_fill_the_memory(read, monkeypatch):
    monkeypatch.setattr(pickled_ids, "MOST_LISTS", 100)
    assert len(read(b"](" + b"]" * 99 + b"e.")) == 99
    assert "more than 100 lists" in refused(read, b"](" + b"]" * 100 + b"e.")


def test_a_list_named_a_million_times_is_held_once(read):
    found = read(b"](]q\x00(" + b"K\x04" * 100_000 + b"e" + b"h\x00" * 1_000_000 + b"e.")
    assert len(found) == 1_000_001 and len(set(map(id, found))) == 1 and len(found[0]) == 100_000


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_damaged_pickles_give_lists_or_a_refusal(read, protocol):
    rng = random.Random(protocol)
    whole = pickle.dumps(sentences(rng, 8), protocol)
    outcomes = {"lists": 0, "refused": 0}
    for _ in range(500):
        data = bytearray(whole)
        for _ in range(rng.choice((1, 1, 2, 5))):
            at = rng.randrange(len(data))
            how = rng.randrange(3)
            if how == 0:
                data[at] = rng.randrange(256)
            elif how == 1:
                del data[at : at + rng.choice((1, 2, 9))]
            else:
                data[at:at] = rng.randbytes(rng.choice((1, 2, 9)))
        try:
            found = read(bytes(data))
        except SemcomError as error:
            outcomes["refused"] += 1
            assert EXPECTED in str(error) and "\n" not in str(error)
        else:
            outcomes["lists"] += 1
            # What is accepted means to Python's own module what it means here.
            assert found == pickle.loads(data)
    assert min(outcomes.values()) > 10, outcomes


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(SemcomError, match=r"missing\.pkl: cannot be read \(No such file"):
        pickled_ids.read_id_lists(tmp_path / "missing.pkl")
