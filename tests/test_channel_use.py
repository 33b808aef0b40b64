"""Complex symbols a character."""

from types import SimpleNamespace

import pytest

from semcom.channel.channels import make_channel
from semcom.channel.settings import ChannelConfig
from semcom.commands.analysis_provenance import use_of
from semcom.commands.inputs import Data
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


def test_records_and_reports_count_pilots():
    encoded = batching.encode([make_sentence("we support")], toy.word_vocabulary(["we", "support"]))
    settings = ChannelConfig(channel="rayleigh", csi="pilots", csi_pilots=10)
    channel = make_channel(settings)
    record = Data([], encoded, None, {"split": 1}, []).record_at(16, channel)
    # 4 tokens of 8 symbols and 10 pilots, over 9 characters.
    wanted = pytest.approx((4 * 8 + 10) / 9)
    assert record == {"split": 1, "channel_uses_per_token": 8.0, "channel_uses_per_character": wanted}
    analysis = SimpleNamespace(settings=SimpleNamespace(channels=[ChannelConfig(), settings]))
    teacher = SimpleNamespace(model=SimpleNamespace(architecture=SimpleNamespace(channel_dim=16)))
    study = SimpleNamespace(measured=SimpleNamespace(encoded=encoded), channel=str(channel))
    assert use_of(analysis, study, teacher).a_character == wanted


def test_no_characters():
    assert str(channel_use([], 12)) == "6 a token"
