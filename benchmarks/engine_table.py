"""Which graphs TensorRT-RTX parses and builds ahead of time, and what it says of those it refuses.

    python benchmarks/engine_table.py --add nano=my-nano:fp16-trt,int8-trt@320x180
        [--sm 86 --sm 89 --sm 120] [--workspace 8GiB]

Rows go into docs/engine_table.json, in the place of older ones of the same graph, and the table in
docs/engines.md is written anew. A build without a GPU proves that the compiler takes the graph, not
how fast or in what precision it will run.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from adcvsr.bundle import Bundle, open_bundle
from adcvsr.errors import EngineError
from adcvsr.files import replace_file
from adcvsr.runtime.engine.build import build_plan
from adcvsr.runtime.engine.engines import order_for
from adcvsr.runtime.engine.order import BuildOptions, EngineOrder, SizeRange, parse_bytes
from adcvsr.runtime.nvidia.flavour import Flavour, load_flavour

DOCS = Path(__file__).resolve().parents[1] / "docs"
DATA, PAGE = DOCS / "engine_table.json", DOCS / "engines.md"
BEGIN, END = "<!-- engine table -->", "<!-- end of engine table -->"
SMS = (86, 89, 120)

Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--add", action="append", default=[], metavar="NAME=BUNDLE:VARIANTS@WxH")
    parser.add_argument("--sm", action="append", type=int, dest="sms")
    parser.add_argument("--workspace", default="2GiB")
    arguments = parser.parse_args()
    flavour = load_flavour("tensorrt-rtx")
    options = BuildOptions(workspace_bytes=parse_bytes(arguments.workspace))
    for text in arguments.add:
        name, _, rest = text.partition("=")
        source, _, size = rest.rpartition("@")
        path, _, variants = source.rpartition(":")
        width, height = map(int, size.split("x"))
        for variant in variants.split(","):
            for sm in arguments.sms or SMS:
                sizes = SizeRange.fixed(height, width)
                for row in build_rows(
                    name, open_bundle(path), variant, sm, sizes, flavour, options
                ):
                    print(line(row), flush=True)
                    keep(row)


def build_rows(
    name: str,
    bundle: Bundle,
    variant: str,
    sm: int,
    sizes: SizeRange,
    flavour: Flavour,
    options: BuildOptions,
) -> list[Row]:
    """Build every graph of a variant; what the compiler refuses is a row too."""
    entry = bundle.variant(variant)
    rows = []
    for graph in filter(None, (entry.file, entry.decoder_file)):
        order = order_for(bundle, entry, graph, flavour, None, sizes, sms=(sm,), options=options)
        row = {"network": name, "variant": variant, "graph": order.part, "sm": sm}
        rows.append(
            {**row, "size": sizes.text, "compiler": flavour.version, **_try(flavour, order)}
        )
    return rows


def _try(flavour: Flavour, order: EngineOrder) -> Row:
    bundle = order.bundle
    entry = bundle.variant(order.variant_id)
    start = time.process_time()
    with bundle.graph(entry, order.graph_file) as graph:
        try:
            plan = build_plan(flavour, order, graph)
        except EngineError as error:
            return {"refused": str(error)}
    seconds = time.process_time() - start
    megabytes = memoryview(plan).nbytes / 1e6
    return {"megabytes": round(megabytes, 1), "cpu_seconds": round(seconds, 1)}


def keep(row: Row) -> None:
    """Write a row to the data and the table to the page."""
    rows = json.loads(DATA.read_text()) if DATA.exists() else []
    same = ("network", "variant", "graph", "sm")
    rows = [old for old in rows if any(old[key] != row[key] for key in same)]
    rows = sorted([*rows, row], key=lambda each: [each[key] for key in same])
    text = "[\n" + ",\n".join(json.dumps(each) for each in rows) + "\n]\n"
    replace_file(DATA, lambda part: part.write_text(text))
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    page = f"{before}{BEGIN}\n{table(rows)}\n{END}{after}"
    replace_file(PAGE, lambda part: part.write_text(page))


def table(rows: list[Row]) -> str:
    """Markdown, a line a graph, with all compute capabilities."""
    lines = ["| graph | at | " + " | ".join(f"SM{sm}" for sm in SMS) + " |"]
    lines.append("|---|---|" + "---|" * len(SMS))
    for network, variant, graph, size in dict.fromkeys(map(_graph, rows)):
        found = {row["sm"]: row for row in rows if _graph(row) == (network, variant, graph, size)}
        cells = " | ".join(cell(found.get(sm)) for sm in SMS)
        lines.append(f"| `{network}` {variant} {graph} | {size} | {cells} |")
    return "\n".join(lines)


def cell(row: Row | None) -> str:
    """What became of one build."""
    if row is None:
        return "not tried"
    if "refused" in row:
        return f"refused: {row['refused']}"
    return f"{row['megabytes']} MB, {row['cpu_seconds']} CPU-s"


def line(row: Row) -> str:
    """For the terminal."""
    return f"{row['network']} {row['variant']} {row['graph']} sm{row['sm']}: {cell(row)}"


def _graph(row: Row) -> tuple[str, str, str, str]:
    return row["network"], row["variant"], row["graph"], row["size"]


if __name__ == "__main__":
    main()
