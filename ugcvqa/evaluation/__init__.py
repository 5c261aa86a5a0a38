"""The protocol: splits, the four figures, tests between rows, and what was published."""
