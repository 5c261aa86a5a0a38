"""UVQ 1.0 and 1.5 for inference: networks, weights, frames, pooling."""
