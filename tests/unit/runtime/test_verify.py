"""`adcvsr verify`: what is damaged, exchanged or beyond judgement has not passed."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from click.testing import CliRunner, Result

from adcvsr.bundle import PACKAGED, Bundle, open_bundle
from adcvsr.cli.commands import cli
from adcvsr.errors import BackendUnavailableError
from adcvsr.export.variants import stage_variant
from adcvsr.pictures.yuv_picture import YuvPicture
from adcvsr.runtime.proof import golden, verify
from adcvsr.runtime.proof.golden import golden_clip
from adcvsr.runtime.proof.verify import FAILED, NOT_JUDGED, PASSED, verify_bundle
from adcvsr.runtime.sessions.ort_cpu import OrtCpuSession
from variant_bundle import copy_of_nano

onnx = pytest.importorskip("onnx", reason="changing graphs needs onnx")

PARITY = {
    "judged": True,
    "golden_psnr_db": 39.0,
    "golden_tolerance_db": 1.0,
    "least_golden_psnr_db": 30.0,
}


def outcomes(bundle: Path) -> dict[str, str]:
    return {each.variant: each.outcome for each in verify_bundle(Bundle(bundle)).variants}


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["verify", *map(str, arguments)])


def noisy_graph(bundle: Path, amount: float) -> bytes:
    """The FP32 graph with its weights off, as rounding leaves them."""
    model = onnx.load(bundle / "fp32-onnx.onnx")
    rng = np.random.default_rng(0)
    for tensor in model.graph.initializer:
        value = onnx.numpy_helper.to_array(tensor)
        if value.ndim == 4:
            noise = amount * np.abs(value).max() * rng.uniform(-1, 1, value.shape)
            tensor.CopyFrom(
                onnx.numpy_helper.from_array((value + noise).astype(value.dtype), tensor.name)
            )
    return bytes(model.SerializeToString())


def add_variant(bundle: Path, name: str, graph: bytes, state_dtype: str = "float32") -> None:
    with stage_variant(bundle) as stage:
        stage.write(f"{name}.onnx", graph)
        entry = {"file": f"{name}.onnx", "state_dtype": state_dtype, "parity": PARITY}
        stage.put(name, entry, [f"{name}.onnx"])
        stage.commit()


def replace(bundle: Path, name: str, data: bytes) -> None:
    """A file with its hash, as someone who exports by hand would."""
    with stage_variant(bundle) as stage:
        stage.write(name, data)
        manifest = json.loads((stage.folder / "manifest.json").read_text())
        variant = next(v for v, e in manifest["variants"].items() if e["file"] == name)
        stage.put(variant, manifest["variants"][variant], [name])
        stage.commit()


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """`nano` and a variant of slightly other weights."""
    path = copy_of_nano(tmp_path / "nano")
    add_variant(path, "int8-ort", noisy_graph(path, 0.001))
    return path


def test_what_is_whole_passes(bundle: Path) -> None:
    done = run(bundle)
    assert done.exit_code == 0, done.output
    assert "nano: 4 of 4 files as they were written" in done.output
    assert "fp32-onnx  passed      ort-cpu: " in done.output
    assert "38.0 dB required" in done.output
    shipped = outcomes(PACKAGED / "nano")
    assert set(shipped.values()) == {PASSED}


@pytest.mark.usefixtures("few_colours")
def test_a_single_file_and_a_clip_network_pass_too(bundle: Path, clip_bundle: Path) -> None:
    assert set(outcomes(clip_bundle).values()) == {PASSED}
    single = Path(shutil.make_archive(str(bundle), "zip", bundle))
    assert outcomes(single) == {"fp32-onnx": PASSED, "int8-ort": PASSED}


@pytest.mark.usefixtures("few_colours")
def test_an_edited_graph_is_named_and_not_run(bundle: Path) -> None:
    graph = bundle / "int8-ort.onnx"
    graph.write_bytes(noisy_graph(bundle, 0.0011))
    done = run(bundle, "--json")
    assert done.exit_code == 1
    found = json.loads(done.output)
    assert found["outcome"] == FAILED
    assert list(found["damaged"]) == ["int8-ort.onnx"]
    assert "longer than" in found["damaged"]["int8-ort.onnx"] or "was changed" in str(found)
    by_name = {each["variant"]: each for each in found["variants"]}
    assert by_name["fp32-onnx"]["outcome"] == PASSED
    assert by_name["int8-ort"]["outcome"] == FAILED
    assert by_name["int8-ort"]["reason"] == "not run: int8-ort.onnx damaged"
    # Damage counts also where the variant asked for is whole.
    assert run(bundle, "--variant", "fp32-onnx").exit_code == 1


@pytest.mark.usefixtures("few_colours")
def test_wrong_weights_in_one_variant(bundle: Path) -> None:
    """Hashed rightly, and not what was proven: only running it tells."""
    replace(bundle, "int8-ort.onnx", noisy_graph(bundle, 0.05))
    done = run(bundle)
    assert done.exit_code == 1
    assert outcomes(bundle) == {"fp32-onnx": PASSED, "int8-ort": FAILED}
    assert "dB to the golden clip, at least 38.0 required" in done.output
    replace(bundle, "fp32-onnx.onnx", noisy_graph(bundle, 0.01))
    assert outcomes(bundle)["fp32-onnx"] == FAILED


def test_a_tint_that_a_mean_does_not_see(bundle: Path) -> None:
    """Near enough to the golden clip, and a red that has lost a tenth of its blue."""
    replace(bundle, "int8-ort.onnx", noisy_graph(bundle, 0.003))
    (found,) = verify_bundle(Bundle(bundle), variants=["int8-ort"]).variants
    assert found.outcome == FAILED
    assert "a flat colour is" in found.reason
    assert "comes out as" in found.reason
    assert (found.psnr_db or 0) > PARITY["least_golden_psnr_db"]
    assert found.colours is not None
    assert found.colours.flat_mean > 3


def swap_golden(bundle: Path, write: Callable[[Path], object]) -> None:
    write(bundle / "golden.npz")
    data = (bundle / "golden.npz").read_bytes()
    manifest = json.loads((bundle / "manifest.json").read_text())
    import hashlib

    entry = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    manifest["files"]["golden.npz"] = entry
    (bundle / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.usefixtures("few_colours")
def test_a_swapped_golden_clip(bundle: Path, tiny_bundle: Path) -> None:
    own = (bundle / "golden.npz").read_bytes()
    swap_golden(bundle, lambda path: shutil.copyfile(tiny_bundle / "golden.npz", path))
    assert outcomes(bundle) == {"fp32-onnx": FAILED, "int8-ort": FAILED}
    # Without the hash of it changed too, nothing is run on it.
    swap_golden(bundle, lambda path: path.write_bytes(own))
    assert run(bundle).exit_code == 0
    shutil.copyfile(tiny_bundle / "golden.npz", bundle / "golden.npz")
    found = verify_bundle(Bundle(bundle))
    assert list(found.damaged) == ["golden.npz"]
    assert all(each.reason.startswith("not run: ") for each in found.variants)


@pytest.mark.parametrize("what", ["nothing", "no arrays", "float", "other size", "bomb"])
def test_a_golden_clip_that_is_none(
    bundle: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(golden, "GOLDEN_LIMIT_BYTES", 8 << 20)
    frames, pictures = golden_clip(Bundle(bundle))
    makers: dict[str, Callable[[Path], object]] = {
        "nothing": lambda path: path.write_bytes(b""),
        "no arrays": lambda path: np.savez(path, a=frames),
        "float": lambda path: np.savez(path, frames=frames / 2, upscaled=pictures),
        "other size": lambda path: np.savez(path, frames=frames[:2], upscaled=pictures),
        "bomb": write_bomb,
    }
    swap_golden(bundle, makers[what])
    found = verify_bundle(Bundle(bundle))
    assert found.outcome == FAILED
    assert not found.damaged
    assert all("no golden clip" in each.reason for each in found.variants)


def write_bomb(path: Path) -> None:
    """16 MiB of zeros in 16 KiB."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("frames.npy", bytes(1 << 24))


