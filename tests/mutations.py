"""Files that were changed at random: is each one refused in a line, or read as what it was?

    PYTHONPATH=. OMP_NUM_THREADS=1 python tests/mutations.py --count 5000 --seed 1 --kind checkpoint

A file is changed byte by byte, record by record (with checksums that are right again), or value by value. It
is read in a child of this process, made by ``fork``, which may take ``LONGEST`` seconds and ``MOST_MEMORY``
bytes for it. Wrong is: a traceback, a crash, a hang, a message of more than one line or 500 characters, and
for a kind that carries a digest anything that loads as other than it was without a line that says so.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse  # noqa: E402
import io  # noqa: E402
import json  # noqa: E402
import logging  # noqa: E402
import pickle  # noqa: E402
import random  # noqa: E402
import resource  # noqa: E402
import select  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
import traceback  # noqa: E402
import unicodedata  # noqa: E402
import zipfile  # noqa: E402
from collections import Counter  # noqa: E402
from collections.abc import Callable, Sequence  # noqa: E402
from dataclasses import dataclass  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import torch  # noqa: E402
import toy  # noqa: E402
from public_deepsc import random_state  # noqa: E402

from semcom.base.errors import SemcomError  # noqa: E402
from semcom.commands.inputs import read_corpus  # noqa: E402
from semcom.data import corpus, pickled_ids  # noqa: E402
from semcom.data.piece_vocabulary import train_vocabulary  # noqa: E402
from semcom.data.settings import CorpusConfig  # noqa: E402
from semcom.data.vocabulary_files import read_vocabulary  # noqa: E402
from semcom.models import checkpoint, deepsc_weights, state_dicts, state_file  # noqa: E402
from semcom.models.checkpoint import Checkpoint  # noqa: E402

LONGEST = 20
"""Seconds that a file may take."""
MOST_MEMORY = 2 << 30
AT_ONCE = 100
"""Files that one child reads."""
LONGEST_MESSAGE = 500
WORDS = [f"w{number}" for number in range(20)]

Change = Callable[[bytes, random.Random], bytes]


# --- changes of bytes


def _place(data: bytes, chance: random.Random) -> int:
    return chance.randrange(max(1, len(data)))


def _block(data: bytes, chance: random.Random) -> tuple[int, int]:
    start = _place(data, chance)
    return start, min(len(data), start + chance.choice((1, 2, 8, 64, 1024)))


def flip_bits(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 16))):
        if changed:
            changed[_place(data, chance)] ^= 1 << chance.randrange(8)
    return bytes(changed)


def truncate(data: bytes, chance: random.Random) -> bytes:
    return data[: _place(data, chance)]


def append(data: bytes, chance: random.Random) -> bytes:
    return data + chance.randbytes(chance.choice((1, 22, 1000)))


def delete_block(data: bytes, chance: random.Random) -> bytes:
    start, end = _block(data, chance)
    return data[:start] + data[end:]


def repeat_block(data: bytes, chance: random.Random) -> bytes:
    start, end = _block(data, chance)
    return data[:end] + data[start:end] * chance.choice((1, 3, 200)) + data[end:]


def randomise_block(data: bytes, chance: random.Random) -> bytes:
    start, end = _block(data, chance)
    return data[:start] + chance.randbytes(end - start) + data[end:]


def zero_block(data: bytes, chance: random.Random) -> bytes:
    start, end = _block(data, chance)
    return data[:start] + bytes(end - start) + data[end:]


def move_block(data: bytes, chance: random.Random) -> bytes:
    start, end = _block(data, chance)
    rest, to = data[:start] + data[end:], _place(data, chance)
    return rest[:to] + data[start:end] + rest[to:]


def extreme_number(data: bytes, chance: random.Random) -> bytes:
    size, start = chance.choice((1, 2, 4, 8)), _place(data, chance)
    value = chance.choice((b"\xff" * size, b"\x00" * (size - 1) + b"\x7f", b"\xff" * (size - 1) + b"\x7f"))
    return data[:start] + value + data[start + size :]


BYTES: tuple[Change, ...] = (
    flip_bits,
    truncate,
    append,
    delete_block,
    repeat_block,
    randomise_block,
    zero_block,
    move_block,
    extreme_number,
)


# --- changes of an archive's records, with right checksums


def _records(data: bytes) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return [(record.filename, archive.read(record)) for record in archive.infolist()]


def _archive(records: Sequence[tuple[str, bytes]], packed: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", packed) as archive:
        for name, content in records:
            archive.writestr(zipfile.ZipInfo(name), content, packed)
    return buffer.getvalue()


def change_record(data: bytes, chance: random.Random) -> bytes:
    records = _records(data)
    place = chance.randrange(len(records))
    name, content = records[place]
    records[place] = (name, chance.choice(BYTES)(content, chance))
    return _archive(records)


def change_pickle(data: bytes, chance: random.Random) -> bytes:
    return _archive(
        [
            (name, chance.choice(BYTES)(content, chance) if name.endswith("data.pkl") else content)
            for name, content in _records(data)
        ]
    )


def record_twice(data: bytes, chance: random.Random) -> bytes:
    records = _records(data)
    name, content = chance.choice(records)
    folder, _, last = name.rpartition("/")
    other = chance.choice((name, f"{folder}/{last.upper()}", f"{folder}/./{last}", f"{folder}\\{last}"))
    records.insert(chance.randrange(len(records) + 1), (other, flip_bits(content, chance)))
    return _archive(records)


def drop_record(data: bytes, chance: random.Random) -> bytes:
    records = _records(data)
    records.pop(chance.randrange(len(records)))
    return _archive(records)


def swap_records(data: bytes, chance: random.Random) -> bytes:
    records = _records(data)
    (a, one), (b, other) = (records[i] for i in (chance.randrange(len(records)) for _ in range(2)))
    exchanged = {a: other, b: one}
    return _archive([(name, exchanged.get(name, content)) for name, content in records])


def compress_records(data: bytes, chance: random.Random) -> bytes:
    records = _records(data)
    bomb = [(name, content + bytes(1 << 24)) for name, content in records[:1]]
    return _archive(chance.choice((records, [*bomb, *records[1:]])), zipfile.ZIP_DEFLATED)


RECORDS: tuple[Change, ...] = (
    change_record,
    change_pickle,
    record_twice,
    drop_record,
    swap_records,
    compress_records,
)


# --- changes of values


def _odd_value(chance: random.Random) -> Any:
    odd = (None, True, -1, 2**70, 1e308, float("nan"), "", "\x1b[2J\u202e" * 40, [], {}, [[[[]]]], b"", 0.5)
    return chance.choice(odd)


def _odd_tensor(tensor: torch.Tensor, chance: random.Random) -> torch.Tensor:
    changed = tensor.clone()
    if not changed.is_floating_point():
        return chance.choice((changed.flip(0), changed[: len(changed) // 2], changed.float()))
    flat = changed.view(-1)
    kind = chance.randrange(6)
    if kind == 0:
        flat[chance.randrange(len(flat))] = chance.choice((float("nan"), float("inf"), -float("inf")))
    elif kind == 1:
        changed *= 1.5
    elif kind == 2:
        flat[chance.randrange(len(flat))] += 1e-3
    elif kind == 3:
        return changed.t() if changed.dim() == 2 else changed.flip(0)
    elif kind == 4:
        return changed.half()
    else:
        return torch.zeros(1).expand(changed.shape)
    return changed


def change_value(data: bytes, chance: random.Random) -> bytes:
    """Of what ``torch.save`` wrote: a number, string, tensor or key somewhere inside."""
    whole = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    inside = whole
    while True:
        names = list(inside) if isinstance(inside, dict) else list(range(len(inside)))
        name = chance.choice(names)
        nested = inside[name]
        if not isinstance(nested, (dict, list)) or not nested or chance.random() < 0.1:
            break
        inside = nested
    if isinstance(inside, dict) and chance.random() < 0.15:
        inside[chance.choice((f"{name}_", "digest", "\n"))] = inside.pop(name)
    elif isinstance(nested, torch.Tensor) and nested.numel():
        inside[name] = _odd_tensor(nested, chance)
    else:
        inside[name] = _odd_value(chance)
    buffer = io.BytesIO()
    torch.save(whole, buffer)
    return buffer.getvalue()


def change_json(data: bytes, chance: random.Random) -> bytes:
    whole = json.loads(data)
    words = whole["token_to_idx"]
    word = chance.choice(list(words))
    kind = chance.randrange(4)
    if kind == 0:
        words[word] = _odd_json(chance)
    elif kind == 1:
        words[word * chance.choice((2, 300))] = words.pop(word)
    elif kind == 2:
        whole = chance.choice(({"token_to_idx": whole}, [whole], words, {"token_to_idx": list(words)}))
    else:
        return json.dumps(whole).replace(str(words[word]), "9" * chance.choice((19, 400, 5000))).encode()
    return json.dumps(whole).encode(chance.choice(("utf-8", "utf-8-sig", "utf-16")))


def _odd_json(chance: random.Random) -> Any:
    value = _odd_value(chance)
    return value.decode() if isinstance(value, bytes) else value


LINE_PARTS = (
    *(
        "\t",
        "\x00",
        "\x1b[2J",
        "\u202e",
        "\ufeff",
        "\u200d",
        "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
    ),
    *(
        "&#" + "9" * 9000 + ";",
        "&amp;lt;",
        "&apos;",
        "<P>",
        "<CHAPTER ID=1>",
        "@-@",
        "\u2028",
        "\x85",
        "\r",
        "\x0c",
    ),
    *(
        "中文句子没有空格",
        "日本語の文です",
        "ภาษาไทย",
        "می\u200cخواهم",
        "क्\u200dष",
        "½ ﬁ １２３",
        "e\u0301",
        "x" * 20_000,
    ),
)


def change_text(data: bytes, chance: random.Random) -> bytes:
    """Of text: odd parts put in, other encodings, other line ends."""
    text = data.decode("utf-8")
    for _ in range(chance.randint(1, 5)):
        place = chance.randrange(len(text))
        text = text[:place] + chance.choice(LINE_PARTS) + text[place:]
    text = text.replace("\n", chance.choice(("\n", "\n", "\r\n", "\r", "\n\n")))
    encoding = chance.choice(("utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-32", "gb18030", "big5", "cp1252"))
    return text.encode(encoding, errors="replace")


# --- kinds of files


@dataclass(frozen=True)
class Kind:
    """originals: what is changed. read: a file's content, comparable; raises SemcomError. changes: how.

    digest: whether such a file says what it holds, so that a changed one is never taken for whole.
    """

    originals: tuple[bytes, ...]
    read: Callable[[Path], Any]
    changes: tuple[Change, ...]
    digest: bool = False
    suffix: str = ".pt"


def _checkpoint() -> Kind:
    made = []
    vocabulary = toy.word_vocabulary(WORDS)
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(2):
            model = toy.transceiver(toy.size(1), toy.size(1), seed=seed, vocab_size=len(vocabulary))
            origin = dict.fromkeys(checkpoint.PARTS, "made for this test")
            path = Path(folder) / "whole.pt"
            checkpoint.save(Checkpoint(model, vocabulary, origin, {"loss": 0.5}, {"seed": seed}), path)
            made.append(path.read_bytes())
    return Kind(tuple(made), _read_checkpoint, (*BYTES, *RECORDS * 2, *(change_value,) * 8), digest=True)


def _read_checkpoint(path: Path) -> Any:
    loaded = checkpoint.load(path)
    what = loaded.vocabulary.fingerprint, loaded.origin, loaded.metrics, loaded.config
    return loaded.fingerprint, str(loaded.model.architecture), *what


def _state_dict() -> Kind:
    buffer, older = io.BytesIO(), io.BytesIO()
    state = random_state()
    torch.save(state, buffer)
    torch.save({"state_dict": state, "epoch": 3}, older, _use_new_zipfile_serialization=False)
    changes = (*BYTES, *RECORDS, *(change_value,) * 4)

    def read(path: Path) -> Any:
        loaded = state_dicts.find(path, "import", deepsc_weights.USUAL).weights
        return checkpoint.fingerprint_of(deepsc_weights.from_state(loaded, 2, 0.1, "it").model)

    return Kind((buffer.getvalue(), older.getvalue()), read, changes, suffix=".pth")


def _state() -> Kind:
    state = {"steps": 3, "names": ["a", "b"], "rates": (0.1, 0.2), "weights": {"w": torch.arange(6.0)}}
    with tempfile.TemporaryDirectory() as folder:
        state_file.write(Path(folder) / "state.pt", state)
        made = (Path(folder) / "state.pt").read_bytes()

    def read(path: Path) -> Any:
        return repr(state_file.read(path, "begin anew"))

    return Kind((made,), read, (*BYTES, *RECORDS * 2, *(change_value,) * 8), digest=True)


def _vocabulary() -> Kind:
    sentences = [sentence.text for sentence in corpus.built_in(400).sentences]
    pieces, words = train_vocabulary(sentences, 400), toy.word_vocabulary(WORDS)

    def read(path: Path) -> Any:
        found = read_vocabulary(path.read_bytes(), str(path))
        ids = found.encode(sentences[:3])
        assert all(0 <= i < len(found) for row in ids for i in row)
        found.decode(ids)
        return found.fingerprint

    def of_its_kind(data: bytes, chance: random.Random) -> bytes:
        return (change_json if data.startswith(b"{") else chance.choice(BYTES))(data, chance)

    return Kind((pieces.serialized, words.serialized), read, (*BYTES, *(of_its_kind,) * 4), suffix=".model")


def _pickle() -> Kind:
    chance = random.Random(0)
    lists = [[1, *(chance.randrange(4, 300) for _ in range(9)), 2] for _ in range(50)]
    originals = tuple(pickle.dumps(lists, protocol) for protocol in range(6))
    return Kind(originals, lambda path: pickled_ids.read_id_lists(path), BYTES, suffix=".pkl")


def _corpus() -> Kind:
    english = "\n".join(sentence.text for sentence in corpus.built_in(60).sentences)
    chinese = "\n".join(f"我们支持第{n}号关于环境的报告，并感谢委员会的工作。" for n in range(60))

    def read(path: Path) -> Any:
        given = CorpusConfig(corpus=(str(path),))
        found = read_corpus(given)
        texts = [sentence.text for sentence in found.sentences]
        odd = [c for text in texts for c in text if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")]
        assert not odd, f"{odd[0]!r} is left in a sentence"
        return texts

    changes = (*BYTES, *(change_text,) * 9)
    return Kind((english.encode(), chinese.encode()), read, changes, suffix=".txt")


KINDS: dict[str, Callable[[], Kind]] = {
    "checkpoint": _checkpoint,
    "state dict": _state_dict,
    "state": _state,
    "vocabulary": _vocabulary,
    "pickle": _pickle,
    "corpus": _corpus,
}


# --- the campaign


REFUSED, AS_IT_WAS, TOLD, OTHER = "refused", "as it was", "told", "other"


class _Heard(logging.Handler):
    """What the program warns of."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def outcome(kind: Kind, path: Path, was: Any) -> str:
    """What reading the file comes to; raises AssertionError where it is wrong."""
    heard = _Heard()
    logging.getLogger().addHandler(heard)
    try:
        found = kind.read(path)
    except SemcomError as error:
        check_message(str(error))
        return REFUSED
    finally:
        logging.getLogger().removeHandler(heard)
    if found == was:
        return AS_IT_WAS
    if not kind.digest:
        return OTHER
    assert any("digest" in line for line in heard.lines), "loads as other than it was, without a word"
    return TOLD


