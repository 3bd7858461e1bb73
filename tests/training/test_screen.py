"""What a run says on a terminal, elsewhere, and when quiet."""

import sys

import pytest

from scratchnet.training.loop import State
from scratchnet.training.screen import Screen

ROW = {
    "epoch": 1,
    "train_loss": 0.5,
    "train_accuracy": 0.25,
    "valid_loss": 0.7,
    "valid_accuracy": 0.75,
    "valid_balanced_accuracy": 0.625,
    "seconds": 3.0,
}


def play(quiet=False):
    """Two epochs of three mini-batches."""
    screen = Screen(quiet)
    screen.begin("phase 0", 2, 3, State())
    for epoch in (1, 2):
        for batch in (1, 2, 3):
            state = State(epoch=epoch, batch=batch, seen=4 * batch, loss=2.0 * batch, correct=batch)
            screen.step(state)
            if screen._bar is not None:
                screen._bar.refresh()  # a real run is slow enough for the bar to draw itself
        screen.epoch({**ROW, "epoch": epoch}, best=epoch == 1)
    screen.say("a word")
    screen.end()


@pytest.mark.parametrize("columns", ["80", "150"])
def test_a_terminal_sees_epoch_loss_accuracies_and_time_left(columns, monkeypatch, capsys):
    for stream in (sys.stdout, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", columns)
    play()
    said = capsys.readouterr()
    assert said.out.split() == ["a", "word"]
    for words in ("phase 0", "epoch 2/2", "loss 0.500", "train 25.0%", "valid 62.5%", "100%", "<00:00"):
        assert words in said.err


def test_elsewhere_every_epoch_is_a_line(capsys):
    play()
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out.splitlines() == [
        "phase 0 epoch 1/2: loss 0.5000 train 25.0% valid 75.0% balanced 62.5% (3.0 s) best",
        "phase 0 epoch 2/2: loss 0.5000 train 25.0% valid 75.0% balanced 62.5% (3.0 s)",
        "a word",
    ]


def test_forcing_has_no_accuracies_to_tell(capsys):
    screen = Screen()
    screen.begin("forcing", 1, 1, State())
    screen.epoch({**ROW, "train_accuracy": None, "valid_accuracy": None, "valid_balanced_accuracy": None}, best=True)
    assert capsys.readouterr().out == "forcing epoch 1/1: loss 0.5000 valid loss 0.70000 (3.0 s) best\n"


def test_quiet_says_nothing_but_what_must_be_said(capsys):
    play(quiet=True)
    Screen(quiet=True).say("the result", always=True)
    assert capsys.readouterr().out == "the result\n"
