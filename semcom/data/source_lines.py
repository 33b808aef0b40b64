"""Lines of an open file: what it is told by its head, decoded, split and counted within a budget."""

import codecs
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from semcom.base.errors import SemcomError
from semcom.data import encodings, file_kinds, misreadings, wrappers
from semcom.data.corpus_files import Source
from semcom.data.encodings import UTF_8, Mark
from semcom.data.file_kinds import Named

LONGEST_LINE = 10_000
"""In characters."""
LINES_TELLING, BYTES_TELLING = 20, 3
"""Of a file of more lines, an encoding is not guessed by fewer bytes beyond ASCII in a single line."""
UTF_8_ALONE = "LC_ALL=C.UTF-8 grep -ax '.*' < FILE > ALIKE"
WASTED = 10
"""Lines read for each sentence kept, at most."""


class EnoughRead(Exception):
    """More would be read than is allowed; the message says what."""


@dataclass
class Budget:
    """What may be read of a corpus. fruitless: since something was last kept."""

    lines: int = 20_000_000
    bytes: int = 1 << 36
    fruitless_lines: int = 1_000_000
    fruitless_bytes: int = 1 << 28
    lines_read: int = 0
    bytes_read: int = 0
    _kept_at: tuple[int, int] = (0, 0)

    @classmethod
    def of(cls, sentences: int) -> "Budget":
        """For so many sentences: of as many lines for each as a corpus may waste."""
        few = cls()
        return cls(
            lines=max(few.lines, WASTED * sentences),
            bytes=max(few.bytes, LONGEST_LINE * sentences),
            fruitless_lines=max(few.fruitless_lines, sentences // 2),
        )

    def read_block(self, size: int) -> None:
        self.bytes_read += size
        self._check()

    def read_line(self) -> None:
        self.lines_read += 1
        if self.lines_read % 1024 == 0:
            self._check()

    def kept(self) -> None:
        self._kept_at = self.lines_read, self.bytes_read

    def _check(self) -> None:
        fruitless_lines = self.lines_read - self._kept_at[0]
        fruitless_bytes = self.bytes_read - self._kept_at[1]
        if fruitless_lines >= self.fruitless_lines:
            raise EnoughRead(f"after {fruitless_lines:,} lines in a row without a new sentence")
        if fruitless_bytes >= self.fruitless_bytes:
            raise EnoughRead(f"after {fruitless_bytes >> 20:,} MiB in a row without a new sentence")
        if self.lines_read >= self.lines:
            raise EnoughRead(f"after {self.lines:,} lines")
        if self.bytes_read >= self.bytes:
            raise EnoughRead(f"after {self.bytes >> 30:,} GiB")


@dataclass(frozen=True)
class Head:
    """What the first bytes of a file tell. lines: the first of them, the last of which may be cut."""

    named: Named
    mark: Mark
    lines: list[str]

    @classmethod
    def of(cls, source: Source) -> "Head":
        """Raises SemcomError for what is no text, or was converted wrongly, or is in an encoding without a
        mark that UTF-8 does not tell from its own."""
        named, head = source.named, source.head
        file_kinds.check_kind(named, head)
        if source.packing:
            file_kinds.check_packing(named, head)
        mark = encodings.byte_order_mark(head)
        body = head[mark.size :]
        if not mark.size and (found := encodings.unlike_utf8(body)):
            raise _in_encoding(named, (found,))
        text = encodings.beginning(body, mark.encoding)
        if encodings.is_binary(body if text is None else text.encode()):
            raise file_kinds.refusal(named, "binary data", "give the text itself")
        if text is not None:
            _check_conversion(named, text)
        text = _universal(text if text is not None else body.decode(mark.encoding, "replace"))
        if mark.encoding != UTF_8:
            recoding = named.through(f"iconv -f {mark.encoding[:6]} -t UTF-8 < FILE")
            named = replace(named, unpacking=recoding)
        wrappers.check(named, text)
        return cls(named, mark, text.split("\n"))


def _universal(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _check_conversion(named: Named, text: str) -> None:
    if misreadings.is_lost(text):
        raise SemcomError(
            f"{named}: many of its characters are U+FFFD, which an earlier conversion has left in the place "
            "of those it could not read; convert the original again"
        )
    if twice := misreadings.twice_encoded(text):
        was, taken_for = twice
        undone = f"iconv -f UTF-8 -t {taken_for} < FILE"
        undone += f" | iconv -f {was} -t UTF-8" if was != UTF_8 else ""
        raise SemcomError(
            f"{named}: was {encodings.known_as(was)}, taken for {taken_for} and encoded again (as in cafÃ©, "
            f"ÖÐ¹ú); undo it: {named.through(f'{undone} > ALIKE')}"
        )


def _in_encoding(named: Named, found: Sequence[str], place: str = "", *, flawed: bool = False) -> SemcomError:
    """found: the likely encodings. flawed: some of it is not even that; iconv leaves it out, if asked to."""
    names = " or ".join(map(encodings.known_as, found))
    but = ", with broken characters, which -c leaves out" if flawed else ""
    but += ", too little text to tell; look at what is made" if len(found) > 1 else ""
    command = f"iconv {'-c ' * flawed}-f {found[0]} -t UTF-8 < FILE > ALIKE"
    if found[0] == "HZ":  # which iconv of Linux has not
        command = (
            "python -X utf8 -c \"import sys; print(end=sys.stdin.buffer.read().decode('hz'))\" < FILE > ALIKE"
        )
    return SemcomError(
        f"{named}{place}: not UTF-8; it is likely {names}{but}; convert it: {named.through(command)}"
    )


class Lines:
    """Of a source, without their ends. number: of the one read last. longest: in bytes; None for a longer
    one."""

    def __init__(self, source: Source, mark: Mark, budget: Budget, longest: int):
        self.source, self.mark, self.budget, self.longest = source, mark, budget, longest
        self.number = 0
        self._block, self._beyond_ascii, self._ended = b"", 0, False

    def __iter__(self) -> Iterator[str | None]:
        for raw in split_lines(self._blocks(), self.longest):
            self.number += 1
            self.budget.read_line()
            yield None if raw is None else self._decoded(raw)

    def _decoded(self, raw: bytes) -> str:
        try:
            line = raw.decode()
        except UnicodeDecodeError:
            raise self._undecodable(raw) from None
        self._beyond_ascii += not raw.isascii()
        return line

    def _blocks(self) -> Iterator[bytes]:
        """In UTF-8, without the byte order mark."""
        encoding, ahead = self.mark.encoding, self.mark.size
        decoder = codecs.getincrementaldecoder(encoding)()
        while not self._ended:
            block = self.source.read_block(f" after line {self.number}")
            self._ended = not block
            self.budget.read_block(len(block))
            self._block, ahead = block[ahead:], max(0, ahead - len(block))
            yield self._block if encoding == UTF_8 else self._recoded(decoder)

    def _recoded(self, decoder: codecs.IncrementalDecoder) -> bytes:
        try:
            return decoder.decode(self._block, final=self._ended).encode()
        except UnicodeError as error:
            raise SemcomError(
                f"{self.source.named} after line {self.number}: broken {self.mark.encoding}, whose byte "
                f"order mark it has ({getattr(error, 'reason', 'no text')}); fetch the file again"
            ) from None

    def _undecodable(self, raw: bytes) -> SemcomError:
        """Names the line and what it, and those behind it, are likely in."""
        named, place = self.source.named, f" line {self.number}"
        if self._beyond_ascii:
            return self._mixed(raw)
        lines = [raw, *self._block.replace(b"\r", b"\n").split(b"\n")]
        if self._is_alone(raw, lines):
            return self._odd(raw)
        if found := encodings.likely(lines):
            return _in_encoding(named, found, place, flawed=not encodings.all_in(lines[:-1], found[0]))
        return SemcomError(
            f"{named}{place}: not UTF-8, nor clearly another encoding; open it where it reads well and save "
            "it as UTF-8, or ask whoever made it which it is, and convert it: "
            f"{named.through('iconv -f ENCODING -t UTF-8 < FILE > ALIKE')}"
        )

    def _is_alone(self, raw: bytes, lines: Sequence[bytes]) -> bool:
        """Whether so little of what was read is not UTF-8 that it says nothing of an encoding."""
        enough_else = max(self.number, len(lines)) > LINES_TELLING
        return enough_else and _tells_little(raw) and all(each == raw or each.isascii() for each in lines)

    def _odd(self, raw: bytes) -> SemcomError:
        odd = " ".join(f"{byte:02X}" for byte in raw if byte >= 0x80)
        command = self.source.named.through(UTF_8_ALONE)
        return SemcomError(
            f"{self.source.named} line {self.number}: is not UTF-8 (it holds the bytes {odd}), as the lines "
            f"around it are; mend that line, or leave such lines out: {command}"
        )

    def _mixed(self, raw: bytes) -> SemcomError:
        named, place = self.source.named, f" line {self.number}"
        others = f"the {self._beyond_ascii:,} lines before it beyond ASCII are"
        if self._ended:
            reason = f"ends within a character, the file is cut off ({others} UTF-8); fetch it again, or"
        else:
            guessed = () if _tells_little(raw) else encodings.likely([raw])
            found = " or ".join(map(encodings.known_as, guessed))
            likely = f", but likely {found}" if found else ""
            reason = f"not UTF-8, as {others}{likely}: the file mixes encodings; convert that line, or"
        command = named.through(UTF_8_ALONE)
        return SemcomError(f"{named}{place}: {reason} leave such lines out: {command}")


def _tells_little(line: bytes) -> bool:
    """Whether a line has too few bytes beyond ASCII to guess an encoding by."""
    return sum(byte >= 0x80 for byte in line) < BYTES_TELLING


def split_lines(blocks: Iterable[bytes], longest: int) -> Iterator[bytes | None]:
    """What stands between LF, CR LF and CR; None for more than ``longest`` bytes."""
    rest, too_long = b"", False
    for block in blocks:
        block = rest + block
        held = block.endswith(b"\r")  # its LF may come with the next block
        block = block[: len(block) - held].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *whole, rest = block.split(b"\n")
        for line in whole:
            yield None if too_long or len(line) > longest else line
            too_long = False
        if len(rest) > longest:
            rest, too_long = b"", True
        rest += b"\r" * held
    if rest or too_long:
        last = rest.removesuffix(b"\r")
        yield None if too_long or len(last) > longest else last
