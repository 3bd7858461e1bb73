"""Augmented variants in the cache: whose they are, that they stay in training, and how an epoch draws them."""

import json
import os
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from scratchnet.data import Variants, fingerprint, open_cache, open_source, prepare, split
from scratchnet.errors import InputError
from scratchnet.sound import Augmentation, SoundSettings, load_clip, make_variant, segment_clip, segment_log_mel

TWO = Augmentation(variants=2)


@pytest.fixture(scope="module")
def augmented(shared_set, tmp_path_factory):
    return prepare(open_source(shared_set), augmentation=TWO, cache_dir=tmp_path_factory.mktemp("cache"), workers=2)


# -- the cache


def test_recordings_are_those_of_the_cache_without_variants(segments, augmented):
    chosen = augmented.originals
    assert len(chosen) == len(segments) < len(augmented) and augmented.folder.name != segments.folder.name
    for name in ("logmel", "scale", "label", "fold", "clip"):
        np.testing.assert_array_equal(getattr(augmented, name)[chosen], getattr(segments, name))
    np.testing.assert_array_equal(augmented.waveforms(chosen), segments.waveforms(np.arange(len(segments))))
    for name in ("clips", "skipped", "fingerprint", "settings", "classes", "codes"):
        assert getattr(augmented, name) == getattr(segments, name)
    np.testing.assert_array_equal(augmented.clip_fold, segments.clip_fold)
    assert (augmented.augmentation, segments.augmentation) == (TWO, None)


def test_without_augmentation_nothing_of_the_cache_has_changed(shared_set, segments):
    """Caches of this version are found and opened, whatever else comes: the same name, files, arrays, description."""
    source = open_source(shared_set)
    made_from = [3, fingerprint.fingerprint(source), os.path.realpath(shared_set), SoundSettings().to_dict()]
    assert segments.folder.name == f"{source.name}-{fingerprint.digest(made_from)[:20]}"
    with np.load(segments.folder / "index.npz") as index:
        assert sorted(index) == ["clip", "clip_fold", "clip_label", "fold", "label", "scale", "start"]
    assert set(json.loads((segments.folder / "meta.json").read_text())) == {
        "samples", "clips", "contents", "skipped", "version", "fingerprint", "settings", "name", "classes", "codes",
        "root",
    }  # fmt: skip
    assert not segments.variant.any() and len(segments.variant) == len(segments)


def test_a_variant_is_of_its_clip_alone(shared_set, augmented):
    source = open_source(shared_set)
    for number, clip in list(enumerate(source.clips))[::5]:
        recording = load_clip(shared_set / clip.path, peak=False)
        for variant in (1, 2):
            mine = np.flatnonzero((augmented.clip == number) & (augmented.variant == variant))
            sound = make_variant(recording, 22050, source.classes[clip.label], clip.path, variant, TWO)
            x, starts, _, logmel = segment_clip(sound, SoundSettings())
            assert len(mine) == len(starts)
            np.testing.assert_array_equal(
                augmented.waveforms(mine)[:, 0], [x[start : start + 20992] for start in starts]
            )
            np.testing.assert_array_equal(augmented.logmel[mine], logmel)
            assert (augmented.label[mine] == clip.label).all() and (augmented.fold[mine] == clip.fold).all()
    assert set(augmented.variant) == {0, 1, 2}


def test_waveforms_and_logmels_of_variants_fit_each_other(augmented):
    chosen = np.flatnonzero(augmented.variant == 2)[::3]
    found = segment_log_mel(augmented.waveforms(chosen)[:, 0], augmented.settings)
    np.testing.assert_array_equal(found, augmented.logmels(chosen)[:, 0])


def test_silence_rules_hold_for_variants(augmented):
    """A delay puts silence first; segments of nothing else are gone, and every variant keeps at least one segment."""
    assert (augmented.logmel.mean(axis=(1, 2)) > -70).all()
    counts = np.zeros((len(augmented.clips), 3), int)
    np.add.at(counts, (augmented.clip, augmented.variant), 1)
    assert (counts > 0).all()


def test_the_number_of_workers_changes_nothing(shared_set, augmented, tmp_path):
    other = prepare(open_source(shared_set), augmentation=TWO, cache_dir=tmp_path, workers=1)
    assert other.folder.name == augmented.folder.name
    for name in ("waveform", "logmel", "start", "variant"):
        np.testing.assert_array_equal(getattr(other, name), getattr(augmented, name))


def test_other_augmentations_have_caches_of_their_own(shared_set, tmp_path):
    source, few = open_source(shared_set), SoundSettings(segment_hop=20992)
    source = type(source)(**{**vars(source), "clips": source.clips[::2]})
    folders = {
        prepare(source, few, augmentation, cache_dir=tmp_path).folder
        for augmentation in (None, Augmentation(1), Augmentation(1, shift=0.5), Augmentation(1, pitch_draw="highest"))
    }
    assert len(folders) == 4
    assert prepare(source, few, Augmentation(1), cache_dir=tmp_path).folder in folders


