"""JSON from files: what is taken, what is refused and why."""

import json
import os
import time

import pytest

from semcom.base import json_files
from semcom.base.json_files import NotJSON

VALUE = {"a": [1, 2.5, None, True], "b": {"c": "naïve 漢字"}}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_any_encoding_of_json_with_or_without_a_mark(tmp_path, encoding):
    (tmp_path / "a.json").write_bytes(json.dumps(VALUE, ensure_ascii=False).encode(encoding))
    assert json_files.read(tmp_path / "a.json") == VALUE


@pytest.mark.parametrize(
    "content, why",
    [
        (b"", "no JSON"),
        (b"{", "no JSON.*line 1"),
        (b"[1,\n2", "line 2"),
        (b'{"a": 1, "a": 2}', "'a' twice"),
        (b'{"b": [{"\\u0061": 1, "a": 2}]}', "'a' twice"),
        (b"[NaN]", "NaN, which is no finite number"),
        (b"[-Infinity]", "-Infinity"),
        (b"[1e999]", "1e999"),
        (b"9" * 4300, "4,300 digits"),
        (b"-" + b"9" * 5000, "digits"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b'{"a": "\xff"}', "not UTF-8 from byte 7 on"),
        (b'["' + b"a" * 2000 + b'"]', "larger than 1,000 bytes"),
    ],
)
def test_what_is_refused(tmp_path, content, why):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(NotJSON, match=why):
        json_files.read(tmp_path / "a.json", 1_000 if "larger" in why else 10**9)


def test_what_is_no_file_is_answered_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    started = time.monotonic()
    for path in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(NotJSON, match="no regular file"):
            json_files.read(path)
    assert time.monotonic() - started < 5
    with pytest.raises(OSError):
        json_files.read(tmp_path)


def test_a_digest_is_of_what_stands_beside_it():
    kept = json_files.digested(VALUE)
    assert json_files.undigested(json.loads(json.dumps(kept))) == VALUE
    assert json_files.undigested(dict(reversed(kept.items()))) == VALUE
    for other in ({**kept, "a": [1]}, {**kept, "more": 1}, {**kept, "digest": 5}, VALUE, [kept], None):
        with pytest.raises(NotJSON, match="digest"):
            json_files.undigested(other)
