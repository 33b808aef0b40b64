"""What the runs of an example came to, side by side."""

from collections.abc import Sequence

from semcom.commands.distil import Outcome
from semcom.commands.distil_settings import DistilSettings
from semcom.evaluation import frames
from semcom.evaluation.text_scoring import scored_alike
from semcom.report import tables


def table(runs: Sequence[DistilSettings], outcomes: Sequence[Outcome]) -> str:
    """A row a run, with BLEU where it is of the same words in all."""
    records = [outcome.record for outcome in outcomes]
    rows, bleu = [_row(*run) for run in zip(runs, outcomes)], [_bleu(outcome) for outcome in outcomes]
    titles = ["run", "part", "T", "channel", "validation CE", "compression"]
    if not scored_alike(records):
        left_out = "BLEU is left out: it is not of the same words in all runs"
        return f"{tables.text(frames.frame_of(rows, titles))}\n{left_out}"
    rows = [[*row, *scores.values()] for row, scores in zip(rows, bleu)]
    found = tables.text(frames.frame_of(rows, [*titles, *bleu[-1]]))
    return f"{found}\nBLEU {records[-1]['bleu_signature']}"


def _row(settings: DistilSettings, outcome: Outcome) -> list[object]:
    return [
        outcome.record["output_path"],
        settings.distillation.distill_part,
        settings.distillation.temperature,
        settings.channel.channel,
        outcome.record["best_loss"],
        outcome.record["compression_ratio"],
    ]


def _bleu(outcome: Outcome) -> dict[str, float]:
    """Of the student by SNR, and of the teacher at the last, by their titles."""
    overall = outcome.scores.query("topic == ''")
    by_model = {model: by_snr["bleu"].tolist() for model, by_snr in overall.groupby("model")}
    snrs = [f"{snr:g} dB" for snr in overall["snr"].unique()]
    students = {f"BLEU {snr}": value for snr, value in zip(snrs, by_model["student"])}
    return students | {f"teacher {snrs[-1]}": by_model["teacher"][-1]}
