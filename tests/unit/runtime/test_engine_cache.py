"""The engine cache: keys, whole entries only, damage said, one build at a time. No compiler."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from adcvsr.bundle import open_bundle
from adcvsr.errors import ConfigError, EngineError, OutputNotWritableError
from adcvsr.runtime.engine.compiled import compiled_graphs
from adcvsr.runtime.engine.engine_cache import CacheEntry, EngineCache
from adcvsr.runtime.engine.engines import find_engine
from adcvsr.runtime.engine.order import BuildOptions, EngineOrder, SizeRange, parse_bytes, runs_on
from adcvsr.runtime.nvidia.gpu import Gpu

ORIN = Gpu("Orin", 87, integrated=True, cuda="12.6")


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return EngineCache(tmp_path / "cache")


def order_of(**changes: object) -> EngineOrder:
    order = EngineOrder(
        bundle=open_bundle("nano"),
        variant_id="fp32-onnx",
        graph_file="fp32-onnx.onnx",
        backend="tensorrt",
        builder="10.3.0",
        cuda="12.6",
        gpu="Orin",
        sms=(87,),
        sizes=SizeRange.fixed(36, 64),
    )
    return replace(order, **changes)  # type: ignore[arg-type]


def put(cache: EngineCache, order: EngineOrder, plan: bytes = b"plan" * 100) -> CacheEntry:
    with cache.lock(order.key, lambda line: None):
        return cache.store(order, memoryview(plan), {"what": "a test"}, lambda line: None)


def test_what_changes_the_key() -> None:
    keys = {
        order_of(**changes).key
        for changes in (
            {},
            {"builder": "10.3.1"},
            {"cuda": "13.0"},
            {"gpu": "Orin NX"},
            {"gpu": None},
            {"sms": (86, 87)},
            {"sizes": SizeRange.fixed(36, 65)},
            {"sizes": SizeRange((32, 32), (36, 64), (64, 64))},
            {"options": BuildOptions(workspace_bytes=1 << 30)},
            {"options": BuildOptions(hardware="same-sm")},
            {"options": BuildOptions(version_compatible=True)},
        )
    }
    assert len(keys) == 11
    assert order_of().key == order_of().key


def test_hit_only_when_whole(cache: EngineCache) -> None:
    order, said = order_of(), []
    assert cache.look_up(order, said.append) is None
    entry = put(cache, order)
    found = cache.look_up(order, said.append)
    assert found is not None
    assert found.read_plan() == b"plan" * 100
    assert said == []
    assert [e.key for e in cache.entries()] == [entry.key] == [order.key]


def test_damaged_and_foreign_entries_are_told(cache: EngineCache) -> None:
    order, said = order_of(), []
    entry = put(cache, order)
    entry.plan.write_bytes(b"evil" * 100)
    os.utime(entry.plan, ns=(0, 0))
    assert cache.look_up(order, said.append) is None
    assert "changed after it was built" in said[-1]
    with pytest.raises(EngineError, match="is not loaded; build it again"):
        entry.read_plan()
    entry.plan.write_bytes(b"plan" * 99)
    assert cache.look_up(order, said.append) is None
    assert "396 bytes instead of 400" in said[-1]
    entry.plan.unlink()
    assert cache.look_up(order, said.append) is None
    assert "No such file" in said[-1]

    entry = put(cache, order)
    facts_file = entry.folder / "engine.json"
    facts = json.loads(facts_file.read_text())
    facts["identity"]["builder"] = "11.4.1"
    facts_file.write_text(json.dumps(facts))
    assert cache.look_up(order, said.append) is None
    assert "another graph or device" in said[-1]
    facts_file.write_text("{")
    assert cache.look_up(order, said.append) is None
    assert "malformed" in said[-1]
    assert cache.entries() == []
    put(cache, order)
    assert cache.look_up(order, said.append) is not None


def test_limit_removes_what_was_unused_longest(cache: EngineCache) -> None:
    cache.limit_bytes = 1000
    orders = [order_of(sizes=SizeRange.fixed(36, width)) for width in (64, 65, 66)]
    for age, order in zip((3, 2), orders, strict=False):
        entry = put(cache, order)
        os.utime(entry.folder / "engine.json", (1e9 - age, 1e9 - age))
    first = cache.look_up(orders[0], lambda line: None)  # used just now, so it stays
    assert first is not None
    said: list[str] = []
    with cache.lock(orders[2].key, said.append):
        cache.store(orders[2], memoryview(b"x" * 400), {"what": "third"}, said.append)
    assert {e.key for e in cache.entries()} == {orders[0].key, orders[2].key}
    assert len(said) == 1
    assert "made room" in said[0]


def test_failed_write_leaves_the_old_engine(
    cache: EngineCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = order_of()
    put(cache, order)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputNotWritableError, match="No space left"):
        put(cache, order, b"new")
    monkeypatch.undo()
    assert cache.look_up(order, lambda line: None) is not None
    assert sorted(p.name for p in cache.engines.iterdir()) == [order.key]


def test_killed_while_writing(cache: EngineCache) -> None:
    """kill -9 with half a plan on the disk: nothing is listed, the next build sweeps it."""
    code = f"""
