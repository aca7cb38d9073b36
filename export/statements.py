"""Statements stored in a bundle beside the gate, with the runs that decided them.

store_statements(Path("my-bundle"), statements)
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..bundle import Bundle
from ..calibration.statement.statement import Statement
from ..runtime.proof.graphs import proven_graphs
from .archive import zip_entry
from .variants import stage_variant


def store_statements(path: Path, statements: Sequence[Statement]) -> Bundle:
    """Put statements into a bundle's manifest, refusals with what they mean.

    What the bundle had of the same variant is replaced, and taken away where nothing was decided:
    it does not hold any more.

    Args:
        path: The bundle.
        statements: Of its variants.

    Returns:
        The bundle, opened and every file verified.

    Raises:
        BundleError: The bundle is damaged.
        OutputNotWritableError: It cannot be written.
    """
    with stage_variant(path) as stage:
        for each in statements:
            bundle = stage.open()
            variant = bundle.variant(each.variant)
            entry = dict(bundle.manifest["variants"][each.variant])
            old = entry.pop("statement", None)
            entry.pop("refused", None)
            own = [*variant.graph_files, *variant.data_files]
            files = list(dict.fromkeys([*entry.pop("files", ()), *own]))
            if old is not None:
                files = [name for name in files if name != old["runs_file"]]
            graphs = proven_graphs(bundle, each.variant, each.reference)
            if each.refusal is not None:
                facts = {"line": each.line(), "meaning": each.meaning, "reasons": each.reasons}
                entry["refused"] = {**facts, "graphs": graphs}
            if each.shown:
                name = f"{each.variant}.statement.npz"
                stage.write(name, runs_bytes(each))
                entry["statement"] = {**each.to_json(), "runs_file": name, "graphs": graphs}
                files.append(name)
            stage.put(each.variant, entry, files)
        return stage.commit()


def runs_bytes(statement: Statement) -> bytes:
    """A statement's golden runs, as npz with fixed times."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for index, run in enumerate(statement.golden()):
            member = io.BytesIO()
            np.save(member, run.run.frames)
            entry = zip_entry(f"run_{index}.npy")
            archive.writestr(entry, member.getvalue(), zipfile.ZIP_DEFLATED)
    return packed.getvalue()
