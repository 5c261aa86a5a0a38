"""What a training step sees: sequences of frame features, clips of frames, batches and their order."""
