"""The GPU's benchmark, as far as it goes without one: its parts, their limits, its table, and data that travels."""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from threading import Barrier
from types import SimpleNamespace
from zipfile import ZipFile

import numpy as np
import pytest

from experiments.bench import gpu, gpu_compile, gpu_data, gpu_parts, gpu_touch, gpu_way, report
from scratchnet import backend
from scratchnet.data import Segments, open_cache, open_source, prepare
from scratchnet.errors import InputError
from scratchnet.kernels import cuda
from scratchnet.sound import SoundSettings


def python(code):
    return [sys.executable, "-c", code]


def test_without_a_gpu_it_says_so_in_a_line(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(cuda, "available", lambda: (False, "CuPy finds no GPU on this machine"))
    assert gpu.main(["--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.strip().splitlines()[-1].endswith("CuPy finds no GPU on this machine")
    assert gpu.main(["--out", str(tmp_path), "--cache", "no such place"]) == 2


def test_every_part_is_one_that_there_is(capsys):
    assert gpu.main(["--dry-run"]) == 0
    whole = capsys.readouterr().out
    assert gpu.main(["--dry-run", "--only", "compiled", "start"]) == 0
    some = capsys.readouterr().out
    assert set(some.splitlines()) < set(whole.splitlines()) and len(some.splitlines()) == 8
    for part in gpu.parts(["heurinet"], [100], None):
        if "experiments.bench.gpu_parts" in part.command:
            assert callable(getattr(gpu_parts, part.command[part.command.index("experiments.bench.gpu_parts") + 1]))


def test_racecheck_takes_the_small_arrays_and_the_others_the_whole_ones(monkeypatch):
    """Each watched command is run, without the tool that watches it, up to the kernels."""
    asked = {}
    monkeypatch.setattr(backend, "use", lambda name: name)
    for part in gpu.parts(["heurinet"], [100], None):
        if "experiments.bench.gpu_touch" in part.command:
            monkeypatch.setattr(
                gpu_touch, "touch", lambda *options, name=part.name: asked.update({name: options}) or {}
            )
            gpu_touch.main(part.command[part.command.index("experiments.bench.gpu_touch") + 1 :])
            assert part.group == gpu.CHECKS and (part.command[0] == gpu.SANITIZER) == (part.name != "sanity")
    whole = False, ("tf32", "float32")
    small = {f"racecheck {precision}": (True, [precision]) for precision in ("tf32", "float32")}
    assert asked == {"sanity": whole, "memcheck": whole, **small}


def test_a_part_that_is_stopped_has_told_what_it_knew():
    known = 'import time; print(\'{"a": 1}\'); print(\'{"a": 1, "b": 2}\', flush=True); time.sleep(60)'
    begun = time.monotonic()
    found = gpu.run_part(python(known), 3.0, {})
    assert (found["a"], found["b"], found["failed"]) == (1, 2, "not done after 3 s") and time.monotonic() - begun < 30
    found = gpu.run_part(python("print('{\"a\": 1}'); raise SystemExit('no such luck')"), 60.0, {})
    assert found["a"] == 1 and found["failed"].startswith("status 1") and "no such luck" in found["failed"]
    away = "import os, time; print('{\"a\": 1}', flush=True); os.fork() or os.setsid(); time.sleep(30)"
    begun = time.monotonic()
    assert gpu.run_part(python(away), 1.0, {})["a"] == 1 and time.monotonic() - begun < 20
    odd = "import os; os.write(1, b'{\"a\": 1}\\n{not: JSON}\\n{cut \\xe2\\x80}\\n')"
    assert gpu.run_part(python(odd), 60.0, {})["a"] == 1
    assert gpu.run_part(["no-such-program"], 1.0, {})["failed"] == "no-such-program is not installed"


def test_of_a_part_that_prints_no_result_the_last_words_are_kept():
    found = gpu.run_part(python("print('x' * 10**6)"), 30.0, {})
    assert [len(line) for line in found["output"]] == [500] and "failed" not in found


def test_a_group_runs_side_by_side_and_what_is_timed_alone(monkeypatch):
    running, most = [], {}

    def run_part(command, limit, environment):
        running.append(command)
        time.sleep(0.05)
        most[command] = len(running)
        running.remove(command)
        return {"seconds": 0.05}

    monkeypatch.setattr(gpu, "run_part", run_part)
    chosen = [gpu.Part(name, 9.0, name, {"c": "one", "d": "one", "e": "other"}.get(name)) for name in "abcde"]
    written = []
    result = gpu.measure(chosen, write=lambda found: written.append(sorted(found["parts"])))
    assert most["a"] == most["b"] == most["e"] == 1 and max(most["c"], most["d"]) == 2
    assert written == [["a"], ["a", "b"], ["a", "b", "c", "d"], ["a", "b", "c", "d", "e"]]
    monkeypatch.setattr(gpu, "run_part", lambda *_: 1 / 0)
    broken = gpu.measure(chosen)
    assert {part["failed"] for part in broken["parts"].values()} == {"ZeroDivisionError: division by zero"}
    late = gpu.measure(chosen, limit=0.0)
    assert {part["failed"] for part in late["parts"].values()} == {"no time left"} and len(result["parts"]) == 5


def test_the_table():
    result = {
        "parts": {
            "step mstnet": {"seconds": 9.0, "1000": {"scratchnet": 0.01, "eager": 0.02, "memory": 2**30}, "100": {}},
            "compiled mstnet 1000": {"seconds": 20.0, "step": 0.015, "alone": True},
            "compiled mstnet 100": {"seconds": 50.0, "failed": "not done after 50 s"},
            "ceilings": {"seconds": 3.0, "copy": 4e12, "tf32": 4e14, "float32": 5e13},
            "kernels": {"seconds": 3.0, "rows": [{"name": "one", "seconds": 1e-3, "bytes": 2e9, "flops": 1e11}]},
        }
    }
    text = gpu.table(result)
    assert "| mstnet 1000 | 10 ms | 20 ms | 15 ms | **2.00** | **1.50** | 1.00 GB | – |" in text
    assert "| one | 1 ms | 50% | 25% |" in text and "not done after 50 s" in text
    assert {line.split()[0] for line in text.splitlines() if line.startswith("#")} == {"###"}


def test_a_search_times_a_choice_while_no_other_does(monkeypatch, tmp_path, capsys):
    """Ten threads that open the file for themselves, as processes do. First calls, which compile, run side by side."""
    timed, most, first = [], [], Barrier(10, timeout=30)

    class Benchmarker:
        def benchmark_gpu(self, call, rounds=1):
            timed.append(call)
            time.sleep(0.01)
            most.append(len(timed))
            timed.remove(call)
            return call, rounds

    def search(_):
        mine = type("Mine", (Benchmarker,), {})()  # of a process of its own
        inductor = SimpleNamespace(benchmarker=mine)
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, "torch._inductor.runtime.benchmarking", inductor)
            searching = gpu_compile.Search()
            searching.time_one_at_a_time()
        return searching, mine

    monkeypatch.setenv(gpu_compile.LOCK, str(tmp_path / "lock"))
    monkeypatch.setattr(gpu_compile, "TOLD", 0.0)
    searches = [search(i) for i in range(10)]
    with ThreadPoolExecutor(10) as pool:
        found = list(pool.map(lambda both: both[1].benchmark_gpu(first.wait, rounds=2), searches))
    assert found == [(first.wait, 2)] * 10 and most == [1] * 10
    assert all(searching.done["choices"] == 1 and searching.done["timed"] > 0.005 for searching, _ in searches)
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["choices"] == 1  # told as it goes


def test_a_timing_within_a_timing_does_not_wait_for_itself(monkeypatch, tmp_path):
    class Benchmarker:
        def benchmark_gpu(self, call):
            return call()

    inductor = SimpleNamespace(benchmarker=Benchmarker())
    monkeypatch.setitem(sys.modules, "torch._inductor.runtime.benchmarking", inductor)
    monkeypatch.setenv(gpu_compile.LOCK, str(tmp_path / "lock"))
    gpu_compile.Search().time_one_at_a_time()
    time_it, calls = inductor.benchmarker.benchmark_gpu, []
    assert time_it(lambda: time_it(lambda: calls.append(1)) or len(calls)) == 3  # each first call included


def test_steps_are_timed_one_by_one_when_all_searches_have_ended(tmp_path):
    ended, timed, most = [], [], []

    def search(seconds):
        with gpu_compile.quiet(str(tmp_path / "quiet"), time.time() + 30) as alone:
            started.wait()
            time.sleep(seconds)
            ended.append(seconds)
            assert alone() and len(ended) == 3
            timed.append(seconds)
            time.sleep(0.02)
            most.append(len(timed))
            timed.remove(seconds)

    started = Barrier(3, timeout=30)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(search, (0.0, 0.1, 0.2)))
    assert most == [1] * 3


def test_shortly_before_the_end_nobody_waits_any_more(tmp_path):
    path = str(tmp_path / "quiet")
    with gpu_compile.quiet(path, 0.0), gpu_compile.quiet(path, time.time() + 0.2) as alone:
        assert alone() is False
    with gpu_compile._held(path), gpu_compile._held(path, time.time() + 0.2) as held:
        assert held is False
    with gpu_compile._held(path, 0.0) as held:
        assert held is True


ABOUT = {"gpu": "a GPU", "driver": 13000, "versions": {"numpy": "2.0"}, "date": "2026-11-23"}


def test_the_whole_command_writes_what_the_page_takes(tmp_path, monkeypatch, capsys):
    """With parts that answer at once; then one part again, which keeps the others."""
    monkeypatch.setattr(cuda, "available", lambda: (True, ""))
    monkeypatch.setattr(gpu_parts, "describe", lambda: ABOUT)
    asked = []
    monkeypatch.setattr(gpu, "run_part", lambda command, limit, environment: asked.append(command) or {"seconds": 1.0})
    assert gpu.main(["--out", str(tmp_path)]) == 0
    first = json.loads((tmp_path / "gpu.json").read_text())
    assert first["machine"] == ABOUT and len(first["parts"]) == len(asked)
    monkeypatch.setattr(gpu, "run_part", lambda command, limit, environment: {"seconds": 1.0, "failed": "no"})
    assert gpu.main(["--out", str(tmp_path), "--only", "memcheck"]) == 1
    second = json.loads((tmp_path / "gpu.json").read_text())
    assert second["parts"] == {**first["parts"], "memcheck": {"seconds": 1.0, "failed": "no"}}
    page = tmp_path / "page.md"
    page.write_text("# A\n<!-- gpu -->\nNot yet.\n<!-- /gpu -->\nend\n")
    assert report.main(["--out", str(tmp_path), "--page", str(page)]) == 0
    assert "### Training steps" in page.read_text() and "a GPU, driver 13000; numpy 2.0" in page.read_text()


def test_tests_that_cannot_load_are_left_out(monkeypatch):
    missing = lambda name: None if name in ("soundfile", "xdist") else find_spec(name)  # noqa: E731
    monkeypatch.setattr(gpu, "find_spec", missing)
    ignored = [word for word in gpu.tests() if word.startswith("--ignore")]
    assert "--ignore=tests/cli" in ignored and "--ignore=tests/test_clipping.py" not in ignored


@pytest.fixture
def cache(tmp_path):
    """Prepared segments of two clips with a gap between them, as `prepare` writes them."""
    from scratchnet.data.segments import ARRAYS, VERSION
    from scratchnet.sound.mel import segment_log_mel
    from scratchnet.sound.settings import SoundSettings

    settings, folder = SoundSettings(), tmp_path / "cache"
    folder.mkdir()
    rng, length = np.random.default_rng(0), SoundSettings().segment_length
    waveform = rng.uniform(-1, 1, 3 * length).astype(np.float32)
    start = np.array([0, 2 * length])
    waveform.tofile(folder / "waveform.f32")
    segment_log_mel(waveform.reshape(3, length)[::2], settings).tofile(folder / "logmel.f32")
    both = {name: np.array([0, 1]) for name in ARRAYS}
    np.savez(folder / "index.npz", **{**both, "start": start, "scale": np.ones(2, "f4"), "fold": np.array([1, 2])})
    about = {
        "version": VERSION,
        "settings": settings.to_dict(),
        "samples": 3 * length,
        "clips": ["a", "b"],
        "contents": ["1", "2"],
        "skipped": [],
    }
    about |= {"fingerprint": "f", "classes": ["x", "y"], "codes": ["X", "Y"], "name": "esc10"}
    (folder / "meta.json").write_text(json.dumps(about))
    return open_cache(folder)


def test_data_that_travels_arrives(cache, tmp_path, capsys):
    assert gpu_data.main([str(cache.folder), str(tmp_path / "packed")]) == 0
    assert "MiB" in capsys.readouterr().out
    (tmp_path / "there").mkdir()
    there = gpu_data.unpack(tmp_path / "packed", tmp_path / "there")
    assert isinstance(there, Segments) and there.classes == cache.classes
    both = np.arange(2)
    difference = np.abs(there.waveforms(both) - cache.waveforms(both)).max()
    assert 0 < difference <= 0.5 / 32767 + 2.0**-24  # half a step of 16 bits, and float32's own
    middle = cache.settings.segment_length
    assert not there.waveform[middle : 2 * middle].any()  # in no segment
    # loud noise: a change of at most 2⁻¹⁶ in each of 1024 samples of size 1 is far under a thousandth of its power
    assert np.abs(there.logmels(both) - cache.logmels(both)).max() < 0.05
    assert np.array_equal(there.start, cache.start) and np.array_equal(there.fold, cache.fold)


@pytest.mark.parametrize(
    "damage, said",
    [
        (lambda files, about: files.clear(), "no packed data"),
        (lambda files, about: files.pop("waveform.f32"), "damaged"),
        (lambda files, about: files.update({"meta.json": b"[]"}), "says too little"),
        (lambda files, about: files.update({"meta.json": json.dumps({**about, "version": 1})}), "packed as version 1"),
    ],
)
def test_what_was_packed_otherwise_is_refused_at_once(cache, tmp_path, capsys, damage, said):
    file = tmp_path / "packed"
    gpu_data.pack(cache.folder, file)
    assert gpu.main(["--dry-run", "--cache", str(file)]) == 0
    with ZipFile(file) as source:
        files = {name: source.read(name) for name in source.namelist()}
    damage(files, json.loads(files["meta.json"]))
    with ZipFile(file, "w") as target:
        for name, content in files.items():
            target.writestr(name, content)
    assert gpu.main(["--dry-run", "--cache", str(file)]) == 2
    assert said in capsys.readouterr().err
    file.write_bytes(b"")
    assert gpu.main(["--dry-run", "--cache", str(file)]) == 2


def test_the_protocol_runs_from_a_cache_and_from_what_was_packed(tones, tmp_path):
    """On the CPU: what a GPU would change is the backend alone."""
    segments = prepare(open_source(tones), SoundSettings())
    gpu_data.pack(segments.folder, tmp_path / "packed")
    for cache, count in ((segments.folder, 0), (tmp_path / "packed", 2 * len(segments))):
        found = gpu_parts.protocol(str(cache), "cpu", 1, count)
        assert found["segments"] == (count or len(segments)) and found["estimate"] > 0
        assert set(found["epoch_seconds"]) == {"0", "1", "2", "3"} and 0 <= found["segment_accuracy"] <= 1


def test_fewer_bits_are_fewer_bytes_and_loud_samples_are_refused(cache, tmp_path):
    sizes = [gpu_data.pack(cache.folder, tmp_path / "packed", bits) for bits in (16, 12)]
    assert sizes[1] < 0.85 * sizes[0]
    waveform = np.memmap(cache.folder / "waveform.f32", np.float32, "r+")
    waveform[0] = 1.5
    waveform.flush()
    with pytest.raises(InputError, match="beyond ±1"):
        gpu_data.pack(cache.folder, tmp_path / "packed")


@pytest.mark.parametrize("module, given", [(gpu_parts, ["nix"]), (gpu_parts, []), (gpu_way, ["--nix"])])
def test_a_part_that_is_none_is_one_line(module, given, capsys):
    assert module.main(given) == 2
    error = capsys.readouterr().err
    assert error.startswith("scratchnet: ") and error.count("\n") == 1


def test_parts_are_added_to_those_of_the_same_gpu_and_versions_alone(tmp_path):
    about = {"gpu": "H", "versions": {"torch": "2.11"}, "date": "2026-11-27"}
    path = tmp_path / "gpu.json"
    path.write_text(json.dumps({"parts": {"kernels": 1}, "machine": about}))
    assert gpu.earlier(path, {**about, "date": "2026-11-28"}) == {"kernels": 1}
    with pytest.raises(InputError, match=r"gpu.json: measured on another GPU or with other versions; move it away"):
        gpu.earlier(path, {**about, "versions": {"torch": "2.12"}})
