"""A second receiver where there is but one."""

from test_contract_architecture import gru  # noqa: F401  # a fixture
from test_contract_architecture import toy as gru_model
from toy import bits, same_bits, size, transceiver, word_vocabulary

from semcom.commands.thinned_receiver import thinned
from semcom.models.checkpoint import Checkpoint


def of(model):
    return Checkpoint(model, word_vocabulary(["we"]), {"encoder": "trained"}, {"bleu": 1.0}, path="a.pt")


def test_it_is_the_receiver_with_a_layer_less():
    given = of(transceiver(size(2), size(4)))
    made = thinned(given)
    ours, theirs = made.model.receiver.decoder, given.model.receiver.decoder
    assert same_bits(bits(made.model.transmitter), bits(given.model.transmitter))
    assert len(ours.layers) == 3
    for mine, place in zip(ours.layers, (0, 2, 3)):
        assert same_bits(bits(mine), bits(theirs.layers[place]))
    assert same_bits(bits(ours.projection), bits(theirs.projection))
    assert len(theirs.layers) == 4 and not made.model.training and made.path == "" and made.metrics == {}
    assert made.origin["decoder"] == "3 of 4 layers, untrained" and made.origin["encoder"] == "trained"
    assert made.fingerprint != given.fingerprint


def test_some_have_no_layer_to_spare(gru):  # noqa: F811
    assert thinned(of(transceiver(size(2), size(1)))) is None
    assert thinned(of(gru_model())) is None
