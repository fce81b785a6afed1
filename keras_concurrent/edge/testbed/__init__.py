"""Boards on this machine, slowed down to what real ones are."""
