"""Training: settings, phases of the IceBreaker, spectrogram forcing, the loop, metrics, checkpoints."""
