"""The lines that say what to do next run when pasted."""

import shlex
from pathlib import Path

import pytest
from toy import spoken

from semcom.base.flags import settings_of
from semcom.commands import parsers
from semcom.commands.distil_summary import runs_folder
from semcom.commands.settings import TrainSettings, VocabSettings
from semcom.commands.vocabulary import make_vocabulary
from semcom.data.settings import CorpusConfig, VocabularyConfig


@pytest.mark.parametrize(
    "output, looked_in",
    [
        ("checkpoints/distillation", "checkpoints"),
        ("checkpoints/studies/a/b", "checkpoints"),
        ("./checkpoints/a", "checkpoints"),
        ("实验/甲", "实验"),
        ("studies/a b/c", "studies/a b"),
        ("甲", "甲"),
        ("../elsewhere/a", "../elsewhere/a"),
        ("/tmp/a", "/tmp/a"),
    ],
)
def test_an_analysis_looks_where_the_run_is(output, looked_in, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert runs_folder(Path(output)) == looked_in


@pytest.mark.parametrize("files", [(), ("a text.txt",)])
def test_a_vocabulary_is_followed_by_a_training_on_its_text(files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for file in files:
        (tmp_path / file).write_text("".join(f"sentence {n} of some {n * 7} words\n" for n in range(300)))
    corpus = CorpusConfig(corpus=files, corpus_size=300, **({"min_length": 2} if files else {}))
    wanted = VocabularyConfig(size=300 if files else 400)
    with spoken() as lines:
        make_vocabulary(VocabSettings(output="a b.model", vocabulary=wanted, corpus=corpus))
    python, *module, verb = shlex.split(lines[-1].removeprefix("next: "))[:4]
    assert (python, module, verb) == ("python", ["-m", "semcom"], "train")
    words = shlex.split(lines[-1].removeprefix("next: "))[3:]
    asked = settings_of(TrainSettings, parsers.package_parser().parse_args(words))
    assert (asked.vocab, asked.output) == ("a b.model", "a b.pt")
    assert (asked.corpus.corpus, asked.corpus.min_length) == (files, corpus.min_length)
