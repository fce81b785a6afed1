"""Packets between participants: what they say, over what, in which order, and who may."""
