"""Which variant of every clip an epoch trains on, where clips have augmented variants."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from scratchnet.data.segments import Segments


class Variants:
    """Draws an epoch of as many segments as there would be without augmentation, from each clip one of its variants."""

    def __init__(self, segments: Segments, indices: np.ndarray) -> None:
        """`indices`: the training segments, all variants among them, as `split` gives them."""
        by_clip: dict[int, dict[int, list[int]]] = defaultdict(dict)
        clips, variants = segments.clip[indices].tolist(), segments.variant[indices].tolist()
        for index, clip, variant in zip(indices.tolist(), clips, variants):
            by_clip[clip].setdefault(variant, []).append(index)
        # A clip too slow or too quick may lack a variant, under short="drop"; never the recording itself.
        self.clips = [[np.array(variants[v], np.int64) for v in sorted(variants)] for variants in by_clip.values()]

    def __len__(self) -> int:
        """Segments of an epoch."""
        return sum(len(variants[0]) for variants in self.clips)

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Indices of one epoch, (len(self),) int64: every clip has as many segments in it as its recording has.

        A variant of more segments leaves some out, another choice each time; of a shorter one some come twice.
        """
        epoch = []
        for variants in self.clips:
            members = variants[rng.integers(len(variants))]
            epoch.append(np.resize(rng.permutation(members), len(variants[0])))
        return np.concatenate(epoch)
