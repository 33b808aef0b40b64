"""What text is wrapped in: elements of XML, SGML and web pages, JSON, subtitles, treebanks. Told by structure
that goes on, not by a first line: text may begin with anything."""

import json
import re
from collections.abc import Sequence

from semcom.data.file_kinds import Named, refusal

_LINES_LOOKED_AT = 50
_MOST = 0.75
_PARSED = "python -c \"import sys, xml.etree.ElementTree as E; print(*(' '.join(''.join({}).split()) "
_PARSED += "for e in E.parse(sys.argv[1]).iterfind('.//{}'){}), sep='\\n')\" FILE > TEXT"
_ENGLISH = " if any(v.startswith('en') for v in e.attrib.values())"
_ALL = "xmllint --xpath 'string(/)' FILE > TEXT"
_HTML = "pandoc -f html -t plain --wrap=none -o TEXT FILE"
_ROOTS = {
    "html": ("a web page", _HTML),
    "mediawiki": ("a dump of Wikipedia", "wikiextractor FILE -o - > TEXT"),
    "tmx": ("a translation memory (TMX)", _PARSED.format("e.find('seg').itertext()", "tuv", _ENGLISH)),
    "xliff": ("a file of translations (XLIFF)", _PARSED.format("e.itertext()", "{*}source", "")),
}
_SGM = frozenset(("srcset", "refset", "tstset", "mteval", "doc", "seg"))
_ELEMENTS = ("seg", "s", "sentence", "p", "text", "title")
_TAG = re.compile(r"<([A-Za-z][\w:.-]*)(?=[\s/>])[^<>]*>")
_PROLOG = (("<?", "?>"), ("<!--", "-->"), ("<!", ">"))
_SUBTITLES = re.compile(r"\ufeff?(?:WEBVTT\b|(?:\d{1,6}\s{1,4})?\d\d:\d\d:\d\d[,.]\d{3} --> )")
_OF_SUBTITLES = r"sed -E '/^[0-9]+\r?$/d; /-->/d; /^WEBVTT/d; /^\r?$/d' < FILE > TEXT"
_TREEBANK = re.compile(r"^1\t", re.MULTILINE)
_JSON_BEGINS = re.compile(r"\s*(?:\[|\{\s*\n)")


def check(named: Named, text: str) -> None:
    """Raise SemcomError that names what the first text of a file is wrapped in, and what unwraps it."""
    if found := _wrapper(text):
        raise refusal(named, *found)


def _wrapper(text: str) -> tuple[str, str] | None:
    """Its name, and the command that unwraps it."""
    if _SUBTITLES.match(text) and " --> " in text:
        return "a file of subtitles", _OF_SUBTITLES
    if text.startswith("# ") and "# text = " in text and _TREEBANK.search(text):
        return "a treebank (CoNLL-U)", "sed -n 's/^# text = //p' < FILE > TEXT"
    return _json(text) or _markup(text)


def _json(text: str) -> tuple[str, str] | None:
    """Arrays or strings, one a line, or one value over many lines; objects one a line are tables."""
    lines = [line for line in text.split("\n") if line.strip()][:_LINES_LOOKED_AT]
    values = [_value(line) for line in lines]
    if len(lines) > 1 and all(isinstance(value, str) for value in values):
        return "JSON lines of strings", "jq -r . < FILE > TEXT"
    if len(lines) > 1 and all(isinstance(value, list) and value for value in values):
        return "JSON lines of arrays", "jq -r '.[0]' < FILE > TEXT"
    if _JSON_BEGINS.match(text) and '"' in text and _reads_as_json(text):
        return "JSON over many lines", "jq -r '.[].KEY' < FILE > TEXT"
    return None


def _value(line: str) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _reads_as_json(text: str) -> bool:
    """Whether it is, as far as it goes: it may be cut, or go on with another value."""
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        goes_on = error.msg == "Extra data" and "\n" in text[: error.pos].rstrip()
        return goes_on or error.pos > 0.9 * len(text.rstrip())
    except (ValueError, RecursionError):  # a long number, or deep
        return True
    return True


def _markup(text: str) -> tuple[str, str] | None:
    """Elements within elements, or one a line, of which some are closed; lines such as ``<P>`` of Europarl
    between lines of text are not."""
    body = _after_prolog(text)
    first = _TAG.match(body)
    if not first:
        return None
    root = first[1].lower()
    declared = body is not text and re.match(r"\s*<(?:\?xml|!DOCTYPE)", text, re.IGNORECASE) is not None
    nested = body[first.end() :].lstrip().startswith("<")
    lines = [line for line in text.split("\n") if line.strip()]
    in_tags = sum(line.lstrip().startswith("<") for line in lines)
    closed = text.count("</")
    is_markup = closed > 1 and (nested or len(lines) > 1) and in_tags > _MOST * len(lines)
    if root in _ROOTS and (declared or nested):
        return _ROOTS[root]
    if not (declared or is_markup):
        return None
    return _elements(text, root, lines)


def _after_prolog(text: str) -> str:
    """Without declarations and comments, found by their ends so that none is looked at twice."""
    at = len(text) - len(text.lstrip())
    while mark := next((pair for pair in _PROLOG if text.startswith(pair[0], at)), None):
        end = text.find(mark[1], at)
        if end < 0:
            return ""
        at = end + len(mark[1])
        while text[at : at + 1].isspace():
            at += 1
    return text[at:] if at else text


def _elements(text: str, root: str, lines: Sequence[str]) -> tuple[str, str]:
    """The likely elements of sentences, by a parser where there is one root, else line by line."""
    if root in _SGM and "<seg" in text:
        return "an SGM file", _line_by_line("seg")
    name = next((name for name in _ELEMENTS if re.search(rf"<{name}[ >]", text)), "")
    if root == name:
        return "lines of elements", _line_by_line(name)
    return "an XML file", _PARSED.format("e.itertext()", "{*}" + name, "") if name else _ALL


def _line_by_line(name: str) -> str:
    return rf"sed -n 's/.*<{name}\( [^>]*\)\{{0,1\}}>\(.*\)<\/{name}>.*/\2/p' < FILE > TEXT"
