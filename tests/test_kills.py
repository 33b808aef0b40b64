"""Runs that are killed at random moments end in the bits of the unbroken run; see ``kills.py``."""

import os

import kills
import pytest


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="children are made by fork")
def test_runs_survive_kills(tmp_path):
    codes = kills.campaign(tmp_path, kills=20, seed=20)
    assert sum(codes.values()) >= 20
