"""What the pixels of a video say by themselves: bars, repeats, true resolution, exposure, noise, combs; numpy only."""
