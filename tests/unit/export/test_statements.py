"""A statement is kept in the bundle beside the gate, and repeated where the bundle goes."""

from __future__ import annotations

import json
import shutil
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from adcvsr.bundle import PACKAGED, Bundle, open_bundle
from adcvsr.calibration.statement.sequential import Claim
from adcvsr.calibration.statement.statement import (
    Statement,
    StatementRequest,
    make_statements,
)
from adcvsr.cli._bundle_text import inspect_bundle, lines
from adcvsr.cli.commands import cli
from adcvsr.errors import BundleError, MissingPackageError
from adcvsr.export.statements import runs_bytes, store_statements
from adcvsr.files import file_entry, json_bytes
from adcvsr.pictures.clips import write_clip
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.runtime.processing.backends import create_session
from adcvsr.runtime.proof import verify
from adcvsr.runtime.proof.runs import golden_runs, stated_limits
from adcvsr.runtime.proof.verify import verify_bundle
from adcvsr.runtime.sessions.session import Session

CLAIM = Claim(share=0.8, usual=0.01)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Statement]:
    """The shipped network's INT8 variant over a drawn clip."""
    folder = tmp_path_factory.mktemp("stated")
    shutil.copytree(PACKAGED / "nano", folder / "nano")
    write_clip(folder / "a.mkv", draw_clip(12, 32, 48))
    with ExitStack() as stack:
        sessions = [
            stack.enter_context(create_session(open_bundle(folder / "nano"), variant=name))
            for name in ("fp32-onnx", "int8-ort")
        ]
        request = StatementRequest(
            clips=[folder / "a.mkv"], sessions=sessions, claim=CLAIM, drift_frames=0
        )
        (found,) = make_statements(request, note=print)
    return folder / "nano", found


@pytest.fixture
def bundle(made: tuple[Path, Statement], tmp_path: Path) -> Path:
    shutil.copytree(made[0], tmp_path / "nano")
    return tmp_path / "nano"


def with_limit(path: Path, limit: float) -> Bundle:
    """The bundle with a colour limit in its statement."""
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["variants"]["int8-ort"]["statement"]["limits"]["most_colour"] = limit
    (path / "manifest.json").write_bytes(json_bytes(manifest))
    return open_bundle(path)


def test_it_is_stored_and_repeated(
    bundle: Path, made: tuple[Path, Statement], monkeypatch: pytest.MonkeyPatch
) -> None:
    statement = made[1]
    assert statement.shown
    before = open_bundle(bundle)
    stored = store_statements(bundle, [statement])
    variant = stored.variant("int8-ort")
    assert variant.facts["parity"] == before.variant("int8-ort").facts["parity"]
    assert variant.facts["statement"]["line"] == statement.line()
    assert stated_limits(variant) == statement.limits
    runs = golden_runs(stored, variant)
    assert [len(run) for run in runs] == [6] * 6
    assert any((run == statement.golden()[0].run.frames).all() for run in runs)

    assert any(statement.line() in line for line in lines(inspect_bundle(stored)))

    found = verify_bundle(stored, variants=["int8"]).variants[0]
    assert found.outcome == "passed"
    assert "6 of 6 golden runs within its statement" in found.reason

    # Colours are judged above; they cost seconds and are no part of what follows.
    monkeypatch.setattr(verify._Colours, "judge", lambda *_: (None, None))
    opened = verify.create_session

    def open_without_reference(bundle: Bundle, **how: str) -> Session:
        if how == {"backend": "ort-cpu", "variant": "fp32-onnx"}:
            raise MissingPackageError("no onnxruntime")
        return opened(bundle, **how)

    with monkeypatch.context() as patched:
        patched.setattr(verify, "create_session", open_without_reference)
        found = verify_bundle(stored, variants=["int8"]).variants[0]
    assert found.outcome == "passed"
    assert "its statement was not repeated (fp32-onnx does not run on the CPU" in found.reason

    found = verify_bundle(with_limit(bundle, 0.001), variants=["int8"]).variants[0]
    assert found.outcome == "failed"
    assert "golden runs: colour shift" in found.reason

    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["variants"]["int8-ort"]["statement"]["limits"]["most_halo"] = 1.0
    (bundle / "manifest.json").write_bytes(json_bytes(manifest))
    found = verify_bundle(open_bundle(bundle), variants=["int8"]).variants[0]
    assert "(it has limits that this version does not know: most_halo)" in found.reason

    again = store_statements(bundle, [statement])
    assert set(again.manifest["files"]) == set(stored.manifest["files"])


