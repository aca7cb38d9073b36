"""`adcvsr export CHECKPOINT -o BUNDLE`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    metavar="BUNDLE",
    help="Directory to write, or a .zip file.",
)
@click.option("--name", help="The bundle's name [default: the network's].")
@click.option(
    "--card",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Model card (Markdown) to include.",
)
@click.option("--overwrite", is_flag=True, help="Replace BUNDLE if it exists.")
def command(
    checkpoint: Path, output: Path, name: str | None, card: Path | None, overwrite: bool
) -> None:
    """Export a checkpoint to a bundle.

    The stream graph takes and gives uint8 frames, with state as further tensors, at any size.
    Torch and the graph are compared over a clip with carried state; a difference fails the export.
    """
    from ._torch import require_export

    require_export()
    from ..export.bundle_writer import export_bundle

    bundle = export_bundle(
        checkpoint, output, name=name, card=card, overwrite=overwrite, report=click.echo
    )
    click.echo(
        f"{bundle.path}: {bundle.name}, {bundle.parameters:,} parameters, "
        f"{', '.join(bundle.variants)}"
    )