@pytest.mark.parametrize("value", [-1, 3])
def test_a_variant_that_was_never_made_is_damage(augmented, tmp_path, value):
    for path in augmented.folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with np.load(tmp_path / "index.npz") as index:
        arrays = dict(index)
    arrays["variant"][0] = value
    np.savez(tmp_path / "index.npz", **arrays)
    with pytest.raises(InputError, match="variant points outside"):
        open_cache(tmp_path)


def test_a_variant_too_short_to_keep_is_left_out(shared_set, tmp_path):
    """Clips of 2.5 s at segments of 2.4 s: where a variant is played faster and hardly delayed, none fits."""
    settings = SoundSettings(segment_length=int(2.4 * 22050), segment_hop=20992, short="drop", n_frames=41)
    one = Augmentation(3, limits="one", pitch=0, stretch=0.5, shift=0.0)
    made = prepare(open_source(shared_set), settings, one, cache_dir=tmp_path)
    kept = {(clip, variant) for clip, variant in zip(made.clip.tolist(), made.variant.tolist())}
    assert {(clip, 0) for clip in range(18)} <= kept and 18 < len(kept) < 4 * 18
    train, _, _ = split(made, 1)
    assert len(Variants(made, train)) == len(np.intersect1d(train, made.originals))


def test_variants_of_short_clips_keep_their_sound(tmp_path):
    """These classes are delayed alone, so that every variant of a clip of 0.3 s has the recording's very samples."""
    for name in ("rain", "jackhammer"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(3):
            x = np.random.default_rng(number).uniform(-0.5, 0.5, 6600)
            soundfile.write(tmp_path / "data" / name / f"{number}.wav", x, 22050, subtype="FLOAT")
    made = prepare(
        open_source(tmp_path / "data"), SoundSettings(silence_db=None), Augmentation(8), cache_dir=tmp_path / "cache"
    )
    assert len(made) == 6 * 9  # one segment each
    sounds = made.waveforms(np.arange(len(made)))[:, 0]
    assert sounds.any(axis=1).all()
    for clip in range(6):
        whole, *delayed = (row[row != 0] for row in sounds[made.clip == clip])
        assert len(whole) == 6600
        for sound in delayed:
            np.testing.assert_array_equal(sound, whole)


# -- splits


@pytest.mark.parametrize("test_fold", [1, 2, 3])
def test_variants_are_for_training_alone(augmented, test_fold):
    train, valid, test = split(augmented, test_fold)
    assert not augmented.variant[valid].any() and not augmented.variant[test].any()
    assert set(augmented.variant[train]) == {0, 1, 2}
    # no recording stands on two sides, in any variant
    held_out = set(augmented.clip[valid]) | set(augmented.clip[test])
    assert not held_out & set(augmented.clip[train])
    assert set(augmented.fold[train]) == {1, 2, 3} - set(augmented.fold[valid]) - {test_fold}
    assert len(train) == (~np.isin(augmented.clip, list(held_out))).sum()


# -- an epoch's draw


def index_of(counts):
    """A stand-in for `Segments`: counts[clip][variant] segments, in random order."""
    pairs = [(clip, v) for clip, row in enumerate(counts) for v, count in enumerate(row) for _ in range(count)]
    clip, variant = np.random.default_rng(1).permutation(np.array(pairs)).T
    return SimpleNamespace(clip=clip, variant=variant)


COUNTS = st.lists(st.tuples(st.integers(1, 6), st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=8)


@given(COUNTS, st.integers(0, 99))
def test_an_epoch_is_as_long_as_without_variants_and_has_one_of_each_clip(counts, seed):
    segments = index_of(counts)
    variants = Variants(segments, np.arange(len(segments.clip)))
    drawn = variants.draw(np.random.default_rng(seed))
    assert len(drawn) == len(variants) == sum(row[0] for row in counts)
    for clip, row in enumerate(counts):
        mine = drawn[segments.clip[drawn] == clip]
        (variant,) = set(segments.variant[mine])  # one variant
        copies = np.unique(mine, return_counts=True)[1]
        assert len(mine) == row[0] and copies.max() - copies.min() <= 1  # none comes twice before all came once
        assert len(copies) == min(row[0], row[variant])
    np.testing.assert_array_equal(variants.draw(np.random.default_rng(seed)), drawn)


def test_every_segment_gets_its_turn_and_variants_are_equally_frequent():
    segments = index_of([(3, 5, 2)] * 40)
    variants = Variants(segments, np.arange(len(segments.clip)))
    rng = np.random.default_rng(0)
    drawn = np.concatenate([variants.draw(rng) for _ in range(60)])
    assert len(np.unique(drawn)) == len(segments.clip)
    share = np.bincount(segments.variant[drawn]) / len(drawn)
    np.testing.assert_allclose(share, 1 / 3, atol=4 * np.sqrt(2 / 9 / 2400))  # four standard deviations of 2400 draws


def test_only_the_clips_asked_for_are_drawn(augmented):
    train, valid, test = split(augmented, 1)
    drawn = Variants(augmented, train).draw(np.random.default_rng(0))
    assert not np.intersect1d(drawn, np.concatenate([valid, test])).size and np.isin(drawn, train).all()
