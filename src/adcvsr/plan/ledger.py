"""The ledger of measured speeds: public figures and this project's own, in one shape.

`benchmarks/ledger.json` holds public figures with the source of each, the networks they are of, and
what was left out and why; `bench` names result files of `adcvsr bench` beside it, which is also
what `benchmarks/add_report.py` makes of a file of `adcvsr report`.

    rows = read_ledger(Path("benchmarks/ledger.json")).rows
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..bundle import open_bundle
from ..errors import ConfigError
from ..graph.cost import NodeCost, count_bundle_cost
from ..reading import Item, parse_json, read_limited
from ..targets import target as find_target
from ..variants import BACKENDS, VariantName
from .networks import colour_nodes, make_network

ELEMENTS = {"fp32": "float", "fp16": "float16", "int8": "int8"}
"""ONNX's name of the type that a public row's precision stores."""

LEDGER_LIMIT_BYTES = 4 << 20


@dataclass(frozen=True)
class Row:
    """One measured speed."""

    source: str
    """A key of the ledger's sources, or a result file's name."""
    target: str | None
    """Whose peaks are counted with; None where the device is no target."""
    device: str
    """As the source names it."""
    power: str | None
    """Power mode, where the source states one."""
    compute_share: float
    """Of the target's peak arithmetic, what that power mode's clock and multiprocessors leave."""
    backend: str
    runtime: str
    precision: str
    network: str
    width: int
    height: int
    ms: float
    """Of one frame."""
    watts: float | None
    note: str
    nodes: tuple[NodeCost, ...]

    @property
    def fitted(self) -> bool:
        """Whether the cost model is fitted on it: a target, and a backend of this project."""
        return self.target is not None and self.backend in BACKENDS


@dataclass(frozen=True)
class Source:
    """Where figures come from."""

    title: str
    url: str


@dataclass(frozen=True)
class LeftOut:
    """Figures that were found and not taken."""

    what: str
    url: str
    """A path for results of this project."""
    why: str


@dataclass(frozen=True)
class Ledger:
    """All of it."""

    sources: dict[str, Source]
    rows: tuple[Row, ...]
    left_out: tuple[LeftOut, ...]
    sha256: str
    """Of the ledger's file and the result files it names."""


def read_ledger(path: Path) -> Ledger:
    """Read the ledger and the result files it names, which lie in `results` beside it.

    Raises:
        ConfigError: A file cannot be read, or a value is missing, of another kind or out of range.
        GraphError, BundleError: A bundle that a result names cannot be counted.
    """
    data = read_limited(path, LEDGER_LIMIT_BYTES, error=ConfigError)
    document = parse_json(data, source=f"'{path}'", error=ConfigError)
    digest = hashlib.sha256(data)
    sources = {
        key: Source(each["title"].text(), each["url"].text())
        for key, each in document["sources"].fields()
    }
    networks = dict(document["networks"].fields())
    rows = [
        row
        for run in document["runs"].items()
        for row in _public_rows(run, tuple(sources), networks)
    ]
    left_out = [
        LeftOut(found["what"].text(), found["url"].text(), found["why"].text())
        for found in document["left_out"].items()
    ]
    for entry in document["bench"].items():
        name = entry["file"].text()
        result = read_limited(path.parent / "results" / name, LEDGER_LIMIT_BYTES, error=ConfigError)
        digest.update(result)
        found = parse_json(result, source=f"'{name}'", error=ConfigError)
        for each in _own_rows(found, entry, name):
            if isinstance(each, Row):
                rows.append(each)
            else:
                left_out.append(each)
    return Ledger(sources, tuple(rows), tuple(left_out), digest.hexdigest())


def _public_rows(run: Item, sources: tuple[str, ...], networks: dict[str, Item]) -> Iterator[Row]:
    target = run.get("target")
    if target is not None:
        find_target(target.text())
    power = run.get("power")
    watts = run.get("watts")
    precision = run["precision"].text(one_of=tuple(ELEMENTS))
    element = ELEMENTS[precision]
    for row in run["rows"].items(least=1):
        name = row["network"].text(one_of=tuple(networks))
        width, height = (row[side].integer(1, 1 << 16) for side in ("width", "height"))
        nodes = make_network(networks[name], width=width, height=height, element=element).nodes
        if run["colour"].flag():
            nodes = [
                *nodes,
                *colour_nodes(width, height, networks[name]["scale"].integer(1), element),
            ]
        yield Row(
            source=run["source"].text(one_of=sources),
            target=None if target is None else target.text(),
            device=run["device"].text(),
            power=None if power is None else power.text(),
            compute_share=run["compute_share"].number(0.01, 2),
            backend=run["backend"].text(),
            runtime=run["runtime"].text(),
            precision=precision,
            network=name,
            width=width,
            height=height,
            ms=1000 / row["fps"].number(1e-6),
            watts=None if watts is None else watts.number(0),
            note=run["note"].text(),
            nodes=tuple(nodes),
        )


def _own_rows(result: Item, entry: Item, name: str) -> Iterator[Row | LeftOut]:
    """Rows of a result of `adcvsr bench`, and what of it says nothing; see docs/bench.md."""
    bundle = open_bundle(result["bundle"]["name"].text())
    if bundle.window is not None:
        result["bundle"]["name"].expected("a bundle of a stream network: windows are not modelled")
    width, height = (side.integer(1, 1 << 16) for side in result["size"].items(least=2, most=2))
    share = entry.get("compute_share")
    facts = result["conditions"]
    worthless = any(
        each["worthless"].flag() for each in result["warnings"].items() if each.get("worthless")
    )
    measured = tuple(variant["variant"].text() for variant in result["variants"].items())
    taken = {each.text(one_of=measured) for each in entry["fitted"].items()}
    for variant in result["variants"].items():
        backend, chosen = variant["backend"].text(), variant["variant"].text()
        on_cpu = backend == "ort-cpu"
        if worthless and not on_cpu:
            yield LeftOut(
                f"{chosen} of {name}",
                f"benchmarks/results/{name}",
                "other work had the machine, and a GPU's wall time is all there is",
            )
            continue
        threads = facts["threads"].integer(1, 4096)
        wall = variant["latency_ms"]["p50"].number(0)
        ms = variant["cpu_ms"]["p50"].number(0) / threads if worthless else wall
        power = facts.get("power_mode")
        board = facts.get("board") or facts["processor"]
        cost = count_bundle_cost(bundle, chosen, height=height, width=width)
        yield Row(
            source=name,
            target=find_target(entry["target"].text()).name if chosen in taken else None,
            device=board.text(),
            power=None if power is None else power.text(),
            compute_share=1.0 if share is None else share.number(0.01, 2),
            backend=backend,
            runtime=f"adcvsr {facts['adcvsr'].text()}",
            precision=VariantName.parse(chosen).precision,
            network=f"{bundle.name} {chosen}",
            width=width,
            height=height,
            ms=ms,
            watts=None,
            note=f"CPU time over {threads} threads" if worthless else "wall time",
            nodes=cost.nodes,
        )
