"""Open damaged and hostile documents and bundles: each is accepted or refused in one error.

Documents (manifests, bench results, measurements, calibration sets, teacher caches, engine facts,
engines that are current, trials of a search, training configs, recipes, checkpoints' metadata) are
changed in one value or in their bytes; bundles carry graphs and zip files made to do harm. Each is
opened in a worker process and judged: `accepted`, `refused` (an error of adcvsr's own),
`traceback`, `memory` (the process grew by more than 512 MiB), `hang` or `crash`. The seed makes a
case again. Exits 1 unless all are one of the first two.

    python benchmarks/fuzz_input.py [--cases 2000] [--seed 0] [--seconds 60] [--only documents]
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import random
import shutil
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from judging import Worker

MEMORY_BYTES = 512 << 20
REPOSITORY = Path(__file__).resolve().parents[1]

VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 2.5, 10**30, 1e308, float("nan"), float("inf"), "", "x", "\x1b[31m\x07"),
    *("\ud800", "../x", "/etc/passwd", "a" * 100_000, [], {}, [[]], {"a": 1}, 1 << 40, "\x00"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=2000, help="of changed documents")
    parser.add_argument("--seed", type=int, default=0, help="of the first")
    parser.add_argument("--seconds", type=float, default=60, help="after which a case hangs")
    parser.add_argument("--only", choices=("documents", "bundles"))
    arguments = parser.parse_args()
    cases: list[str] = []
    if arguments.only != "bundles":
        first = arguments.seed
        cases += [f"document {seed}" for seed in range(first, first + arguments.cases)]
    if arguments.only != "documents":
        cases += [f"bundle {name}" for name in BUNDLES]
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="adcvsr-fuzz-") as folder:
        os.environ["ADCVSR_CACHE"] = str(Path(folder) / "cache")
        worker = Worker([sys.executable, __file__, "--worker", folder])
        for case in cases:
            outcome = worker.judge(case, arguments.seconds)
            outcomes[outcome.split(":")[0]] += 1
            if case.startswith("bundle") or not outcome.startswith(("accepted", "refused")):
                print(f"{case}: {outcome[:200]}", flush=True)
        worker.stop()
    print(f"{outcomes.total()} cases: {json.dumps(dict(outcomes))}")
    sys.exit(bool(set(outcomes) - {"accepted", "refused"}))


def work(folder: Path) -> None:
    """Judge each case named on stdin, with a line on stdout."""
    import resource

    from adcvsr.errors import AdcVsrError

    sys.stdout, answers = io.StringIO(), sys.stdout
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, hard))
    sources = make_sources(folder)
    for line in sys.stdin:
        kind, name = line.split()
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        before = _peak_bytes()
        try:
            if kind == "document":
                open_changed(sources, int(name), folder)
            else:
                open_hostile(name, folder)
            answer = "accepted"
        except AdcVsrError as error:
            answer = f"refused: {error}"
        except BaseException as error:
            answer = f"traceback: {type(error).__name__}: {error}"
        grown = _peak_bytes() - before
        if grown > MEMORY_BYTES:
            answer = f"memory: {grown >> 20} MiB more, {answer}"
        answers.write(ascii(answer)[1:-1] + "\n")
        answers.flush()
        sys.stdout.seek(0)
        sys.stdout.truncate()


def _peak_bytes() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) << 10


# Documents


def make_sources(folder: Path) -> list[tuple[str, bytes, Callable[[Path, bytes], object]]]:
    """Name, content and opener of every kind of document."""
    from adcvsr.bundle import PACKAGED

    bench = REPOSITORY / "benchmarks" / "results" / "xeon-2-cores-nano-320x180.json"
    config = REPOSITORY / "train" / "configs" / "nano-camera.toml"
    recipe = REPOSITORY / "export" / "recipes" / "int8-cpu.toml"
    measured = {"target": "cpu", "backend": "ort-cpu", "bundle": "nano", "variant": "fp32-onnx"}
    measured |= {"width": 320, "height": 180, "ms": 9.1}
    cache = {"schema": 1, "teacher": "truth", "recipe": {"data": {"frames": 3}}, "samples": 1}
    entry = {"index": 0, "key": "k", "source": "k", "kept": [0, 1, 0, 8, 0, 8], "file": "samples/a"}
    entry |= {"bytes": 1, "sha256": "0" * 64}
    engine = {"schema": 1, "identity": {"device": {}}, "plan_bytes": 1, "plan_sha256": "0" * 64}
    current = {"keys": ["a"], "variant": "v", "backend": "b", "size": "s", "date": "d"}
    trial = {"float": ["a"], "float_work": 0.5, "figures": {"snr": 20.0, "psnr": 30.0}}
    found: list[tuple[str, bytes, Callable[[Path, bytes], object]]] = [
        ("manifest", (PACKAGED / "nano" / "manifest.json").read_bytes(), open_manifest),
        ("bench", bench.read_bytes(), open_bench),
        ("measured", json.dumps(measured).encode(), open_measured),
        ("cache", json.dumps(cache).encode(), open_cache_header),
        ("samples", json.dumps(entry).encode(), open_cache_line),
        ("engine", json.dumps(engine).encode(), open_engine),
        ("current", json.dumps({"current": current, "previous": None}).encode(), open_current),
        ("trials", json.dumps({"of": {"network": "a"}, "trials": [trial]}).encode(), open_trials),
        ("set", calibration_manifest(folder), open_calibration),
        ("config", config.read_bytes(), open_config),
        ("recipe", recipe.read_bytes(), open_recipe),
    ]
    try:
        found.append(("checkpoint", checkpoint_header(), open_checkpoint))
    except ImportError:
        print("no torch or safetensors: checkpoints are left out", file=sys.stderr)
    return found


def open_changed(sources: list[Any], seed: int, folder: Path) -> None:
    rng = random.Random(seed)
    name, content, open_it = sources[seed % len(sources)]
    if name in ("config", "recipe") or rng.random() < 0.3:
        content = changed_bytes(bytearray(content), rng)
    else:
        content = changed_value(content, rng)
    place = folder / "case"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    open_it(place, content)


def changed_value(content: bytes, rng: random.Random) -> bytes:
    """One value replaced, removed or doubled; sometimes nested deep."""
    document = json.loads(content)
    parent: Any = document
    while True:
        keys = list(parent) if isinstance(parent, dict) else range(len(parent))
        if not keys:
            break
        key = rng.choice(keys)
        child = parent[key]
        if isinstance(child, dict | list) and child and rng.random() < 0.7:
            parent = child
            continue
        action = rng.random()
        if action < 0.15:
            del parent[key]
        elif action < 0.2:
            parent[key] = "DEEP"
        else:
            parent[key] = rng.choice(VALUES)
        break
    text = json.dumps(document)
    depth = rng.choice((40, 1000, 100_000))
    return text.replace('"DEEP"', "[" * depth + "]" * depth).encode()


def changed_bytes(data: bytearray, rng: random.Random) -> bytes:
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data) + 1)
        action = rng.random()
        if action < 0.4 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif action < 0.6:
            del data[at : at + rng.randint(1, 40)]
        elif action < 0.8:
            data[at:at] = rng.choice((b"\xff\xfe", b"nan", b"inf", b"[" * 5000, b"9" * 5000, b"\0"))
        elif action < 0.9:
            del data[at:]
            data += b" "
        else:
            data[at:at] = data[at : at + 100]
    return bytes(data)


def open_manifest(place: Path, content: bytes) -> None:
    from adcvsr.bundle import Bundle, describe, open_bundle
    from adcvsr.cli._bundle_text import inspect_bundle, lines
    from adcvsr.runtime.proof.golden import golden_limit

    for file in open_bundle("nano").path.iterdir():
        (place / file.name).symlink_to(file)
    (place / "manifest.json").unlink()
    (place / "manifest.json").write_bytes(content)
    bundle = Bundle(place)
    describe(bundle)
    "\n".join(lines(inspect_bundle(bundle))).encode()
    for variant in bundle.variants.values():
        golden_limit(bundle, variant, "ort-cpu")
    run(bundle)


def open_bench(place: Path, content: bytes) -> None:
    from adcvsr.cli._bench_text import print_comparison
    from adcvsr.runtime.bench.compare import compare, read_result

    (place / "a.json").write_bytes(content)
    result = read_result(place / "a.json")
    print_comparison(compare(result, result), "a", "b")


def open_measured(place: Path, content: bytes) -> None:
    from adcvsr.plan.measured import correction, read_measurements

    (place / "a.json").write_bytes(content)
    found = read_measurements(place, lambda line: None)
    place_of = {"target": "cpu", "backend": "ort-cpu", "bundle": "nano", "variant": "fp32-onnx"}
    correction(found, lambda each: 1.0, **place_of)


def open_cache_header(place: Path, content: bytes) -> None:
    from adcvsr.train.teachers.store import open_cache

    (place / "cache.json").write_bytes(content)
    open_cache(place, teacher="truth", recipe={"data": {"frames": 3}}, samples=1)


def open_cache_line(place: Path, content: bytes) -> None:
    from adcvsr.train.teachers.store import CacheFolder

    header = {"schema": 1, "teacher": "truth", "recipe": {}, "samples": 1}
    (place / "cache.json").write_text(json.dumps(header))
    (place / "manifest.jsonl").write_bytes(content + b"\n")
    store = CacheFolder(place)
    store.damaged()


def open_engine(place: Path, content: bytes) -> None:
    from adcvsr.runtime.engine.engine_cache import EngineCache

    folder = place / "engines" / "key"
    folder.mkdir(parents=True)
    (folder / "engine.json").write_bytes(content)
    for entry in EngineCache(place).entries():
        entry.damage()


def open_current(place: Path, content: bytes) -> None:
    from adcvsr.runtime.engine.engine_cache import EngineCache, read_current

    file = place / "current" / "nano--GPU.json"
    file.parent.mkdir()
    file.write_bytes(content)
    EngineCache(place).current_keys()
    read_current(file)


def open_trials(place: Path, content: bytes) -> None:
    from adcvsr.export.search.search_state import FILE, Trials

    (place / FILE).write_bytes(content)
    [trial.noise for trial in Trials(place, {"network": "a"}).all()]


def open_calibration(place: Path, content: bytes) -> None:
    from adcvsr.bundle import open_bundle
    from adcvsr.calibration.sets.calibration_set import open_set

    (place / "frames.npz").symlink_to(place.parent / "frames.npz")
    (place / "manifest.json").write_bytes(content)
    found = open_set(place)
    found.describe()
    found.require_fit(open_bundle("nano"))


def open_config(place: Path, content: bytes) -> None:
    from adcvsr.train.settings import PretrainSettings, read_settings

    (place / "a.toml").write_bytes(content)
    read_settings(place / "a.toml", PretrainSettings)


def open_recipe(place: Path, content: bytes) -> None:
    from adcvsr.export.recipes.recipe import read_recipe

    (place / "a.toml").write_bytes(content)
    read_recipe(place / "a.toml")


def open_checkpoint(place: Path, content: bytes) -> None:
    from adcvsr.model import load_checkpoint

    file = place / "a.safetensors"
    header = json.dumps({"__metadata__": {"adcvsr": content.decode(errors="replace")}}).encode()
    file.write_bytes(len(header).to_bytes(8, "little") + header)
    load_checkpoint(file)


def calibration_manifest(folder: Path) -> bytes:
    import numpy as np

    from adcvsr.bundle import open_bundle
    from adcvsr.calibration.sets.calibration_set import network_facts

    frames = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), np.uint8)
    np.savez(folder / "frames.npz", run_000=frames)
    data = (folder / "frames.npz").read_bytes()
    manifest = {
        "calibration_schema": 1,
        "network": network_facts(open_bundle("nano")),
        "coverage": {"motion": {"edges": [1.0], "runs": [1, 0]}, "cold_frames": 1, "cuts": 0},
        "runs": [{"clip": "a", "first_frame": 0, "cut": None}],
        "files": {"frames.npz": {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}},
    }
    return json.dumps(manifest).encode()


def checkpoint_header() -> bytes:
    import adcvsr.model  # noqa: F401 - whether it can be read
    from adcvsr.config import PRESETS

    return json.dumps({"config": PRESETS["nano"].to_dict(), "provenance": {}}).encode()


# Bundles


def run(bundle: Any) -> None:
    """Open a bundle's FP32 network and upscale a frame."""
    import numpy as np

    from adcvsr.runtime.upscaler import Upscaler

    with Upscaler(bundle, backend="ort-cpu", variant="fp32-onnx", threads=1) as upscaler:
        upscaler(np.zeros((32, 32, 3), np.uint8))


