"""Measurements, each a script; never timed tests."""
