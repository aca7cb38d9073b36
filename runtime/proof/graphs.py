"""Which graphs a proof is of: their hashes, kept with its figures.

Figures of one graph say nothing of another. A file that was exchanged has another hash, and where
the manifest was given that too, the proof still names the graph it was measured on.

    entry["parity"] = {**figures, "graphs": proven_graphs(bundle, "int8-ort", "fp32-onnx")}
"""

from __future__ import annotations

from ...bundle import Bundle
from ...bundle.schema import Variant

PROOFS = ("parity", "statement")
"""Facts of a variant that were measured."""


def proven_graphs(bundle: Bundle, *variants: str) -> dict[str, str]:
    """SHA-256 of the files of variants, graphs and weights beside them, by name."""
    chosen = [bundle.variant(name) for name in variants]
    names = sorted({n for each in chosen for n in (*each.graph_files, *each.data_files)})
    return {name: bundle.manifest["files"][name]["sha256"] for name in names}


def why_other_graphs(bundle: Bundle, variant: Variant) -> str | None:
    """Say which proof of a variant is of another graph than the bundle has; None where none is.

    Proofs of bundles before 2026-11-29 name no graphs, and are taken as they are.
    """
    for proof in PROOFS:
        for name, sha256 in variant.facts.get(proof, {}).get("graphs", {}).items():
            now = _sha256(bundle, name)
            if now != sha256:
                there = f"the bundle has {now[:12]}…" if now else "the bundle has none of that name"
                return (
                    f"its {proof} is of another graph: '{name}' was {sha256[:12]}…, {there}; "
                    f"{'quantize' if proof == 'parity' else 'state'} it again"
                )
    return None


def refused_statement(bundle: Bundle, variant: Variant) -> str | None:
    """Say what a variant's statement was refused for, and what that means.

    None where it was not, or where that was of another graph than the bundle has.
    """
    found = variant.facts.get("refused")
    if found is None:
        return None
    graphs = found.get("graphs", {})
    if any(_sha256(bundle, name) != sha256 for name, sha256 in graphs.items()):
        return None
    return f"{found['line']} {found['meaning']}"


def _sha256(bundle: Bundle, name: str) -> str:
    """Of a file as the manifest has it; empty where there is none."""
    digest: str = bundle.manifest["files"].get(name, {}).get("sha256", "")
    return digest
