"""Input of a training step: sequences of frame features, clips of frames, batches and their order."""
