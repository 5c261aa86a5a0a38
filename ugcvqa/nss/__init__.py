"""The NSS features: 1836 natural-scene statistics of a chunk, as batched torch."""
