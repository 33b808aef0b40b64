"""Files that were changed at random are refused in a line or read as what they were; see ``mutations.py``."""

import os

import mutations
import pytest

from semcom.models import state_file

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="files are read in children made by fork"),
]


@pytest.mark.parametrize("kind", mutations.KINDS)
def test_changed_files_do_no_harm(kind, tmp_path):
    ends, faults = mutations.Campaign(kind, tmp_path, seed=19).run(0, 2000)
    assert not faults
    assert sum(ends.values()) == 2000
    assert ends[mutations.REFUSED] >= 20


def test_the_campaign_sees_what_a_digest_is_for(tmp_path, monkeypatch):
    monkeypatch.setattr(state_file, "digest_of", lambda value: "always the same")
    _, faults = mutations.Campaign("state", tmp_path, seed=19).run(0, 200)
    assert any("without a word" in fault for fault in faults)
