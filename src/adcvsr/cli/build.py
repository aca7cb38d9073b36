"""`adcvsr build BUNDLE`: engines for a GPU, built once and kept in the cache."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..variants import ENGINE_BACKENDS
from ._options import dla_fallback_option, dla_option, json_option, read_size
from ._progress import build_progress
from ._say import done, note, print_json

if TYPE_CHECKING:
    from ..runtime.engine.engines import BuiltEngine
    from ..runtime.engine.order import EngineOrder, SizeRange

Size = tuple[int, int]
"""Width and height, as `read_size` gives them."""

HARDWARE_LEVELS = ("ampere+", "same-sm")


@click.command()
@click.argument("bundle", metavar="BUNDLE")
@click.option(
    "--backend",
    type=click.Choice(("auto", *ENGINE_BACKENDS)),
    default="auto",
    show_default=True,
    help="Which compiler.",
)
@click.option(
    "--target",
    "targets",
    multiple=True,
    metavar="NAME",
    help="A name from 'adcvsr targets', or 'current' [default]. Repeat it for one TensorRT-RTX "
    "engine for several.",
)
@click.option(
    "--precision",
    metavar="PRECISION",
    help="What the engine computes in [default: fp16, else fp32].",
)
@click.option(
    "--size",
    type=read_size,
    metavar="WxH",
    help="Input size; the fastest engine [default: 640x360].",
)
@click.option(
    "--min",
    "smallest",
    type=read_size,
    metavar="WxH",
    help="With --opt and --max: a range of sizes.",
)
@click.option("--opt", "best", type=read_size, metavar="WxH", help="The size to be fastest at.")
@click.option(
    "--max",
    "largest",
    type=read_size,
    metavar="WxH",
    help="The largest size; it decides the memory.",
)
@click.option(
    "--window",
    "frames",
    type=click.IntRange(min=1),
    metavar="FRAMES",
    help="Frames a network that is not causal sees at once [default: the bundle's].",
)
@click.option(
    "--streams",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    metavar="N",
    help="Streams of one size whose frames 'adcvsr live' may run at once with this engine.",
)
@click.option(
    "--workspace", metavar="BYTES", default="2GiB", show_default=True, help="Scratch memory's cap."
)
@click.option(
    "--timing-cache",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Kernel timings to reuse and extend (TensorRT) [default: the cache's own of this device].",
)
@click.option(
    "--level", type=click.IntRange(0, 5), help="Optimisation level; 5 tries every kernel."
)
@click.option(
    "--hardware-compatible",
    type=click.Choice(HARDWARE_LEVELS),
    help="TensorRT: run on other GPUs too. Costs speed: only kernels all of them have.",
)
@click.option(
    "--version-compatible",
    is_flag=True,
    help="TensorRT: run on later versions too. Costs speed, and size for a runtime inside.",
)
@dla_option
@dla_fallback_option
@click.option(
    "--layers",
    "layers_path",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write what the engines' layers are: kernels, types, layouts, bytes (JSON).",
)
@json_option
def command(bundle: str, as_json: bool, layers_path: Path | None, **options: Any) -> None:
    """Build the engines of BUNDLE into the cache.

    A second build of the same takes the engine from there. TensorRT builds on the device itself;
    TensorRT-RTX also ahead of time, without a GPU, for the targets named.
    """
    notes: list[str] = []

    def report(line: str) -> None:
        notes.append(line)
        note(line)

    orders, built = _build(bundle, report=report, **options)
    if layers_path is not None:
        _write_layers(layers_path, orders, built)
    if as_json:
        print_json({"engines": [_facts(each) for each in built], "notes": notes}, indent=None)
        return
    for each in built:
        _print(each)


def _build(
    bundle: str,
    *,
    report: Any,
    backend: str,
    targets: tuple[str, ...],
    precision: str | None,
    size: Size | None,
    smallest: Size | None,
    best: Size | None,
    largest: Size | None,
    frames: int | None,
    streams: int,
    workspace: str,
    timing_cache: Path | None,
    level: int | None,
    hardware_compatible: str | None,
    version_compatible: bool,
    dla: int | None,
    dla_fallback: bool,
) -> tuple[list[EngineOrder], list[BuiltEngine]]:
    from ..runtime.nvidia.modules import preload

    if backend != "auto" or targets:
        preload("tensorrt-rtx" if backend == "auto" else backend)
    # What a build needs is imported meanwhile.
    import filelock  # noqa: F401 - by the cache

    from ..bundle import open_bundle
    from ..runtime.engine.build_list import CURRENT, order_engines
    from ..runtime.engine.engines import ensure_engine
    from ..runtime.engine.order import BuildOptions, parse_bytes

    orders = order_engines(
        open_bundle(bundle),
        backend=backend,
        targets=targets or (CURRENT,),
        precision=precision,
        sizes=choose_sizes(size, smallest, best, largest),
        frames=frames,
        streams=streams,
        options=BuildOptions(
            workspace_bytes=parse_bytes(workspace),
            hardware=hardware_compatible,
            version_compatible=version_compatible,
            level=level,
            dla=dla,
            dla_fallback=dla_fallback,
        ),
        report=report,
    )
    built = []
    for order in orders:
        with build_progress(f"building {order.part}") as progress:
            built.append(
                ensure_engine(order, timing_cache=timing_cache, progress=progress, report=report)
            )
    return orders, built


def _write_layers(path: Path, orders: list[EngineOrder], built: list[BuiltEngine]) -> None:
    """Write the engines' layers, or leave the file as it was."""
    import json

    from ..files import replace_file
    from ..runtime.engine.engines import list_layers

    listed = [list_layers(order, each.entry) for order, each in zip(orders, built, strict=True)]
    text = json.dumps({"schema": 1, "engines": listed}, indent=1) + "\n"
    replace_file(path, lambda part: part.write_text(text, encoding="utf-8"))


def choose_sizes(
    size: Size | None, smallest: Size | None, best: Size | None, largest: Size | None
) -> SizeRange | None:
    """Make one size, or a range, of the options; `adcvsr deploy` takes them too."""
    from ..runtime.engine.order import SizeRange

    if size is not None and (smallest, best, largest) == (None, None, None):
        return SizeRange.fixed(size[1], size[0])
    if size is None and smallest and best and largest:
        return SizeRange(smallest[::-1], best[::-1], largest[::-1])
    if size or smallest or best or largest:
        raise click.UsageError("give either --size, or --min, --opt and --max together")
    return None


def _facts(each: BuiltEngine) -> dict[str, Any]:
    facts = {key: value for key, value in each.entry.facts.items() if key != "schema"}
    return {
        "key": each.entry.key,
        "path": str(each.entry.plan),
        "hit": each.hit,
        "seconds": round(each.seconds, 3),
        **facts,
    }


def _print(each: BuiltEngine) -> None:
    how = "was in the cache" if each.hit else f"built in {each.seconds:.1f} s"
    megabytes = each.entry.size_bytes / 1e6
    done(f"{each.entry.facts['what']}: {how}, {megabytes:.1f} MB\n{each.entry.plan}")
    if (summary := each.entry.facts.get("layers")) is not None:
        from ..runtime.engine.layers import text_of

        done(text_of(summary))
