"""How well a network would split: the paper's concurrency score, and a schedule's."""
