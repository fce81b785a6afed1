"""Seconds in place of estimates: of operators and rates here, of segments on the boards."""
