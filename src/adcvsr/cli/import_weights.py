"""`adcvsr import SOURCE`: published weights to a checkpoint of ours."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ._group import CommandGroup
from ._options import json_option
from ._say import done, print_json

if TYPE_CHECKING:
    from ..config import AdcVsrConfig
    from ..model import AdcVsr

output_option = click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="Checkpoint to write (.safetensors).",
)
causal_option = click.option(
    "--causal", is_flag=True, help="The streamable twin: temporal blocks see only the past."
)
overwrite_option = click.option("--overwrite", is_flag=True, help="Replace the checkpoint.")


@click.group(cls=CommandGroup)
def command() -> None:
    """Turn published weights into a checkpoint; no code in them is run."""
    from ._torch import require_weights

    require_weights()


@command.command(short_help="Take AdcSR's published weights.")
@click.argument("net_params", type=click.Path(path_type=Path))
@click.argument("half_decoder", type=click.Path(path_type=Path))
@output_option
@causal_option
@overwrite_option
@json_option
def adcsr(
    net_params: Path,
    half_decoder: Path,
    output: Path,
    causal: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Import AdcSR: NET_PARAMS (net_params_200.pkl) and HALF_DECODER (halfDecoder.ckpt).

    On every frame the result gives what AdcSR gives; its temporal blocks start as identity.
    """
    from ..model.published import import_adcsr

    _check_output(output, overwrite)
    _write(output, *import_adcsr(net_params, half_decoder, config=_config(causal)), as_json=as_json)


@command.command("stable-diffusion", short_help="Prune Stable Diffusion 2.1 to a start.")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--half-decoder",
    type=click.Path(path_type=Path),
    help="Half decoder to take instead of the first half of the VAE's channels.",
)
@output_option
@causal_option
@overwrite_option
@json_option
def stable_diffusion(
    folder: Path,
    half_decoder: Path | None,
    output: Path,
    causal: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Prune Stable Diffusion 2.1 in FOLDER (diffusers layout) to a start for training.

    The first 75 % of the UNet's channels are kept. The result must be trained before it upscales.
    """
    from ..model.published import import_stable_diffusion

    _check_output(output, overwrite)
    _write(
        output,
        *import_stable_diffusion(folder, half_decoder, config=_config(causal)),
        as_json=as_json,
    )


def _config(causal: bool) -> AdcVsrConfig:
    from ..config import preset

    return dataclasses.replace(preset("paper"), causal=causal)


def _check_output(output: Path, overwrite: bool) -> None:
    from ..files import check_new

    check_new(output, overwrite=overwrite)


def _write(output: Path, network: AdcVsr, provenance: dict[str, Any], *, as_json: bool) -> None:
    from ..model import save_checkpoint

    save_checkpoint(output, network, provenance=provenance)
    count = sum(p.numel() for p in network.parameters())
    if as_json:
        facts = {"path": str(output), "preset": network.config.name, "parameters": count}
        print_json({**facts, "licences": provenance["licences"]})
        return
    done(f"{output}: {network.config.name}, {count:,} parameters")
    for licence in provenance["licences"]:
        done(f"licence: {licence}")
