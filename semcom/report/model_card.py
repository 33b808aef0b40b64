"""A model card as the Hugging Face Hub reads it: a header in YAML, and Markdown.

It says what is recorded or measured, and nothing else. Every string may be a stranger's: control characters
are spelled out, YAML is written by its library, text is escaped for Markdown.
The header's names: https://github.com/huggingface/hub-docs/blob/main/modelcard.md
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from semcom.base.errors import escape
from semcom.report import tables
from semcom.report.formats import markdown_text

LIBRARY = "semcom"
TASK = {"type": "text2text-generation", "name": "sentences sent over a noisy channel"}
WHAT_IT_IS = (
    "A transceiver of semantic communication, made with semcom: its transmitter turns a sentence into "
    "symbols of a noisy channel, its receiver turns what arrives into a sentence again."
)
USE = """\
## How to use it

From a clone of semcom, with `pip install .[safetensors]`:

```bash
hf download USER/NAME --local-dir FOLDER
python -m semcom import FOLDER --output model.pt
python -m semcom transmit "a sentence" --checkpoints model.pt --snr 12
```

```python
from semcom import Checkpoint

checkpoint = Checkpoint.from_pretrained("FOLDER")  # its .model is a torch module, its .vocabulary cuts text
```"""
NOT_MEASURED = "No measurement came with this export."


@dataclass(frozen=True)
class Metric:
    """type: of the hub. name: before people. decimals: of the value. scale: what a table multiplies it by."""

    type: str
    name: str
    decimals: int
    scale: float = 1


METRICS = {
    "bleu": Metric("sacrebleu", "BLEU", 2),
    "chrf": Metric("chrf", "chrF", 2),
    "exact": Metric("exact_match", "exact sentences, %", 4, scale=100),
}
"""Column of what ``evaluate`` writes -> what it is on a card."""


@dataclass(frozen=True)
class Measured:
    """rows: of a channel and an SNR in dB each, with ``sentences`` and the values of ``METRICS``. text: what
    they were measured on. conditions: how, by label. signatures: of sacrebleu, by column."""

    rows: Sequence[Mapping[str, Any]]
    text: str
    split: str
    conditions: Mapping[str, str]
    signatures: Mapping[str, str]

    def name(self, column: str) -> str:
        """Of a metric, before people."""
        name = METRICS[column].name
        return f"{name}++" if column == "chrf" and "nw:2" in self.signatures.get(column, "") else name


@dataclass(frozen=True)
class Card:
    """languages: BCP 47. facts: what it is, made: how, parts: where the weights of each part come from, each
    by label. license: an identifier of the hub."""

    title: str
    license: str | None
    languages: Sequence[str]
    tags: Sequence[str]
    facts: Mapping[str, str]
    parts: Mapping[str, str]
    made: Mapping[str, str]
    measured: Measured | None


def page(card: Card) -> str:
    """The card as README.md."""
    sections = [
        f"# {markdown_text(card.title)}",
        WHAT_IT_IS,
        _table(("", "value"), card.facts),
        USE,
        "## How it was made",
        _table(("part", "weights"), card.parts),
        _table(("", "as recorded"), card.made),
        "`config.json` holds the whole record.",
        "## How it was measured",
        *(_measured(card.measured) if card.measured else [NOT_MEASURED]),
    ]
    return f"---\n{_header(card)}---\n\n" + "\n\n".join(sections) + "\n"


def _header(card: Card) -> str:
    import yaml

    fields = {
        "license": card.license,
        "language": list(card.languages),
        "library_name": LIBRARY,
        "tags": [escape(tag) for tag in card.tags],
        "metrics": [metric.type for metric in METRICS.values()] if card.measured else [],
        "model-index": [_results(card.title, card.measured)] if card.measured else [],
    }
    given = {name: value for name, value in fields.items() if value}
    written: str = yaml.safe_dump(given, sort_keys=False, allow_unicode=True, width=10_000)
    return written


def _results(title: str, measured: Measured) -> dict[str, Any]:
    conditions = {label: escape(each) for label, each in measured.conditions.items()}
    dataset = {"name": escape(measured.text), "type": "text", "split": escape(measured.split)}
    metrics = [
        _result(column, row, measured)
        for row in measured.rows
        for column in METRICS
        if row[column] is not None
    ]
    result = {"task": TASK, "dataset": {**dataset, "args": conditions}, "metrics": metrics}
    return {"name": escape(title), "results": [result]}


def _result(column: str, row: Mapping[str, Any], measured: Measured) -> dict[str, Any]:
    metric, channel = METRICS[column], escape(row["channel"])
    signature = measured.signatures.get(column)
    arguments = {"channel": channel, "snr_db": row["snr"], "sentences": row["sentences"]}
    return {
        "type": metric.type,
        "value": round(row[column], metric.decimals),
        "name": f"{measured.name(column).removesuffix(', %')}, {channel}, {row['snr']:g} dB",
        "args": {**arguments, **({"signature": escape(signature)} if signature else {})},
    }


def _measured(measured: Measured) -> list[str]:
    titles = ["channel", "SNR in dB", "sentences", *map(measured.name, METRICS)]
    columns = [
        [markdown_text(str(row["channel"])) for row in measured.rows],
        [f"{row['snr']:g}" for row in measured.rows],
        [f"{row['sentences']:,}" for row in measured.rows],
        *([_shown(row[name], metric) for row in measured.rows] for name, metric in METRICS.items()),
    ]
    signatures = {
        f"sacrebleu's signature of {measured.name(column)}": each
        for column, each in measured.signatures.items()
    }
    by_label = {"text": measured.text, "split": measured.split, **measured.conditions, **signatures}
    sides = ["left", *["right"] * (len(titles) - 1)]
    return [tables.markdown(titles, columns, sides), _table(("", "how"), by_label)]


def _shown(value: float | None, metric: Metric) -> str:
    return "" if value is None else f"{value * metric.scale:.2f}"


def _table(titles: tuple[str, str], rows: Mapping[str, str]) -> str:
    columns = [[markdown_text(each) for each in column] for column in (rows.keys(), rows.values())]
    return tables.markdown(titles, columns, ["left", "left"])
