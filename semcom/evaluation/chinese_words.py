"""Words of Chinese text and their kinds, by rules and by the lists in ``chinese/``.

``chinese_segmentation`` divides runs of Chinese characters; letters and digits beside them are words as
in English. A number and the unit behind it are two words (三 个), names joined by a dot are one
(比尔·克林顿). The kinds, the first whose rule holds:

number: has a digit, is of numerals alone (三百, 百分之五, 第二, 半, 几十, 一点三) or a listed number word;
  not listed words that hold numerals and count nothing (一些, 统一, 十分, 四川). Within a compound it is a
  word of its own where it is not 一 and a unit follows (两 国 关系, 近 千 名); else the compound is content
  (十五大, 八强, 一段时间).
negation: a listed word (没有, 无法, 勿), one of up to three characters with 不, one of four with 不 third
  (资金不足, 久拖不决), one that begins with 不, 没, 无, 未, 非 or 别, or so behind 并, 毫, 从, 尚 and their
  like; not listed words that deny nothing or ask (不断, 不仅, 无论, 未来, 非常, 不幸, 是否), nor 会不会, nor
  places (无锡) and what names a thing by its ending (无烟煤, 未知数).
name: a listed place, organisation, people or person; what ends in 省, 市, 县, 族 and their like; an
  ending (大学, 公司, 银行) within or right behind such a name; what jieba knows as a place and ends as
  one; three letters or more of those that write foreign names, where it is no other word; a word with a
  dot, or of Latin letters with a capital; a word that begins with a surname and is no other word, beside
  a title (总理, 记者, 说), beside another such name, or of three characters with a frequent surname.
function: a listed particle, pronoun, preposition, conjunction, auxiliary, adverb or classifier.
content: the rest.

Characters as Taiwan and Hong Kong write them count as the simplified ones of the lists.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import accumulate, pairwise

from semcom.evaluation import chinese_lists as lists
from semcom.evaluation import english_words
from semcom.evaluation.chinese_lists import simplified
from semcom.evaluation.chinese_segmentation import Segmenter

_HAN = "\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_DOTS = "·•‧∙・"
_PIECE = re.compile(f"[{_HAN}]+(?:[{_DOTS}][{_HAN}]+)*|[^{_HAN}]+")
PERSON_LENGTHS = (2, 3)
"""Characters of a name of one; one more where the surname has two."""
FOREIGN_LENGTH = 3
"""Characters from which a word of those that write foreign names is one."""


def _number() -> re.Pattern[str]:
    """Of numerals, at the beginning of a word."""
    digit = "".join(sorted(lists.listed("numbers", "digits")))
    begins = f"(?:第|负)?(?:[百千万]分之)?(?:数(?=[十百千万亿])|[多余](?=[百千万亿]))?[{digit}]"
    goes_on = f"[{digit}多余]|点(?=[{digit}])|分之|(?<=[十百千万])来(?![一二三四五六七八九])"
    return re.compile(f"{begins}(?:{goes_on})*")


def _denial() -> re.Pattern[str]:
    """Where a word denies: by 不 if it has up to three characters, and at its beginning."""
    before = "|".join(sorted(lists.listed("negations", "before")))
    return re.compile(f"(?!(.)不\\1)(?=.{{1,3}}$).*不|(?:{before})?[不没无未勿]|(?:{before})非|[非别].")


_NUMBER, _DENIAL = _number(), _denial()
_NUMERALS = "[〇零一二两三四五六七八九十百千万亿]+"
_MIDDLE = 2
"""Place of 不 in a word of four characters that denies what stands before it: 资金不足."""
# What the segmentation must not part elsewhere: decimals, and the number, month, number and day of dates.
_WHOLE = re.compile(f"({_NUMERALS}点{_NUMERALS})|({_NUMERALS})(月)({_NUMERALS})([日号])")
_BEFORE_NUMBERS, _BEHIND_UNITS = frozenset("近上前后这那每另约逾"), frozenset("来间内前后")


def _divided(text: str, ends: Iterable[int]) -> list[str]:
    """Into words that end at these places."""
    return [text[begin:end] for begin, end in pairwise(sorted({0, *ends}))]


class ChineseWords:
    """segmenter: what divides runs of Chinese characters."""

    def __init__(self, segmenter: Segmenter):
        self.segmenter = segmenter
        self.places, self.people = lists.name_parts()
        self.not_numbers = lists.listed("numbers", "not numbers")
        self.number_words = lists.listed("numbers", "words")
        self.units = lists.listed("numbers", "units")
        self.compound_units = lists.listed("numbers", "compound units")
        self.negations = lists.listed("negations", "words")
        self.not_negations = lists.listed("negations", "not negations")
        self.no_denial_begins = tuple(lists.listed("negations", "prefixes"))
        self.no_denial_ends = tuple(lists.listed("negations", "nouns"))
        self.no_denial_tails = self.not_negations | lists.listed("negations", "tails")
        self.function_words = lists.listed("function_words")
        self.endings = lists.listed("names", "endings")
        self.inner_endings = self.endings | lists.listed("names", "inner endings")
        self.long_endings = tuple(lists.listed("names", "long endings"))
        self.not_names = lists.listed("names", "not names")
        self.foreign_letters = lists.listed("names", "foreign letters")
        self.surnames = lists.listed("persons", "surnames")
        self.common_surnames = lists.listed("persons", "common surnames")
        self.not_last = lists.listed("persons", "not last")
        self.before, self.behind = lists.listed("persons", "before"), lists.listed("persons", "behind")

    def words(self, text: str) -> list[str]:
        """The words of ``text`` in their order, as they are written, in Unicode's form NFKC."""
        return list(self._words(unicodedata.normalize("NFKC", text)))

    def _words(self, text: str) -> Iterator[str]:
        for piece in _PIECE.findall(text):
            if re.match(f"[{_HAN}]", piece):
                yield from self._of_run(piece)
            else:
                yield from english_words.words(piece)

    def _of_run(self, run: str) -> list[str]:
        """Of Chinese characters, some joined by dots: these join the words on their two sides."""
        words: list[str] = []
        for number, part in enumerate(re.split(f"[{_DOTS}]", run)):
            of_part = self._decimals_joined(self._numbers_parted(self._cut(part)))
            if number:
                words = self._joined_by_dot(words, of_part)
            else:
                words = of_part
        return words

    def _joined_by_dot(self, before: list[str], behind: list[str]) -> list[str]:
        """The words on its two sides as one, with what letters of foreign names stand alone beside them."""
        begins = len(before) - 1
        while begins and before[begins - 1] in self.foreign_letters:
            begins -= 1
        ends = 1
        while ends < len(behind) and behind[ends] in self.foreign_letters:
            ends += 1
        name = "".join(before[begins:]) + "·" + "".join(behind[:ends])
        return [*before[:begins], name, *behind[ends:]]

    def _cut(self, run: str) -> list[str]:
        plain = simplified(run)
        ends = set(accumulate(len(word) for word in self.segmenter.cut(plain)))
        for whole in _WHOLE.finditer(plain):
            begin, end = whole.span()
            if self.not_numbers.isdisjoint((plain[begin:end], plain[begin : end + 1])):  # 一点一点
                ends -= set(range(begin, end))
                ends |= {place for group in range(1, 6) for place in whole.span(group) if place > 0}
        return _divided(run, ends)

    def _numbers_parted(self, words: Sequence[str]) -> list[str]:
        """Numerals beside one another as one word, and each number apart from the unit behind it."""
        parted: list[str] = []
        for word in words:
            first, *others = self._number_apart(word)
            if parted and self._goes_on(parted[-1], first):
                parted[-1] += first
            else:
                parted.append(first)
            parted += others
        return parted

    def _decimals_joined(self, words: Sequence[str]) -> list[str]:
        """八 点 零七 as one word."""
        joined: list[str] = []
        for word in words:
            behind_point = len(joined) > 1 and simplified(joined[-1]) == "点" and self._is_numeral(joined[-2])
            if behind_point and self._is_numeral(word):
                joined[-2:] = [f"{joined[-2]}{joined[-1]}{word}"]
            else:
                joined.append(word)
        return joined

    def _goes_on(self, before: str, number: str) -> bool:
        """Whether two words of numerals are one number: 第 三, 百分之 五, 二十 三万."""
        both = simplified(before + number)
        return both not in self.not_numbers and bool(_NUMBER.fullmatch(both)) and self._is_numeral(before)

    def _is_numeral(self, word: str) -> bool:
        key = simplified(word)
        return key == "第" or (key not in self.not_numbers and bool(_NUMBER.fullmatch(key)))

    def _number_apart(self, word: str) -> list[str]:
        """A number and the unit or compound behind it, or what stands before it, each alone."""
        key = simplified(word)
        if key in self.not_numbers or key in self.number_words or key in self.places or key in self.people:
            return [word]
        begin = int(len(key) > 2 and key[0] in _BEFORE_NUMBERS)
        found = _NUMBER.match(key, begin)
        if not found:
            return [word]
        number, rest = found[0], key[found.end() :]
        if rest in self.units or not rest:
            counts = not begin or number[0] not in "一半"
            return _divided(word, {begin, found.end(), len(word)}) if counts else [word]
        unit = next((rest[:size] for size in (2, 1) if rest[:size] in self.compound_units), "")
        behind = rest[len(unit) :]
        long_enough = len(behind) > 1 or behind in _BEHIND_UNITS
        counts = unit == "等" or bool(unit) and number[0] not in "一半" and long_enough
        if not counts or _NUMBER.match(behind):
            return [word]
        return _divided(word, {begin, found.end(), found.end() + len(unit), len(word)})

    def kinds(self, words: Sequence[str]) -> list[str]:
        """The kind of each word of one sentence."""
        keys = [simplified(word) for word in words]
        kinds = [self._kind_alone(key) for key in keys]
        for place, (before, key) in enumerate(zip(keys, keys[1:]), 1):
            if key == f"不{before}":  # 会 不会 asks
                kinds[place] = "function"
        self._name_endings(keys, kinds)
        self._name_people(keys, kinds)
        return kinds

    def _kind_alone(self, key: str) -> str:
        """By the word itself."""
        if self._is_number(key):
            return "number"
        if self._denies(key):
            return "negation"
        if self._is_name(key):
            return "name"
        return "function" if key in self.function_words else "content"

    def _is_number(self, key: str) -> bool:
        has_digit = any(character.isdigit() for character in key)
        return has_digit or key in self.number_words or (key != "第" and self._is_numeral(key))

    def _denies(self, key: str) -> bool:
        if key in self.negations:
            return True
        if key in self.no_denial_tails or key in self.places or key.startswith(self.no_denial_begins):
            return False
        if len(key) > 2 and key.endswith(self.no_denial_ends):
            return False
        if len(key) == 4 and key[_MIDDLE] == "不":
            return key[_MIDDLE:] not in self.no_denial_tails
        return bool(_DENIAL.match(key)) and not self._is_foreign(key)

    def _is_name(self, key: str) -> bool:
        if key in self.places or key in self.people or "·" in key:
            return True
        if key in self._others:
            return False
        if key.isascii():
            return len(key) > 1 and any(character.isupper() for character in key)
        return self._ends_as_name(key) or self._is_foreign(key)

    def _ends_as_name(self, key: str) -> bool:
        """湖州市; 北京师范大学, which also begins with a name; what jieba knows as a place and ends so."""
        ends = {key[size:] for size in range(1, len(key))}
        if any(key[size:] in self.inner_endings and key[:size] in self.places for size in range(2, len(key))):
            return True
        if len(key) <= 2 or not ends.isdisjoint(self.not_names):
            return False
        if key.endswith(self.long_endings):
            return True
        begins = any(key[:size] in self.places for size in range(2, len(key)))
        if begins and not ends.isdisjoint(self.inner_endings):
            return True
        return not ends.isdisjoint(self.endings) and self._is_known(key)

    def _is_known(self, key: str) -> bool:
        unknown = self.segmenter.may_be_name(key, "")
        return not unknown and self.segmenter.may_be_name(key, "ns", "nt")

    def _is_foreign(self, key: str) -> bool:
        """阿拉法特"""
        long = len(key) >= FOREIGN_LENGTH and self.foreign_letters.issuperset(key)
        return long and key not in self._others and self.segmenter.may_be_name(key)

    def _name_endings(self, keys: Sequence[str], kinds: list[str]) -> None:
        """大学 right behind 北京."""
        for place, key in enumerate(keys[1:], 1):
            follows = kinds[place - 1] == "name" and keys[place - 1] not in self.people
            if follows and kinds[place] == "content" and key in self.endings:
                kinds[place] = "name"

    def _name_people(self, keys: Sequence[str], kinds: list[str]) -> None:
        around = ["", *keys, ""]
        open_ = {place for place, key in enumerate(keys) if kinds[place] == "content" and self._may_be(key)}
        named = {
            place
            for place in open_
            if around[place] in self.before
            or around[place + 2] in self.behind
            or self._is_person(keys[place])
        }
        new = named | {place for place, key in enumerate(keys) if key in self.people}
        while new := {place for near in new for place in (near - 1, near + 1)} & open_ - named:
            named |= new
        for place in named:
            kinds[place] = "name"

    def _may_be(self, key: str) -> bool:
        """Whether a name of a person may be written so."""
        surname = next((key[:size] for size in (2, 1) if key[:size] in self.surnames), "")
        fits = len(key) - len(surname) + 1 in PERSON_LENGTHS
        # 秦副总理
        possible = bool(surname) and fits and not key.endswith("副") and key not in self._others
        return possible and self.segmenter.may_be_name(key, "nr")

    def _is_person(self, key: str) -> bool:
        """By itself, where the segmentation took it for a word and no list has it."""
        surname = next((key[:size] for size in (2, 1) if key[:size] in self.common_surnames), "")
        return bool(surname) and len(key) - len(surname) == 2 and key[-1] not in self.not_last

    @cached_property
    def _others(self) -> frozenset[str]:
        return lists.all_words() - self.people