def open_hostile(name: str, folder: Path) -> None:
    from adcvsr.bundle import Bundle, open_bundle

    place = folder / "bundle"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(open_bundle("nano").path, place)
    path = BUNDLES[name](place)
    bundle = Bundle(path)
    run(bundle)
    bundle.verify_files()


def with_graph(change: Callable[[Any], None]) -> Callable[[Path], Path]:
    """A bundle whose FP32 graph was changed, with the right hash."""

    def make(place: Path) -> Path:
        import onnx

        model = onnx.load(place / "fp32-onnx.onnx")
        change(model)
        return with_file(place, "fp32-onnx.onnx", model.SerializeToString())

    return make


def with_file(place: Path, name: str, data: bytes) -> Path:
    (place / name).write_bytes(data)
    manifest = json.loads((place / "manifest.json").read_text())
    entry = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    manifest["files"][name] = entry
    (place / "manifest.json").write_text(json.dumps(manifest))
    return place


def add_constant(node: str, shape: list[int], **attributes: Any) -> Callable[[Any], None]:
    """A node makes a constant of this shape, whose sum is added to a weight's first element."""

    def change(model: Any) -> None:
        from onnx import TensorProto, helper

        graph = model.graph
        graph.initializer.append(
            helper.make_tensor("bomb_s", TensorProto.INT64, [len(shape)], shape)
        )
        graph.initializer.append(helper.make_tensor("bomb_1", TensorProto.FLOAT, [1], [1.0]))
        graph.initializer.append(helper.make_tensor("bomb_a", TensorProto.INT64, [1], [0]))
        inputs = ["bomb_s"] if node == "ConstantOfShape" else ["bomb_1", "bomb_s"]
        nodes = [helper.make_node(node, inputs, ["bomb"], **attributes)]
        tail = "bomb"
        if len(shape) == 2:
            nodes.append(helper.make_node("MatMul", ["bomb", "bomb"], ["bomb_m"]))
            tail = "bomb_m"
        nodes.append(helper.make_node("ReduceSum", [tail], ["bomb_r"], keepdims=0))
        relu = next(each for each in graph.node if each.op_type == "Relu")
        nodes.append(helper.make_node("Mul", ["bomb_r", "bomb_z"], ["bomb_0"]))
        graph.initializer.append(helper.make_tensor("bomb_z", TensorProto.FLOAT, [], [0.0]))
        nodes.append(helper.make_node("Add", [relu.input[0], "bomb_0"], ["bomb_in"]))
        relu.input[0] = "bomb_in"
        at = list(graph.node).index(relu)
        for index, each in enumerate(nodes):
            graph.node.insert(at + index, each)

    return change


