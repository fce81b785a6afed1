"""A board: what it computes next, what is deployed to it, its process."""
