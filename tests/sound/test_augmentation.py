"""Variants of clips: what is drawn, from which limits, and that it is the same everywhere."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scratchnet.errors import InputError
from scratchnet.sound import Augmentation, augmentation, make_variant
from scratchnet.sound.augmentation import PICZAK, Limits

RATE = 22050
ESC10 = [
    "Dog bark",
    "Rain",
    "Sea waves",
    "Baby cry",
    "Clock tick",
    "Person sneeze",
    "Helicopter",
    "Chainsaw",
    "Rooster",
]
ESC10 += ["Fire crackling"]
ESC10_TODAY = ["dog", "rain", "sea_waves", "crying_baby", "clock_tick", "sneezing", "helicopter", "chainsaw", "rooster"]
ESC10_TODAY += ["crackling_fire"]
URBANSOUND8K = (
    "air_conditioner", "car_horn", "children_playing", "dog_bark", "drilling", "engine_idling", "gun_shot",
    "jackhammer", "siren", "street_music",
)  # fmt: skip
OWN = Limits((-2, 2), (0.9, 1.1))


def test_the_table_names_the_classes_of_piczaks_notebooks():
    for old, new in zip(ESC10, ESC10_TODAY):
        assert Augmentation().limits_of(old) == Augmentation().limits_of(new)
        assert old.lower().replace(" ", "_") in PICZAK and new in PICZAK
    assert set(URBANSOUND8K) <= set(PICZAK)
    assert set(PICZAK) == {name.lower().replace(" ", "_") for name in [*ESC10, *ESC10_TODAY, *URBANSOUND8K]}
    assert Augmentation().limits_of("004 - Baby cry") == OWN  # a folder's own name is none of the table
    assert Augmentation().limits_of("Baby cry") == ((-3, 6), (0.8, 1.3))
    assert Augmentation().limits_of("clock tick") == ((0, 0), (1, 1))


def test_other_classes_have_one_range_and_all_have_it_on_request():
    assert Augmentation().limits_of("blackbird") == OWN
    assert Augmentation(pitch=3, stretch=0.25).limits_of("blackbird") == ((-3, 3), (0.75, 1.25))
    assert Augmentation(limits="one").limits_of("rain") == OWN


@pytest.fixture
def drawn(monkeypatch):
    """The (semitones, rate) that were asked for, the sounds left as they are."""
    asked = []
    monkeypatch.setattr(augmentation, "pitch_shift", lambda x, sr, n: asked.append(("pitch", n)) or x)
    monkeypatch.setattr(augmentation, "time_stretch", lambda x, rate: asked.append(("rate", rate)) or x)
    return asked


def test_draws_stay_within_the_limits_and_fill_them(drawn):
    delays = [
        len(make_variant(np.ones(1), RATE, "baby_cry", "clip.wav", number, Augmentation())) - 1
        for number in range(1, 401)
    ]
    semitones = [n for what, n in drawn if what == "pitch"]
    rates = [rate for what, rate in drawn if what == "rate"]
    assert set(semitones) == set(range(-3, 7)) - {0}  # 0 needs no work
    assert 0.8 <= min(rates) < 0.82 and 1.28 < max(rates) <= 1.3
    assert 0 <= min(delays) < 0.05 * RATE and 0.95 * RATE < max(delays) < RATE


def test_the_notebooks_slip_takes_the_upper_limit(drawn):
    for number in range(1, 20):
        make_variant(np.ones(1), RATE, "baby_cry", "clip.wav", number, Augmentation(pitch_draw="highest"))
    assert {n for what, n in drawn if what == "pitch"} == {6}


def test_name_and_number_tell_the_variant(rng):
    x = rng.standard_normal(8000).astype(np.float32)

    def variant(name, number):
        return make_variant(x, RATE, "dog_bark", name, number, Augmentation())

    first = variant("a.wav", 1)
    assert first.dtype == np.float32
    np.testing.assert_array_equal(variant("a.wav", 1), first)
    lengths = {len(variant(name, number)) for name in ("a.wav", "b.wav") for number in (1, 2, 3)}
    assert len(lengths) == 6


def test_the_draws_are_those_of_every_machine(drawn):
    """The first numbers of NumPy's PCG64 from the SHA-256 of name and number: whoever changes this spoils caches."""
    x = make_variant(np.ones(1), RATE, "baby_cry", "fold1/a.wav", 1, Augmentation())
    assert [*drawn, len(x) - 1] == [("pitch", 6), ("rate", 1.0181692912726268), 18492]


def test_a_class_that_allows_nothing_is_delayed_alone(rng):
    x = rng.standard_normal(5000)
    y = make_variant(x, RATE, "rain", "a.wav", 1, Augmentation())
    delay = len(y) - len(x)
    assert 0 < delay < RATE and not y[:delay].any()
    np.testing.assert_array_equal(y[delay:], x)
    np.testing.assert_array_equal(make_variant(x, RATE, "rain", "a.wav", 1, Augmentation(shift=0.0)), x)


def test_a_variant_is_as_long_as_its_rate_and_delay_say(rng):
    x = rng.standard_normal(20000)
    for number in range(1, 5):
        y = make_variant(x, RATE, "sea_waves", "a.wav", number, Augmentation(shift=0.5))
        assert round(len(x) / 1.2) <= len(y) < round(len(x) / 0.9) + RATE / 2
        assert np.isfinite(y).all() and y.any()


@given(n=st.integers(1, 25000), number=st.integers(1, 50))
@example(n=20991, number=1)
@example(n=20992, number=1)
def test_a_sound_that_fits_into_a_segment_stays_in_it(n, number):
    """A longer one is delayed as if nothing were said of segments."""
    x = np.arange(1, n + 1, dtype=np.float32)
    y = make_variant(x, RATE, "rain", "a.wav", number, Augmentation(), segment_length=20992)
    np.testing.assert_array_equal(y[len(y) - n :], x)
    if n < 20992:
        assert len(y) <= 20992
    else:
        np.testing.assert_array_equal(y, make_variant(x, RATE, "rain", "a.wav", number, Augmentation()))


def test_settings_survive_a_dictionary():
    made = Augmentation(variants=7, limits="one", shift=0.25)
    assert Augmentation.from_dict(made.to_dict()) == made
    with pytest.raises(InputError, match="echo"):
        Augmentation.from_dict({"echo": 1})


@pytest.mark.parametrize(
    "bad",
    [{"variants": 0}, {"limits": "none"}, {"pitch": -1}, {"stretch": 0.9}, {"shift": -1.0}, {"pitch_draw": "lowest"}],
)
def test_bad_settings_are_named(bad):
    with pytest.raises(InputError, match=next(iter(bad))):
        Augmentation(**bad)
