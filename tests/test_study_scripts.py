"""The scripts of the studies of mismatch repaired, on tables that are there already."""

import re

import pandas as pd
import pytest

from benchmarks import alignment_study, baseline_study


@pytest.fixture
def aligned(here):
    """What align would have left of two teachers: maps, and a tuned receiver at one number of pilots."""
    rows = []
    for way, pilots, gain in [("linear", 10, 1.0), ("linear", 100, 5.0), ("decoder", 100, 20.0)]:
        for snr in (6.0, 12.0):
            ends = {"gain": gain + snr, "own_gain": 0.1, "repeated_gain": 0.5}
            cells = {
                f"{name}{end}": value + off
                for name, value in ends.items()
                for end, off in (("", 0), (" low", -1), (" high", 1))
            }
            plain = {"own": 50.0, "senders": 60.0, "unaligned": 10.0, "recovery": None if snr == 6 else 0.5}
            rows.append(
                {"way": way, "pilots": pilots, "symbols": pilots * 136.0, "snr": snr, **cells, **plain}
            )
    frame = pd.DataFrame(rows)
    for way, of_way in frame.groupby("way"):
        folder = here / "study" / f"two_teachers_{'maps' if way == 'linear' else way}"
        folder.mkdir(parents=True)
        of_way.to_csv(folder / "alignment.csv", index=False)
    return here


def test_the_tables_of_an_alignment_study(aligned, capsys, monkeypatch):
    monkeypatch.setattr(alignment_study, "align", None)
    words = ["--teacher", "a.pt", "--other", "b.pt", "--folder", "study", "--by", "linear", "decoder"]
    alignment_study.main([*words, "--figure", "gain.svg"])
    shown = re.sub(" +", " ", capsys.readouterr().out)
    assert "| linear | 13.0 [12.0, 14.0] | 17.0 [16.0, 18.0] |" in shown, "by pilots, at 12 dB"
    assert "| decoder | – | 32.0 [31.0, 33.0] |" in shown
    assert "| linear | – | 0.50 |" in shown, "recovery"
    assert "| receiver's own pair | 50.0 | 50.0 |" in shown
    together = pd.read_csv(aligned / "study" / "alignment_study.csv")
    assert len(together) == 6 and set(together["pair"]) == {"two teachers"}
    assert (aligned / "gain.svg").exists()


def test_what_is_missing_is_measured_by_align(here, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(alignment_study, "align", asked.append)
    words = ["--teacher", "a.pt", "--student", "s.pt", "--folder", "study", "--by", "linear", "decoder"]
    alignment_study.main([*words, "--tuned-draws", "1", "--corpus", "c.en"])
    maps, tuned = asked
    assert maps.by == ("linear",) and maps.draws == 5 and maps.map_snr == "each"
    assert tuned.by == ("decoder",) and tuned.draws == 1 and tuned.pilots == (100,)
    assert {each.corpus.corpus for each in asked} == {("c.en",)}
    assert {(each.transmitter, each.receiver) for each in asked} == {("a.pt", "s.pt")}


def test_pilots_of_several_choices_are_rows_of_their_own(aligned, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(alignment_study, "align", asked.append)
    choices = ["--pilot-choice", "random", "covering"]
    words = ["--teacher", "a.pt", "--other", "b.pt", "--folder", "study", "--by", "linear", *choices]
    alignment_study.main(words)
    (covering,) = asked
    assert covering.pilot_choice == "covering" and covering.output_path == "study/two_teachers_covering_maps"
    (aligned / "study" / "two_teachers_maps").rename(aligned / "study" / "two_teachers_covering_maps")
    alignment_study.main([*words, "--report"])
    assert "| linear, covering pilots |" in capsys.readouterr().out


def test_a_baseline_study_tells_where_curves_cross(here, capsys):
    folder = here / "study"
    folder.mkdir()
    snrs = [0.0, 6.0, 12.0]
    for channel, coded in (("awgn", [0.0, 20.0, 90.0]), ("rayleigh", [0.0, 1.0, 2.0])):
        own = [{"model": "t", "snr": snr, "topic": None, "bleu": 10 * k} for k, snr in enumerate(snrs, 1)]
        pd.DataFrame(own).to_csv(folder / f"{channel}_teacher.csv", index=False)
        curve = [
            {"model": "lm + LDPC", "snr": snr, "bleu": bleu, "shown": True} for snr, bleu in zip(snrs, coded)
        ]
        hidden = [{**row, "model": "hidden", "shown": False} for row in curve]
        pd.DataFrame([*curve, *hidden]).to_csv(folder / f"{channel}.csv", index=False)
    words = ["--teacher", "t.pt", "--folder", "study", "--snr", "0", "6", "12"]
    baseline_study.main([*words, "--figure", "study.svg"])
    shown = capsys.readouterr().out
    assert "(6.0), baseline ahead above" in shown and "none: model ahead throughout" in shown
    assert "hidden" not in shown and (here / "study.svg").exists()
    assert len(pd.read_csv(folder / "baseline_study.csv")) == 12
