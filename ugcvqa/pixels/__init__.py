"""Facts measured from pixels alone: bars, repeats, true resolution, exposure, noise, combs; numpy only."""
