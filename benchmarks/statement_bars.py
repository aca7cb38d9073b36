"""Whether statements hold what they say, of a shipped bundle, of wrong variants and of itself.

    python benchmarks/statement_bars.py clips/ --model nano            # INT8 against FP32, timed
    python benchmarks/statement_bars.py clips/ --wrong --quick         # four wrong graphs, refused
    python benchmarks/statement_bars.py clips/ --itself 20 --crop 64x36   # FP32, other threads

Wrong graphs are FP32's with a few nodes behind: rounded to every sixth level, three levels more red
and less blue, two levels up and down from frame to frame, and a level more every hundred frames.
The last two count frames in the lowest bits of the carried state.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from adcvsr.bundle import Bundle, open_bundle
from adcvsr.calibration.sets.build_set import find_videos
from adcvsr.calibration.statement.sequential import Claim
from adcvsr.calibration.statement.statement import (
    Statement,
    StatementRequest,
    make_statements,
)
from adcvsr.runtime.processing.backends import create_session

WRONG = ("banding", "colour", "flicker", "drift")
QUICK = Claim(share=0.9, usual=0.01)
COARSE, FINE = 64.0, 2.0**18
"""Steps that the state is rounded to, and those that count frames below them."""


def add(
    graph: onnx.GraphProto, op: str, inputs: list[str], output: str, **attributes: object
) -> str:
    graph.node.append(helper.make_node(op, inputs, [output], name=f"wrong/{output}", **attributes))
    return output


def constant(graph: onnx.GraphProto, name: str, value: object, dtype: type = np.float32) -> str:
    graph.initializer.append(numpy_helper.from_array(np.array(value, dtype), name))
    return name


def count_frames(graph: onnx.GraphProto, state: str, following: str) -> str:
    """Frames so far, (1, 1, 1, 1), from the state's low bits, which get the next number."""
    for node in graph.node:
        node.output[:] = ["wrong/exact" if name == following else name for name in node.output]
    coarse, fine = constant(graph, "wrong/coarse", COARSE), constant(graph, "wrong/fine", FINE)
    one, ends = constant(graph, "wrong/one", 1), constant(graph, "wrong/ends", [1] * 4, np.int64)
    begins = constant(graph, "wrong/begins", [0] * 4, np.int64)

    def rounded(name: str, prefix: str) -> str:
        large = add(graph, "Mul", [name, coarse], f"{prefix}/large")
        whole = add(graph, "Round", [large], f"{prefix}/whole")
        return add(graph, "Div", [whole, coarse], f"{prefix}/rounded")

    first = add(graph, "Slice", [state, begins, ends], "wrong/first")
    rest = add(graph, "Sub", [first, rounded(first, "wrong/in")], "wrong/rest")
    scaled = add(graph, "Mul", [rest, fine], "wrong/scaled")
    count = add(graph, "Round", [scaled], "wrong/count")
    more = add(graph, "Add", [count, one], "wrong/more")
    bits = add(graph, "Div", [more, fine], "wrong/bits")
    add(graph, "Add", [rounded("wrong/exact", "wrong/out"), bits], following)
    return count


def spoil(bundle: Bundle, how: str) -> onnx.ModelProto:
    """FP32's graph with a fault."""
    model = onnx.load_model_from_string(bundle.read(bundle.variant("fp32-onnx").file))
    graph, output = model.graph, bundle.output_name
    for node in graph.node:
        node.output[:] = ["wrong/picture" if name == output else name for name in node.output]
    levels = add(graph, "Cast", ["wrong/picture"], "wrong/levels", to=onnx.TensorProto.FLOAT)
    if how == "banding":
        six = constant(graph, "wrong/six", 6)
        steps = add(graph, "Div", [levels, six], "wrong/steps")
        whole = add(graph, "Floor", [steps], "wrong/floor")
        half = constant(graph, "wrong/half", 0.5)
        middle = add(graph, "Add", [whole, half], "wrong/middle")
        changed = add(graph, "Mul", [middle, six], "wrong/changed")
    elif how == "colour":
        tint = constant(graph, "wrong/tint", [3, 0, -3])
        changed = add(graph, "Add", [levels, tint], "wrong/changed")
    else:
        state = bundle.state[0]
        count = count_frames(graph, state.name, state.next_name)
        if how == "drift":
            hundred = constant(graph, "wrong/hundred", 100)
            offset = add(graph, "Div", [count, hundred], "wrong/offset")
        else:
            two = constant(graph, "wrong/two", 2)
            odd = add(graph, "Mod", [count, two], "wrong/odd", fmod=1)
            four = constant(graph, "wrong/four", 4)
            high = add(graph, "Mul", [odd, four], "wrong/high")
            offset = add(graph, "Sub", [high, two], "wrong/offset")
        changed = add(graph, "Add", [levels, offset], "wrong/changed")
    low, high = constant(graph, "wrong/black", 0), constant(graph, "wrong/white", 255)
    near = add(graph, "Round", [changed], "wrong/near")
    kept = add(graph, "Clip", [near, low, high], "wrong/kept")
    add(graph, "Cast", [kept], output, to=onnx.TensorProto.UINT8)
    return model


