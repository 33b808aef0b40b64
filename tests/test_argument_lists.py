"""Mistyped commands are answered in one line; see ``argument_lists.py``."""

import os

import argument_lists
import pytest


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="children are made by fork")
def test_mistyped_commands_are_answered_in_a_line(tmp_path, monkeypatch):
    # Some are given ~ as a path.
    monkeypatch.setenv("HOME", str(tmp_path))
    codes = argument_lists.campaign(tmp_path, count=300, seed=22)
    assert sum(codes.values()) == 300
    assert codes["code 2"] and codes["the work would begin"]
