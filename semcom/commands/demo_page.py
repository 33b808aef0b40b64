"""The demo's page: what one sees and moves, and what is then asked of ``Answers``."""

import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from semcom.base.messages import N_
from semcom.channel.settings import KINDS
from semcom.commands.demo_answers import HIGHEST_SNR, LARGEST_SEED, LONGEST, LOWEST_SNR, Answers
from semcom.report import sentence_page
from semcom.report.catalogue import translation

if TYPE_CHECKING:
    import gradio as gr

SNRS = LOWEST_SNR, HIGHEST_SNR
LANGUAGES = {"English": "en", "中文": "zh"}
WITHOUT_FRAME: dict[str, Any] = {"show_label": False, "container": False, "scale": 0, "min_width": 170}
QUEUED = 16
"""Visitors' questions that wait at most; one more is told that the queue is full."""
FONTS = [
    "system-ui",
    "-apple-system",
    "Segoe UI",
    "Roboto",
    "Noto Sans",
    "PingFang SC",
    "Microsoft YaHei",
    "Noto Sans CJK SC",
    "WenQuanYi Micro Hei",
    "sans-serif",
]
"""Of the visitor's machine: gradio's own themes ask a server for theirs."""
TITLE = N_("One sentence, several receivers")
LEAD = N_(
    "A transmitter turns your sentence into a few symbols, noise falls on them, and each receiver says what "
    "it understood. Move the SNR, and watch where their knowledge parts them."
)
SENTENCE = N_("Sentence")
CHANNEL = N_("Channel")
SNR = N_("SNR in dB")
SEED = N_("Noise seed")
SEND = N_("Send")
ANOTHER = N_("Other noise")
DIAL = N_("Dial of the hybrid: along the path of its run")


def quietly() -> None:
    """gradio and what it imports ask nobody: no analytics, no look for newer versions, no hub."""
    os.environ.update(GRADIO_ANALYTICS_ENABLED="False", HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1")
    logging.getLogger("httpx").setLevel(logging.WARNING)


@dataclass(frozen=True)
class Parts:
    """What the visitor sees and moves, but for what is always the same."""

    heading: "gr.HTML"
    language: "gr.Radio"
    sentence: "gr.Textbox"
    send: "gr.Button"
    examples: "list[gr.Button]"
    snr: "gr.Slider"
    channel: "gr.Dropdown"
    seed: "gr.Number"
    another: "gr.Button"
    dial: "gr.Slider"
    reading: "gr.HTML"
    cards: "gr.HTML"
    pictures: "gr.HTML"

    @property
    def asked(self) -> list[Any]:
        return [self.sentence, self.channel, self.snr, self.seed, self.dial, self.language]

    @property
    def answered(self) -> list[Any]:
        return [self.reading, self.cards, self.pictures]

    @property
    def worded(self) -> dict[Any, str]:
        """Those with a word on them, in English."""
        labels = {self.sentence: SENTENCE, self.channel: CHANNEL, self.snr: SNR, self.seed: SEED}
        return {**labels, self.dial: DIAL, self.send: SEND, self.another: ANOTHER}


@dataclass(frozen=True)
class First:
    """What stands there when the page is opened. examples: sentences to click, the first of them sent."""

    examples: Sequence[str]
    snr: float
    seed: int
    lang: str


def page(answers: Answers, first: First) -> "gr.Blocks":
    """The page, its queue bounded."""
    import gradio as gr

    title = f"semcom: {translation(first.lang).gettext(TITLE)}"
    with gr.Blocks(title=title, analytics_enabled=False) as blocks:
        parts = _laid_out(answers, first)
        _wire(blocks, parts, answers)
    blocks.queue(max_size=QUEUED, default_concurrency_limit=1, api_open=False)
    return blocks


def app_of(blocks: "gr.Blocks", lang: str, host: str, port: int) -> Any:
    """An ASGI application of the page alone."""
    import fastapi
    import gradio as gr

    return gr.mount_gradio_app(
        fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None),
        blocks,
        path="/",
        server_name=host,
        server_port=port,
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        mcp_server=False,
        pwa=False,
        show_error=False,
        enable_monitoring=False,
        max_file_size=1,
        theme=gr.themes.Base(primary_hue="blue", neutral_hue="gray", font=FONTS, font_mono=["monospace"]),
        css=sentence_page.css(),
        js=f"() => {{ document.documentElement.lang = {json.dumps(lang)}; }}",
    )


