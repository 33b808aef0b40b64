"""What the study of the dial measures of transceivers, as rows."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import torch

from semcom.commands import dial_ladder
from semcom.commands.dial_ladder import Plan
from semcom.data.batching import by_length
from semcom.distillation import losses
from semcom.evaluation import bootstrap, calibration, pair_matrix, path_search
from semcom.evaluation.intervals import Interval
from semcom.evaluation.pairs import Run, pair_up
from semcom.evaluation.path_search import Found, OutOfReach, Readings
from semcom.evaluation.ruler import Ruler
from semcom.evaluation.study import Study
from semcom.models import transceiver
from semcom.models.checkpoint import Checkpoint
from semcom.models.link import send
from semcom.models.settings import RECEIVER_PARTS
from semcom.models.transceiver import Transceiver

Row = dict[str, object]
BINS = 15
"""Of the calibration error."""


class Dial:
    """The dial of one path, whose scan is read once."""

    def __init__(self, plan: Plan):
        self.plan, self.path = plan, plan.dialled.path
        self.readings = Readings(self.path, plan.ruler(plan.validation), plan.target)
        self.scan = path_search.scan(self.readings, dial_ladder.SCANNED_BLOCKS)
        self.test = plan.ruler(plan.test)

    def find(self, target: float) -> Found:
        """Raises OutOfReach."""
        return path_search.find(self.readings, self.scan, target)

    def hybrid(self, target: float) -> Checkpoint:
        model = self.path.at(self.find(target).reading.place)
        return replace(self.plan.dialled.best, model=model)

    def value_of(self, model: Transceiver) -> float:
        """The divergence of a model that is not on the path, on all validation sentences."""
        return interval_of(self.plan, self.readings.ruler, model).value

    def reached(self, target: float) -> Row:
        """Where a target was found and what it is on test sentences. half_width: of the 95 % interval of the
        difference between test and validation, over the target."""
        try:
            found = self.find(target)
        except OutOfReach as error:
            return {"target": target, "why": str(error)}
        test = interval_of(self.plan, self.test, self.path.at(found.reading.place))
        test_error = (test.high - test.low) / (2 * 1.96)
        return {
            "target": target,
            "place": found.reading.place,
            "evaluations": len(found.used),
            "validation": found.reading.value,
            "test": test.value,
            "low": test.low,
            "high": test.high,
            "off": test.value / target - 1,
            "half_width": 1.96 * float(np.hypot(test_error, found.reading.error)) / target,
        }


def interval_of(plan: Plan, ruler: Ruler, model: Transceiver) -> Interval:
    """The divergence of a model on all sentences of a ruler."""
    ours, theirs = ruler.sums_of_all(model)
    weights = bootstrap.resamples(len(ours), dial_ladder.REPLICATES, plan.seed)
    found = bootstrap.interval(plan.target.value(weights @ ours, weights @ theirs))
    assert found is not None
    return found


def described(plan: Plan, models: Mapping[str, Checkpoint]) -> list[Row]:
    """A row a model: all measures at the reference SNR, BLEU at all, entropy and calibration error."""
    runs = [Run(name, made, made.config) for name, made in models.items()]
    study = study_of(plan, runs)
    rows: list[Row] = []
    for run in runs:
        values = study.values(study.pairing.own[run.label])
        row: Row = {name: float(value[study.at_reference, 0]) for name, value in values.items()}
        row |= {f"bleu_{snr:g}": float(values["bleu"][k, 0]) for k, snr in enumerate(study.snrs)}
        rows.append({"model": run.label, **row, **certainty(plan, run.checkpoint.model)})
    return rows


def study_of(plan: Plan, runs: list[Run]) -> Study:
    """The runs' own pairs beside the teacher's."""
    teacher, snr = plan.dialled.teacher, plan.ask.reference_snr
    who = pair_up(teacher, runs)
    who.pairs = list({pair.key: pair for pair in (who.reference, *who.own.values())}.values())
    meeting = plan.meeting(plan.evaluation.snr)
    fitted = calibration.fit(who.pairs, who.reference, plan.validation[:300], meeting, snr)
    found = pair_matrix.measure(
        who.pairs,
        who.reference,
        plan.test,
        teacher.vocabulary,
        meeting,
        cka_snr=snr,
        cache=None,
        temperatures=fitted,
    )
    return Study(who, found, "awgn", True, snr, 2000, plan.seed, teacher.vocabulary.decode)


@torch.inference_mode()
def certainty(plan: Plan, model: Transceiver) -> Row:
    """Mean entropy in nats of the next-piece distribution after gold prefixes, and expected calibration error
    of its first choice over ``BINS`` equal bins (Guo et al. 2017, equation 5)."""
    entropy, sure, right = (np.concatenate(parts) for parts in zip(*_predictions(plan, model)))
    number = np.minimum((sure * BINS).astype(int), BINS - 1)
    parts = [(sure[number == k], right[number == k]) for k in range(BINS) if (number == k).any()]
    error = sum(len(p) * abs(p.mean() - hit.mean()) for p, hit in parts) / len(sure)
    return {"entropy": float(entropy.mean()), "calibration_error": float(error)}


def _predictions(plan: Plan, model: Transceiver) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Of each target token: entropy, probability of the first choice, whether it is right."""
    meeting = plan.meeting((plan.ask.reference_snr,))
    model.eval()
    for batch in by_length(plan.test, meeting.batch_size):
        sent = send(model.transmitter, batch, meeting.channel, meeting.snrs, seed=meeting.seed)
        (received,) = sent.heard_by(model.receiver)
        states = model.receiver(received, batch.source_mask, batch.target_in)[batch.target_mask]
        logs = losses.log_softmax(model.receiver.project(states))
        best, choice = logs.max(-1)
        right = choice == batch.target_out[batch.target_mask]
        yield -(logs.exp() * logs).sum(-1).numpy(), best.exp().numpy(), right.double().numpy()


def interaction(plan: Plan, sender: Checkpoint, listener: Checkpoint) -> list[Row]:
    """Of a mismatched transmitter and a mismatched receiver: what each adds and what both do, at each SNR."""
    both = replace(
        listener,
        model=transceiver.splice(sender.model, listener.model, RECEIVER_PARTS),
        config={**listener.config, "distill_part": "full"},
    )
    study = study_of_square(plan, both)
    found = study.effects(*study.pairing.squares)
    rows: list[Row] = []
    for row in found.to_dict("records"):
        parts = {name: row[name] for name in ("transmitter", "receiver", "interaction", "total")}
        ends = {name: [p.value, p.low, p.high] for name, p in parts.items()}
        rows.append({"measure": row["measure"], "snr": row["snr"], **ends})
    return rows


def study_of_square(plan: Plan, both: Checkpoint) -> Study:
    teacher, snr = plan.dialled.teacher, plan.ask.reference_snr
    who = pair_up(teacher, [Run("both", both, both.config)], "all")
    who.pairs = [pair for pair in who.pairs if pair.draw == 0]
    meeting = plan.meeting(plan.evaluation.snr)
    found = pair_matrix.measure(
        who.pairs, who.reference, plan.test, teacher.vocabulary, meeting, cka_snr=snr, cache=None
    )
    return Study(who, found, "awgn", True, snr, 2000, plan.seed, teacher.vocabulary.decode)
