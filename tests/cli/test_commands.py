"""The console command and the modules."""

import subprocess
import sys
from pathlib import Path

import pytest

from scratchnet import cli, train
from scratchnet.errors import InputError, check_utf8, quoted
from scratchnet.training.screen import Screen
from tests.cli.conftest import fails

ROOT = Path(__file__).resolve().parents[2]


def test_the_command_knows_its_commands(capsys):
    fails(capsys, cli.main, ["trian"], "trian", "did you mean train?")
    fails(capsys, cli.main, ["--verson"], "unknown option --verson; did you mean --version?")
    fails(capsys, cli.main, ["predict", "--", "-RUN", "a.wav"], "-RUN: no such file or folder")
    fails(capsys, cli.main, ["predict", "RUN", "-x.wav"], "unknown option -x.wav")
    fails(capsys, cli.main, ["predict", "--backend", "-5"], "the following arguments are required: RUN, FILE")
    fails(capsys, cli.main, ["train", "--", "foo"], "unexpected argument 'foo'")
    assert cli.main([]) == 0
    assert "gradcheck" in capsys.readouterr().out
    fails(capsys, cli.main, ["train", "--net", "x"], "--net")
    with pytest.raises(SystemExit) as left:
        cli.main(["train", "--help"])
    assert left.value.code == 0
    assert "--lr-final" in capsys.readouterr().out


def test_help_is_a_word_too(capsys):
    assert cli.main(["help"]) == 0
    assert "COMMAND" in capsys.readouterr().out


def test_a_process_of_its_own_leaves_with_the_status(tmp_path):
    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
        )

    for module in (["scratchnet", "train"], ["scratchnet.train"]):
        done = run(*module, "--data", str(tmp_path))
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.count("\n") == 1
        assert str(tmp_path) in done.stderr


def raises(error):
    @cli.guard
    def main(argv):
        raise error

    return main


def test_too_little_memory_has_advice_for_every_command(capsys):
    fails(capsys, raises(MemoryError("of 9 GiB")), [], "of 9 GiB", "in training", "shorter recordings")


def test_no_place_for_compiled_kernels_has_a_way_out(capsys):
    words = "cannot cache function '_same': no locator available for file 'pieces.py'"
    fails(capsys, raises(RuntimeError(words)), [], "Numba", "NUMBA_CACHE_DIR")
    with pytest.raises(RuntimeError):
        raises(RuntimeError("another"))([])


def test_a_name_with_blanks_stays_as_it_is(capsys):
    fails(capsys, raises(InputError("two  blanks\r\n  of an error")), [], "two  blanks of an error")


def test_a_user_without_a_home_is_told_what_to_name(monkeypatch, tmp_path, capsys, tree):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    for name in ("XDG_CACHE_HOME", "SCRATCHNET_CACHE", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    given = ["--data", tree, "--out", tmp_path / "run", "--backend", "cpu"]
    fails(capsys, train.main, given, "home directory: name a folder for prepared data and kernels in SCRATCHNET_CACHE")
    assert not (tmp_path / "run").exists()


def test_threads_that_are_no_number_are_named(monkeypatch, capsys, tree):
    monkeypatch.setenv("SCRATCHNET_THREADS", "two")
    fails(capsys, train.main, ["--data", tree, "--backend", "cpu"], "SCRATCHNET_THREADS is 'two'")


def test_a_closed_standard_output_hears_nothing(monkeypatch):
    for closed in ("stdout", "stderr"):
        with monkeypatch.context() as patch:
            patch.setattr(sys, closed, None)
            assert not Screen().terminal
            Screen().say("a word")


def test_a_name_that_is_no_text_is_told_from_a_fault(capsys):
    with pytest.raises(UnicodeEncodeError) as name:
        ("x" * 1000 + "/caf\udce9.wav" + "y" * 1000).encode()
    fails(capsys, raises(name.value), [], "caf", "not UTF-8", "rename")
    with pytest.raises(UnicodeEncodeError) as fault:
        "é".encode("ascii")
    with pytest.raises(UnicodeEncodeError):
        raises(fault.value)([])


@pytest.mark.parametrize("given, files", [
    ("RUN a.wav --json -- -b.wav", ["a.wav", "-b.wav"]),
    ("--json -- RUN -b.wav --json", ["-b.wav", "--json"]),
    ("RUN a --json b -- c", ["a", "b", "c"]),
    ("RUN --json a --backend cpu b --", ["a", "b"]),
])  # fmt: skip
def test_what_stands_behind_two_dashes_is_no_option(given, files):
    parser = cli.Parser()
    parser.add_argument("run", type=Path)
    parser.add_argument("files", nargs="+")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--backend")
    read = parser.parse(given.split())
    assert (read.run, read.files, read.json) == (Path("RUN"), files, True)


def test_paths_are_quoted_as_the_systems_shell_takes_them(monkeypatch):
    for platform, plain, blank in (("linux", "'runs\\x'", "'my runs'"), ("win32", "runs\\x", '"my runs"')):
        monkeypatch.setattr(sys, "platform", platform)
        assert (quoted("runs\\x"), quoted(Path("my runs"))) == (plain, blank)


def test_a_name_that_this_locale_cannot_tell_may_be_right(monkeypatch):
    with pytest.raises(InputError, match="is not UTF-8; rename it$"):
        check_utf8(["\udcf6"], "x")
    monkeypatch.setattr(sys, "getfilesystemencoding", lambda: "ascii")
    with pytest.raises(InputError, match="rename it, or set PYTHONUTF8=1"):
        check_utf8(["\udcf6"], "x")
