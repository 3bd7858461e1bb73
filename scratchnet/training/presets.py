"""Presets: what each one changes of `Config`'s defaults; the second table: what else it changes for one network."""

from __future__ import annotations

from typing import Any

PRESETS: dict[str, dict[str, Any]] = {
    # The default of the command line: all four phases on the synthetic sounds in a few minutes on two cores.
    "quick": {
        "batch_size": 32,
        "epochs_phase0": 6,
        "epochs_phase1": 3,
        "epochs_phase2": 3,
        "epochs_phase3": 6,
        "epochs_random": 15,
        "lr_phase0": 0.01,
        "lr_phase1": 0.01,
        "lr_phase2": 0.01,
        "lr_phase3": 0.01,
        "lr_random": 0.01,
        "lr_final": 0.001,
        "forcing_epochs": 10,
        "forcing_batch_size": 32,
        "forcing_lr": 1e-3,
    },
    # As published (paper section 2.3), and as its code did where the paper is silent. Two things are the code's though
    # the paper says otherwise: clips, not segments, are scaled to full range (--peak segment), and gradients are
    # clipped parameter by parameter, not layer by layer (--clip-per layer).
    "paper": {
        "short": "drop",
        "standardize": "none",
        "forcing_target": "paper",
        "weight_decay": 0.0,
    },
    # Piczak 2015: his initialisation, pooling, weight decay, standardisation, augmentation and, for his own network,
    # deltas. He trained on every clip and ten variants of it, all of them in each of 300 epochs, in batches of 1000:
    # about 6000 steps. Here an epoch draws one of five, and is as short as without augmentation; batches of 1000 would
    # leave two or three steps of it, so the batch is smaller and the epochs are fewer. Segments are the paper's; his,
    # of 20480 samples, suit PiczakNet alone.
    # His own course: augment = 10, augment_epoch = "all", batch_size = 1000, epochs = 300, lr = 0.002, no lr_final.
    "piczak2015": {
        "augment": 4,
        "weight_init": "piczak2015",
        "pool_ceil": True,
        "weight_decay": 0.001,
        "batch_size": 50,
        "epochs_phase0": 40,
        "epochs_phase1": 10,
        "epochs_phase2": 10,
        "epochs_phase3": 10,
        "epochs_random": 60,
        "lr_phase0": 0.01,
        "lr_phase1": 0.01,
        "lr_phase2": 0.01,
        "lr_phase3": 0.01,
        "lr_random": 0.01,
        "lr_final": 5e-4,
        "forcing_epochs": 30,
        "forcing_batch_size": 100,
    },
}

PRESETS_OF_NET: dict[tuple[str, str], dict[str, Any]] = {
    ("paper", "mstnet"): {
        "lr_phase1": 5e-3,
        "lr_phase2": 5e-3,
        "lr_phase3": 5e-3,
        "lr_random": 5e-3,
        "clip_norm": 3.0,
    },
    ("paper", "melnet"): {"clip_norm": 3.0},
    ("quick", "mstnet"): {"clip_norm": 3.0},
    ("quick", "melnet"): {"clip_norm": 3.0},
    ("piczak2015", "piczaknet"): {"deltas": "librosa031"},
    ("piczak2015", "mstnet"): {"clip_norm": 3.0},
    ("piczak2015", "melnet"): {"clip_norm": 3.0},
}
