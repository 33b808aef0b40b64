"""Sentences to begin with, chosen by what a vocabulary can say."""

from collections.abc import Sequence
from functools import partial

from semcom.data.vocabulary import Vocabulary

SHOWN = 4
FEWEST = 2
"""Examples of a language, else it has none."""
UNKNOWN = 0.1
"""Share of a sentence that a vocabulary may not know."""
SENTENCES = {
    "en": (
        "It will be important for the Customs Union to fight serious protectionism.",
        "What are we doing to close this modern reception centre?",
        "I believe that Finland knew that we promoted solidarity.",
        "The Secretariat has balanced the budget by banning investment.",
        "Two dogs are running through the snow.",
        "A man is riding a bicycle down a busy street.",
        "A young girl in a red dress is playing on the beach.",
        "The cat sat on the mat and looked at the rain.",
    ),
    "zh": (
        "我们支持这份报告，但是不同意第三条。",
        "他昨天在北京参加了会议。",
        "两只狗在雪地里奔跑。",
        "一个小女孩在海边玩沙子。",
        "今天的天气很好，我们去公园散步。",
    ),
}


def examples(vocabularies: Sequence[Vocabulary]) -> list[str]:
    """For each language that all ``vocabularies`` know, the sentences that take the fewest pieces."""
    found: list[str] = []
    for sentences in SENTENCES.values():
        known = [text for text in sentences if all(map(partial(_is_known, text), vocabularies))]
        if len(known) >= FEWEST:
            found += sorted(known, key=partial(_cost, vocabularies))[:SHOWN]
    return found or list(SENTENCES["en"][:SHOWN])


def _is_known(text: str, vocabulary: Vocabulary) -> bool:
    return vocabulary.unknown_share([text]) <= UNKNOWN


def _cost(vocabularies: Sequence[Vocabulary], text: str) -> float:
    """Pieces a character, of the vocabulary that needs most."""
    return max(len(vocabulary.encode([text])[0]) for vocabulary in vocabularies) / len(text)
