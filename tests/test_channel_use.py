"""Complex symbols a character."""

import pytest

from semcom.data import batching
from semcom.data.corpus import make_sentence
from semcom.evaluation.channel_use import channel_use
from tests import toy


def test_symbols_of_all_tokens_over_characters_without_blanks():
    words = toy.word_vocabulary(["we", "support", "this"])
    encoded = batching.encode([make_sentence("we support"), make_sentence("this")], words)
    use = channel_use(encoded, 16)
    # Two words and one, each sentence with bos and eos: 4 + 3 tokens of 8 symbols, 9 + 4 characters.
    assert use.a_token == 8.0 and use.a_character == pytest.approx(7 * 8 / 13)
    assert str(use) == "8 a token, 4.31 a character"
    assert use.record() == {"channel_uses_per_token": 8.0, "channel_uses_per_character": use.a_character}


def test_no_characters():
    assert str(channel_use([], 12)) == "6 a token"