def add_loop(model: Any) -> None:
    from onnx import TensorProto, helper

    scalar = helper.make_tensor_value_info
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["c"], ["c_out"]),
            helper.make_node("Add", ["v", "v"], ["v_out"]),
        ],
        "body",
        [
            scalar("i", TensorProto.INT64, []),
            scalar("c", TensorProto.BOOL, []),
            scalar("v", TensorProto.FLOAT, None),
        ],
        [scalar("c_out", TensorProto.BOOL, []), scalar("v_out", TensorProto.FLOAT, None)],
    )
    graph = model.graph
    relu = next(each for each in graph.node if each.op_type == "Relu")
    graph.initializer.append(helper.make_tensor("often", TensorProto.INT64, [], [1 << 40]))
    graph.initializer.append(helper.make_tensor("true", TensorProto.BOOL, [], [True]))
    loop = helper.make_node("Loop", ["often", "true", relu.input[0]], ["looped"], body=body)
    relu.input[0] = "looped"
    graph.node.insert(list(graph.node).index(relu), loop)


def add_domain(model: Any) -> None:
    from onnx import helper

    model.graph.node[0].domain = "evil\x1b[2J"
    model.opset_import.append(helper.make_opsetid("evil\x1b[2J", 1))


def refer_to(location: str) -> Callable[[Any], None]:
    """A weight lies in another file."""

    def change(model: Any) -> None:
        from onnx import TensorProto

        tensor = next(t for t in model.graph.initializer if t.data_type == TensorProto.FLOAT)
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)

    return change


