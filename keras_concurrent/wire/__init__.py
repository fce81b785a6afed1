"""Lighter tensors between boards: sums where their terms are, float16, int8, an accuracy kept."""