@pytest.mark.usefixtures("few_colours")
def test_what_cannot_be_judged_here_has_not_passed(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_variant(bundle, "fp8-trt", b"whatever a CPU makes of it")
    done = run(bundle)
    assert done.exit_code == 3
    assert "fp8-trt    not judged  ONNX Runtime's CPU kernels do not compute in fp8" in done.output
    assert run(bundle, "--variant", "fp32-onnx").exit_code == 0

    add_variant(bundle, "int8-trt", noisy_graph(bundle, 0.003), "float16")
    monkeypatch.setattr(onnxruntime, "__version__", "1.23.2")
    reason = next(v for v in verify_bundle(Bundle(bundle)).variants if v.variant == "int8-trt")
    assert reason.outcome == NOT_JUDGED
    assert "1.23.2 truncates where float16 is quantized" in reason.reason


def test_a_backend_that_is_not_there_judges_nothing(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise BackendUnavailableError("no GPU")

    monkeypatch.setattr(verify, "create_session", refuse)
    found = verify_bundle(Bundle(bundle))
    assert found.outcome == NOT_JUDGED
    assert {each.reason for each in found.variants} == {"no GPU"}


@pytest.mark.usefixtures("few_colours")
def test_a_graph_its_own_backend_refuses_has_failed(bundle: Path) -> None:
    replace(bundle, "int8-ort.onnx", (PACKAGED / "nano/model_card.md").read_bytes())
    add_variant(bundle, "fp16-trt", b"", "float16")
    found = {each.variant: each for each in verify_bundle(Bundle(bundle)).variants}
    assert found["int8-ort"].outcome == FAILED
    assert found["fp16-trt"].outcome == NOT_JUDGED  # a CPU is not what it is made for


def test_a_variant_without_figures_has_not_passed(bundle: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    del manifest["variants"]["int8-ort"]["parity"]
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    found = verify_bundle(open_bundle(bundle), variants=["int8-ort"])
    assert found.outcome == FAILED
    assert "says no least PSNR for variant 'int8-ort'" in found.variants[0].reason


@pytest.mark.usefixtures("few_colours")
def test_the_graph_with_yuv_ends_is_held_to_that_of_rgb(monkeypatch: pytest.MonkeyPatch) -> None:
    """What files run is proven, too: U and V exchanged show in a named colour."""
    bundle = open_bundle("nano")
    (found,) = verify_bundle(bundle, variants=["fp32-onnx"]).variants
    assert found.outcome == PASSED
    assert found.yuv is not None
    assert found.yuv.flat_most <= 3
    assert found.yuv.psnr_db > 44
    assert "YUV within" in found.reason

    right = OrtCpuSession._infer_yuv

    def wrong(self: OrtCpuSession, picture: YuvPicture) -> YuvPicture:
        made = right(self, picture)
        return YuvPicture(made.luma, made.chroma[..., ::-1].copy(), made.colours)

    monkeypatch.setattr(OrtCpuSession, "_infer_yuv", wrong)
    (found,) = verify_bundle(bundle, variants=["fp32-onnx"]).variants
    assert found.outcome == FAILED
    assert "levels off the RGB graph's" in found.reason
