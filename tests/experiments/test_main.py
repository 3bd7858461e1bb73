"""`python -m experiments` tells of every command there is."""

from pathlib import Path

from experiments import __main__ as listing

INTERNAL = {"experiments.beside"}  # what `experiments.reproduce --jobs` starts


def test_every_command_is_listed(capsys):
    root = Path(listing.ROOT)
    files = [path for path in root.rglob("*.py") if '__name__ == "__main__"' in path.read_text(encoding="utf-8")]
    names = {".".join(path.relative_to(root.parent).with_suffix("").parts) for path in files}
    names = {name.removesuffix(".__main__") for name in names} - INTERNAL - {"experiments"}
    assert listing.main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[2] for line in lines[::2]} == names and len(names) > 25
    assert all(line.startswith("    ") and line.strip() for line in lines[1::2])