import os, signal, sys
sys.path[:0] = {sys.path!r}
os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
import importlib.util
spec = importlib.util.spec_from_file_location("helper", {__file__!r})
helper = importlib.util.module_from_spec(spec); spec.loader.exec_module(helper)
from pathlib import Path
helper.put(helper.EngineCache(Path({str(cache.folder)!r})), helper.order_of())
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
    assert done.returncode == -9, done.stderr.decode()
    assert len(list(cache.engines.iterdir())) == 1
    assert cache.entries() == []
    put(cache, order_of())
    assert [p.name for p in cache.engines.iterdir()] == [order_of().key]


def test_clear(cache: EngineCache) -> None:
    orders = [order_of(sizes=SizeRange.fixed(36, width)) for width in (64, 65)]
    for order in orders:
        put(cache, order)
    assert cache.clear(orders[0].key[:8]) == (1, pytest.approx(400, abs=3000))
    with pytest.raises(EngineError, match="no engine 'ffff'"):
        cache.clear("ffff")
    assert cache.clear()[0] == 1
    assert cache.entries() == []


def test_clear_beside_a_build(cache: EngineCache) -> None:
    """What a process that lives is writing stays; what a killed one left goes."""
    order = order_of()
    put(cache, order)
    written, left = (cache.engines / f"{key}.part-1" for key in (order.key, "0" * 32))
    with cache.lock(order.key, lambda line: None):
        for folder in (written, left):
            folder.mkdir()
        assert cache.clear()[0] == 1
        assert [*cache.engines.iterdir()] == [written]
    assert cache.clear()[0] == 0
    assert [*cache.engines.iterdir()] == []