def _laid_out(answers: Answers, first: First) -> Parts:
    import gradio as gr

    examples, lang = first.examples, first.lang
    word = translation(lang).gettext
    with gr.Row(elem_classes="top"):
        heading = gr.HTML(_heading(lang))
        language = gr.Radio(list(LANGUAGES.items()), value=lang, **WITHOUT_FRAME, elem_classes="language")
    with gr.Row(elem_classes="asking"):
        sentence = gr.Textbox(examples[0], label=word(SENTENCE), max_lines=1, max_length=LONGEST, **_wide(6))
        send = gr.Button(word(SEND), variant="primary", scale=1, min_width=90)
    with gr.Row(elem_classes="examples"):
        buttons = [gr.Button(text, size="sm", scale=0, min_width=10) for text in examples]
    with gr.Row(elem_classes="moving"):
        snr = gr.Slider(*SNRS, value=first.snr, step=1, label=word(SNR), buttons=[], **_wide(4))
        chosen = answers.channel.channel
        channel = gr.Dropdown(
            _channels(lang), value=chosen, label=word(CHANNEL), filterable=False, **_narrow(2)
        )
        number = gr.Number(first.seed, label=word(SEED), minimum=0, maximum=LARGEST_SEED, **_narrow(1))
        another = gr.Button(word(ANOTHER), elem_classes="another", **_narrow(1))
    last = len(answers.stops) - 1
    with gr.Row(visible=last > 0, elem_classes="moving"):
        dial = gr.Slider(
            0, max(1, last), value=answers.first_stop, step=1, label=word(DIAL), buttons=[], **_wide(3)
        )
        reading = gr.HTML(elem_classes="reading", **_wide(2))
    cards, pictures = gr.HTML(), gr.HTML()
    above = heading, language, sentence, send, buttons, snr, channel, number, another, dial, reading
    return Parts(*above, cards, pictures)


def _wide(scale: int) -> dict[str, Any]:
    return {"scale": scale, "min_width": 220}


def _narrow(scale: int) -> dict[str, Any]:
    return {"scale": scale, "min_width": 110}


def _heading(lang: str) -> str:
    word = translation(lang).gettext
    return sentence_page.heading(word(TITLE), word(LEAD))


def _channels(lang: str) -> list[tuple[str, str]]:
    word = translation(lang).gettext
    return [(word(kind.title), name) for name, kind in KINDS.items()]


def _wire(blocks: "gr.Blocks", parts: Parts, answers: Answers) -> None:
    """What happens when something is moved, and when the page is opened."""
    import gradio as gr

    for part in parts.asked:
        # Else gradio would answer what is not allowed, or round it; ``Answers`` says why in the language.
        part.preprocess = _as_it_comes
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    answer: dict[str, Any] = {"fn": answers.answer, "inputs": parts.asked, "outputs": parts.answered, **quiet}
    moved = [parts.send.click, parts.sentence.submit, parts.language.change, blocks.load]
    moved += [part.change for part in (parts.channel, parts.snr, parts.seed, parts.dial)]
    gr.on(moved, trigger_mode="always_last", **answer)
    for button in parts.examples:
        taken = button.click(None, outputs=parts.sentence, js=f"() => {json.dumps(button.value)}", **quiet)
        taken.then(**answer)
    parts.another.click(_next_seed, parts.seed, parts.seed, **quiet)
    parts.language.change(
        partial(_worded, parts),
        parts.language,
        [parts.heading, *parts.worded],
        js="lang => { document.documentElement.lang = lang; return [lang]; }",
        **quiet,
    )


def _as_it_comes(value: object) -> object:
    return value


def _next_seed(seed: object) -> int:
    return (seed + 1) % (LARGEST_SEED + 1) if isinstance(seed, int) and seed >= 0 else 0


def _worded(parts: Parts, language: object) -> list[Any]:
    """The heading and what has a word on it, in a language."""
    lang = language if language in LANGUAGES.values() else "en"
    word = translation(str(lang)).gettext
    return [
        _heading(str(lang)),
        *(_relabelled(part, word(text), str(lang)) for part, text in parts.worded.items()),
    ]


def _relabelled(part: Any, text: str, lang: str) -> dict[str, Any]:
    import gradio as gr

    if isinstance(part, gr.Button):
        return gr.update(value=text)
    if isinstance(part, gr.Dropdown):
        return gr.update(label=text, choices=_channels(lang))
    return gr.update(label=text)
