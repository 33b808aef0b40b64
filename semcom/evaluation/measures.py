"""What a pair of ends made of sentences, as sums by sentence of which every measure is a function."""

import numpy as np

from semcom.evaluation import text_metrics

FORCED = ("nats", "kl", "js", "agree", "distance", "own_tokens", "own_kl")
"""Sums over a sentence's target tokens, on gold prefixes: cross-entropy, KL and JS from the reference (nats),
agreements of the most probable piece, mean squared differences of decoder states; and on the reference's own
decodings: tokens and KL."""
TO_SENT, TO_REFERENCE = (
    [f"{to}_{name}" for name in text_metrics.BLEU_COLUMNS] for to in ("sent", "reference")
)
COLUMNS = ("tokens", "matches", "exact", "sentences", *FORCED, *TO_SENT, *TO_REFERENCE)
PLACE = {name: index for index, name in enumerate(COLUMNS)}


def measures(sums: np.ndarray) -> dict[str, np.ndarray]:
    """[..., len(COLUMNS)] over any set of sentences -> all measures of docs/definitions.md, each [...]."""
    column = {name: sums[..., index] for name, index in PLACE.items()}
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "bleu": text_metrics.bleu_of(sums[..., PLACE[TO_SENT[0]] : PLACE[TO_SENT[-1]] + 1]),
            "token_accuracy": column["matches"] / column["tokens"],
            "exact": column["exact"] / column["sentences"],
            "cross_entropy": column["nats"] / column["tokens"],
            "kl_divergence": column["kl"] / column["tokens"],
            "kl_reference_prefix": column["own_kl"] / column["own_tokens"],
            "js_divergence": column["js"] / column["tokens"],
            "agreement_rate": column["agree"] / column["tokens"],
            "representation_distance": column["distance"] / column["tokens"],
            "bleu_to_reference": np.where(
                np.isnan(column["kl"]), np.nan, text_metrics.bleu_of(sums[..., PLACE[TO_REFERENCE[0]] :])
            ),
        }