def zipped(place: Path, *, doubled: bool = False, entries: int = 0) -> Path:
    path = place.with_suffix(".zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in place.iterdir():
            archive.write(file, file.name)
        if doubled:
            import warnings

            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                archive.writestr("fp32-onnx.onnx", b"other")
        for index in range(entries):
            archive.writestr(f"{index:050d}", b"")
    return path


def zip_bomb(place: Path) -> Path:
    """A golden clip or graph of 3 GiB of zeros in a few MB."""
    zipped(place)
    path = place.with_suffix(".zip")
    manifest = json.loads((place / "manifest.json").read_text())
    size, block, digest = 3 << 30, bytes(16 << 20), hashlib.sha256()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("fp32-onnx.onnx", "w", force_zip64=True) as member:
            for _ in range(size // len(block)):
                member.write(block)
                digest.update(block)
        entry = {"sha256": digest.hexdigest(), "bytes": size}
        manifest["files"]["fp32-onnx.onnx"] = entry
        archive.writestr("manifest.json", json.dumps(manifest))
    return path


def in_subfolder(place: Path) -> Path:
    """A graph in a subfolder lists `w.data`; an engine would load `sub/w.data`."""
    import onnx

    model = onnx.load(place / "fp32-onnx.onnx")
    refer_to("w.data")(model)
    (place / "sub").mkdir()
    (place / "sub" / "w.data").write_bytes(bytes(1 << 16))
    with_file(place, "w.data", bytes(1 << 16))
    with_file(place, "sub/x.onnx", model.SerializeToString())
    manifest = json.loads((place / "manifest.json").read_text())
    manifest["variants"]["fp32-onnx"] |= {"file": "sub/x.onnx", "data_files": ["w.data"]}
    (place / "manifest.json").write_text(json.dumps(manifest))
    return place


def pipe(place: Path) -> Path:
    (place / "fp32-onnx.onnx").unlink()
    os.mkfifo(place / "fp32-onnx.onnx")
    return place


def flipped(seed: int) -> Callable[[Path], Path]:
    def make(place: Path) -> Path:
        data = bytearray((place / "fp32-onnx.onnx").read_bytes())
        return with_file(place, "fp32-onnx.onnx", changed_bytes(data, random.Random(seed)))

    return make


BUNDLES: dict[str, Callable[[Path], Path]] = {
    "loop": with_graph(add_loop),
    "domain": with_graph(add_domain),
    "constant-memory": with_graph(add_constant("ConstantOfShape", [1 << 33])),
    "constant-time": with_graph(add_constant("ConstantOfShape", [20_000, 20_000])),
    "expand": with_graph(add_constant("Expand", [1 << 33])),
    "tile": with_graph(add_constant("Tile", [1 << 33])),
    "data-absolute": with_graph(refer_to("/etc/passwd")),
    "data-above": with_graph(refer_to("../x")),
    "subfolder": in_subfolder,
    "pipe": pipe,
    "zip-bomb": zip_bomb,
    "zip-doubled": lambda place: zipped(place, doubled=True),
    "zip-entries": lambda place: zipped(place, entries=50_000),
    **{f"flipped-{seed}": flipped(seed) for seed in range(40)},
}
"""What is made of a copy of `nano`, by name."""


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        work(Path(sys.argv[2]))
    else:
        main()