def check_message(message: str) -> None:
    assert message and len(message) <= LONGEST_MESSAGE, f"{len(message)} characters: {message[:200]}"
    odd = [c for c in message if c != " " and unicodedata.category(c)[0] in "CZ"]
    assert not odd, f"{odd[0]!r} in {message!r}"


@dataclass(frozen=True)
class Case:
    number: int
    change: str
    data: bytes
    was: Any


class Campaign:
    """Cases of one kind of file, each from its own number, so that one can be made again by itself."""

    def __init__(self, name: str, folder: Path, seed: int):
        self.name, self.kind, self.folder, self.seed = name, KINDS[name](), folder, seed
        self.whole = [self._content(data) for data in self.kind.originals]

    def _content(self, data: bytes) -> Any:
        path = self.folder / f"whole{self.kind.suffix}"
        path.write_bytes(data)
        return self.kind.read(path)

    def case(self, number: int) -> Case:
        chance = random.Random(f"{self.name} {self.seed} {number}")
        which = chance.randrange(len(self.kind.originals))
        data, change = self.kind.originals[which], chance.choice(self.kind.changes)
        try:
            changed = change(data, chance)
        except (zipfile.BadZipFile, UnicodeDecodeError, TypeError):
            # No archive, nor text: of an older form.
            change = chance.choice(BYTES)
            changed = change(data, chance)
        return Case(number, change.__name__, changed, self.whole[which])

    def run(self, first: int, count: int) -> tuple[Counter[str], list[str]]:
        """How the cases ended, and the faults."""
        ends: Counter[str] = Counter()
        faults: list[str] = []
        number = first
        while number < first + count:
            last = min(number + AT_ONCE, first + count)
            told = self._in_child(number, last)
            for line in told:
                ends[line] += 1
            faults += [
                f"{self.name} {line}" for line in told if line not in (REFUSED, AS_IT_WAS, TOLD, OTHER)
            ]
            number += len(told)
        return ends, faults

    def _in_child(self, first: int, last: int) -> list[str]:
        """A line for each case; the child's death or silence is the line of the case that it was at."""
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            self._be_the_child(first, last, writing)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            lines = self._listen(pipe, last - first, child)
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        if len(lines) < last - first:
            lines.append(f"case {first + len(lines)}: took over {LONGEST} s or ended with code {code}")
        return lines

    def _listen(self, pipe: Any, wanted: int, child: int) -> list[str]:
        lines: list[str] = []
        while len(lines) < wanted:
            ready, _, _ = select.select([pipe], [], [], LONGEST)
            line = pipe.readline() if ready else ""
            if not line:
                os.kill(child, signal.SIGKILL)
                break
            lines.append(json.loads(line))
        return lines

    def _be_the_child(self, first: int, last: int, writing: int) -> None:
        """Never returns."""
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            before = _memory()
            for number in range(first, last):
                line = self._line(self.case(number), before)
                os.write(writing, (json.dumps(line) + "\n").encode())
        finally:
            os._exit(0)

    def _line(self, case: Case, before: int) -> str:
        path = self.folder / f"case{self.kind.suffix}"
        path.write_bytes(case.data)
        where = f"case {case.number}, {case.change}"
        try:
            end = outcome(self.kind, path, case.was)
        except BaseException as error:
            told = traceback.format_exception_only(error)[-1].strip()
            frame = traceback.extract_tb(error.__traceback__)[-1]
            return f"{where}: {told[:300]} ({Path(frame.filename).name} line {frame.lineno})"
        used = _memory() - before
        return end if used < MOST_MEMORY else f"{where}: took {used / 2**30:.1f} GiB"


def _memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=5000, help="files of each kind")
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kind", nargs="+", choices=KINDS, default=list(KINDS))
    given = parser.parse_args(argv)
    wrong = 0
    for name in given.kind:
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            ends, faults = Campaign(name, Path(folder), given.seed).run(given.first, given.count)
        for fault in faults[:20]:
            print(fault)
        wrong += len(faults)
        counts = ", ".join(f"{ends[end]} {end}" for end in (REFUSED, AS_IT_WAS, TOLD, OTHER) if ends[end])
        seconds = time.monotonic() - started
        print(f"{name}: {given.count} files in {seconds:.0f} s: {counts}, {len(faults)} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
