"""Make and measure knowledge mismatch between the two ends of a semantic-communication link."""

__version__ = "0.1.0"
