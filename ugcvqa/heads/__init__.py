"""Heads that map features to a score: SVR, Gaussian process, GRU, end to end; and their export."""