def test_listed_while_another_process_clears(
    cache: EngineCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(cache, order_of())
    read = EngineCache._read

    def read_then_gone(folder: Path) -> CacheEntry | str:
        entry = read(folder)
        (folder / "engine.json").unlink()
        return entry

    monkeypatch.setattr(EngineCache, "_read", staticmethod(read_then_gone))
    assert [entry.used for entry in cache.entries()] == [0.0]


def test_which_engine_runs_a_size(cache: EngineCache) -> None:
    wide = order_of(sizes=SizeRange((32, 32), (36, 64), (64, 128)))
    ahead = order_of(gpu=None, sms=(86, 87))
    put(cache, wide)
    assert find_engine(order_of(), ORIN, 36, 64, cache).key == wide.key  # type: ignore[union-attr]
    put(cache, ahead)
    put(cache, order_of())
    assert find_engine(order_of(), ORIN, 36, 64, cache).key == order_of().key  # type: ignore[union-attr]
    assert find_engine(order_of(), ORIN, 64, 128, cache).key == wide.key  # type: ignore[union-attr]
    assert find_engine(order_of(), ORIN, 65, 128, cache) is None
    assert find_engine(order_of(builder="11.4.1"), ORIN, 36, 64, cache) is None
    other = replace(ORIN, name="Orin NX")
    assert find_engine(order_of(), other, 36, 64, cache).key == ahead.key  # type: ignore[union-attr]
    assert find_engine(order_of(), replace(ORIN, sm=110), 36, 64, cache) is None


def test_version_compatible_engines_serve_later_versions(cache: EngineCache) -> None:
    order = order_of(options=BuildOptions(version_compatible=True))
    put(cache, order)
    found = find_engine(order_of(builder="10.16.1"), ORIN, 36, 64, cache)
    assert found is not None
    assert found.key == order.key
    assert find_engine(order_of(builder="10.2.9"), ORIN, 36, 64, cache) is None


def test_hardware_compatible_engines() -> None:
    rtx = Gpu("NVIDIA GeForce RTX 4090", 89, integrated=False, cuda="13.0")
    ampere = order_of(gpu="A10", sms=(86,), options=BuildOptions(hardware="ampere+")).identity()
    assert runs_on(ampere, rtx)
    assert not runs_on(ampere, replace(rtx, sm=75))
    assert not runs_on(ampere, ORIN)
    same = order_of(gpu="L4", sms=(89,), options=BuildOptions(hardware="same-sm")).identity()
    assert runs_on(same, rtx)
    assert not runs_on(same, replace(rtx, sm=86))


def test_profile_shapes_follow_the_divisors(tiny_bundle: Path) -> None:
    bundle = open_bundle(tiny_bundle)
    order = replace(
        order_of(), bundle=bundle, sizes=SizeRange((9, 9), (17, 33), (33, 64)).padded(2)
    )
    profile = order.profile()
    assert profile["frame"] == ((1, 10, 10, 3), (1, 18, 34, 3), (1, 34, 64, 3))
    for spec in bundle.state:
        assert profile[spec.name][1] == (1, spec.channels, 18 // spec.divisor, 34 // spec.divisor)
    assert {spec.divisor for spec in bundle.state} == {1, 2}


def test_sizes_and_amounts() -> None:
    assert parse_bytes("2GiB") == 2 << 30
    assert parse_bytes("1.5gb") == 1_500_000_000
    with pytest.raises(ConfigError, match="no amount of memory"):
        parse_bytes("2 pounds")
    with pytest.raises(ConfigError, match="--min <= --opt <= --max"):
        SizeRange((64, 64), (32, 64), (64, 64))
    with pytest.raises(ConfigError, match="size 99999x99: the limit is 36 megapixels"):
        SizeRange.fixed(99, 99999)
    with pytest.raises(ConfigError, match="expected 1MiB or more"):
        BuildOptions(workspace_bytes=1)


def test_layer_lists_of_the_cache_are_read_for_plans(cache: EngineCache) -> None:
    """Only where they tell of one size of a stream network; what else lies there is no error."""
    sha = order_of().source()["onnx"]
    layers = {"kernels": 14, "bytes": 266112000}
    facts = {"part": "stream", "size": "640x360", "layers": layers}

    def put_with(facts: dict[str, object]) -> CacheEntry:
        with cache.lock(order_of().key, print):
            return cache.store(order_of(), memoryview(b"plan"), facts, print)

    first = put_with(facts)
    (found,) = compiled_graphs(cache)
    assert (found.key, found.onnx, found.backend) == (first.key, sha, order_of().backend)
    assert (found.width, found.height, found.bytes, found.kernels) == (640, 360, 266112000.0, 14)
    for other in (
        {"part": "stream", "size": "640x360"},
        {**facts, "size": "320x180..640x360..1280x720"},
        {**facts, "layers": {"kernels": 14, "bytes": None}},
        {**facts, "part": "clip"},
    ):
        put_with(other)
        assert compiled_graphs(cache) == []