def test_a_refused_variant_loses_its_statement(
    bundle: Path, made: tuple[Path, Statement], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is kept is why, and what that means; it goes again with the next that is shown."""
    store_statements(bundle, [made[1]])
    refused = Statement(**{**vars(made[1]), "slopes": 50.0})
    assert refused.reasons == ["banding"]
    stored = store_statements(bundle, [refused])
    assert "statement" not in stored.variant("int8-ort").facts
    assert not list(bundle.glob("*.statement.npz"))

    why = "banding on drawn slopes, 50 % climbed in steps. That means: smooth slopes, such as a sky"
    assert any(why in line for line in lines(inspect_bundle(stored)))
    monkeypatch.setattr(verify, "_judge", lambda bundle, variant, *_: judged(variant.id))
    told = verify_bundle(stored, variants=["int8"])
    assert told.outcome == "passed"
    assert why in told.lines()[-1]
    assert "Where that matters, take fp32-onnx" in told.to_json()["variants"][0]["refused"]

    manifest = json.loads((bundle / "manifest.json").read_text())
    for change in ({"meaning": None}, {"graphs": {"int8-ort.onnx": "0" * 64}}):
        entry = manifest["variants"]["int8-ort"]
        changed = {**entry, "refused": {**entry["refused"], **change}}
        variants = {**manifest["variants"], "int8-ort": changed}
        (bundle / "manifest.json").write_bytes(json_bytes({**manifest, "variants": variants}))
        if "meaning" in change:
            with pytest.raises(BundleError, match="refused.meaning is missing"):
                open_bundle(bundle)
        else:  # of a graph that the bundle does not have any more
            (found,) = verify_bundle(open_bundle(bundle), variants=["int8"]).variants
            assert found.refused is None
    again = store_statements(bundle, [made[1]])
    assert "refused" not in again.variant("int8-ort").facts


@pytest.mark.parametrize("name", ["nano", "nano-camera"])
def test_shipped_networks_say_that_int8_was_refused_on_film(name: str) -> None:
    """Of the graphs that they have: of others `verify` would not say it."""
    bundle = open_bundle(name)
    refused = bundle.variant("int8-ort").facts["refused"]
    files = bundle.manifest["files"]
    assert {file: files[file]["sha256"] for file in refused["graphs"]} == refused["graphs"]
    (told,) = [line for line in lines(inspect_bundle(bundle)) if "is refused" in line]
    assert "colour shift" in told
    assert "black-and-white film" in told


def judged(variant: str) -> verify.VariantFound:
    return verify.VariantFound(variant, "passed", "as it was")


def test_a_statement_of_another_graph_is_none(
    bundle: Path, made: tuple[Path, Statement], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graph exchanged with its hash: the statement still names the one it was made of."""
    store_statements(bundle, [made[1]])
    monkeypatch.setattr(verify._Colours, "judge", lambda *_: (None, None))
    assert verify_bundle(open_bundle(bundle), variants=["int8"]).outcome == "passed"
    stated = (bundle / "manifest.json").read_text()
    for name in ("int8-ort.onnx", "fp32-onnx.onnx"):
        model = onnx.load(PACKAGED / "nano" / name)
        model.doc_string = "another"
        (bundle / name).write_bytes(model.SerializeToString())
        manifest = json.loads(stated)
        manifest["files"][name] = file_entry(bundle / name)
        (bundle / "manifest.json").write_bytes(json_bytes(manifest))
        (found,) = verify_bundle(open_bundle(bundle), variants=["int8"]).variants
        assert found.outcome == "failed"
        assert f"its statement is of another graph: '{name}' was" in found.reason
        shutil.copy(PACKAGED / "nano" / name, bundle / name)


def test_damaged_golden_runs_are_said(
    bundle: Path, made: tuple[Path, Statement], monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = store_statements(bundle, [made[1]])
    name = stored.variant("int8-ort").facts["statement"]["runs_file"]
    (bundle / name).write_bytes(b"not an archive")
    found = verify_bundle(open_bundle(bundle), variants=["int8"])
    assert found.outcome == "failed"
    assert name in found.damaged
    np.savez(bundle / "other.npz", run_0=np.zeros((2, 4, 4, 3), np.uint8))
    opened = open_bundle(bundle)
    monkeypatch.setattr(opened, "read", lambda name: (bundle / "other.npz").read_bytes())
    with pytest.raises(BundleError, match="holds no golden runs: a run of uint8"):
        golden_runs(opened, opened.variant("int8-ort"))
    whole = runs_bytes(made[1])
    for data in (whole[:-1], whole[: len(whole) // 2], whole[:200] + b"\xff" * 9 + whole[209:]):
        monkeypatch.setattr(opened, "read", lambda name, data=data: data)
        with pytest.raises(BundleError, match="holds no golden runs"):
            golden_runs(opened, opened.variant("int8-ort"))


def test_bundles_of_the_package_are_not_changed(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mkv", draw_clip(8, 32, 48))
    done = CliRunner().invoke(
        cli,
        ["profile", "nano", "--clips", str(tmp_path), "--store", "-o", str(tmp_path / "p.html")],
    )
    assert done.exit_code == 1
    assert "comes with the package and is not changed" in f"{done.output}{done.exception}"
