"""The benchmark of large corpora makes the text that it says, and measures processes."""

import json
import sys

from benchmarks import corpus
from semcom.data.settings import CorpusConfig


def test_lines_are_distinct_but_for_one_in_twenty():
    lines = list(corpus.lines(4000))
    assert len(lines) == 4000 and len(set(lines)) == 3800
    assert 100 < sum(len(f"{line}\n".encode()) for line in lines) / 4000 < 125
    words = [len(line.split()) for line in lines]
    assert CorpusConfig.min_length <= min(words) and max(words) <= CorpusConfig.max_length


def test_a_process_is_measured():
    held = "x = bytearray(200_000_000); sum(range(10**6)); print('{\"a\": 1}')"
    small, large = (corpus.of_process([sys.executable, "-c", code], {}) for code in ("print()", held))
    assert large["peak"] > small["peak"] + 150e6 and large["stages"] == {"a": 1} and not small["stages"]
    assert 0 < small["cpu_seconds"] and 0 < small["seconds"]


def test_what_is_measured_is_shown_and_written(tmp_path, monkeypatch, capsys):
    def measured(command, environment):
        is_train = "train" in command
        stages = {} if is_train else {"read": 1.5, "encoded": 2.5}
        return {"seconds": 12.34, "cpu_seconds": 3.0, "peak": 500_000_000, "stages": stages}

    monkeypatch.setattr(corpus, "of_process", measured)
    corpus.main(["--quick", "--json", str(tmp_path / "a.json")])
    printed = capsys.readouterr().out
    assert "12.3 s, 500 MB" in printed and "1.50, 1.50 | 2.50, 2.50" in printed
    record = json.loads((tmp_path / "a.json").read_text())
    assert [found["lines"] for found in record["sizes"]] == list(corpus.QUICK_SIZES) and record["cpu"]