def spoiled_bundle(source: Bundle, folder: Path, how: str) -> Bundle:
    """A copy with FP32 and the wrong graph, which takes the name of an INT8 variant."""
    target = folder / how
    shutil.copytree(source.path, target)
    data = spoil(source, how).SerializeToString()
    name = "int8-onnx"
    (target / f"{name}.onnx").write_bytes(data)
    manifest = json.loads((target / "manifest.json").read_text())
    manifest["variants"][name] = {"file": f"{name}.onnx", "opset": 20, "state_dtype": "float32"}
    digest = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    manifest["files"][f"{name}.onnx"] = digest
    (target / "manifest.json").write_text(json.dumps(manifest))
    return open_bundle(target)


def state_of(
    bundle: Bundle,
    clips: list[Path],
    variants: tuple[str, str],
    threads: tuple[int, int],
    *,
    quick: bool,
    crop: str = "",
    seed: int = 0,
    drift_frames: int = 400,
) -> Statement:
    with ExitStack() as stack:
        sessions = [
            stack.enter_context(
                create_session(bundle, backend="ort-cpu", variant=name, threads=count)
            )
            for name, count in zip(variants, threads, strict=True)
        ]
        further: dict[str, Any] = {"claim": QUICK} if quick else {}
        if crop or quick:
            width, height = map(int, (crop or "64x36").split("x"))
            further |= {"height": height, "width": width}
        request = StatementRequest(
            clips=clips, sessions=sessions, seed=seed, drift_frames=drift_frames, **further
        )
        return make_statements(request, note=print)[0]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--wrong", action="store_true")
    parser.add_argument("--itself", type=int, default=0, metavar="N")
    parser.add_argument("--threads", type=int, default=0, help="Of both networks; 0 is all.")
    parser.add_argument("--quick", action="store_true", help="Nine in ten frames, small crops.")
    parser.add_argument("--crop", default="", metavar="WxH", help="Of runs [default: 128x72].")
    chosen = parser.parse_args()
    clips, bundle = find_videos(chosen.clips), open_bundle(chosen.model)
    failed = 0
    if chosen.wrong:
        with tempfile.TemporaryDirectory() as folder:
            for how in WRONG:
                wrong = spoiled_bundle(bundle, Path(folder), how)
                names = ("fp32-onnx", "int8-onnx")
                found = state_of(wrong, clips, names, (0, 0), quick=chosen.quick, crop=chosen.crop)
                right = not found.shown and found.reasons[0] == how
                failed += not right
                print(f"{'ok' if right else 'WRONG'} {how}: {found.line()}", flush=True)
    elif chosen.itself:
        for seed in range(chosen.itself):
            names = ("fp32-onnx", "fp32-onnx")
            found = state_of(
                bundle,
                clips,
                names,
                (1, 2),
                quick=chosen.quick,
                crop=chosen.crop,
                seed=seed,
                drift_frames=100,
            )
            failed += not found.shown
            print(f"{'ok' if found.shown else 'ALARM'} {seed}: {found.line()}", flush=True)
    else:
        began, cpu = time.monotonic(), time.process_time()
        names = ("fp32-onnx", "int8-ort")
        threads = (chosen.threads, chosen.threads)
        found = state_of(bundle, clips, names, threads, quick=chosen.quick, crop=chosen.crop)
        seconds, cpu = time.monotonic() - began, time.process_time() - cpu
        print("\n".join([found.line(), *found.details()]))
        for name in ("rms", "colour", "flicker", "banding"):
            values = [getattr(run.found, name) or 0.0 for run in found.runs]
            parts = ", ".join(f"{v:.3f}" for v in np.quantile(values, [0.5, 0.9, 0.99, 1]))
            print(f"{name}: median, 90, 99, 100 %: {parts}")
        print(f"{seconds:.0f} s, {cpu:.0f} CPU-seconds, load {Path('/proc/loadavg').read_text()}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
