"""Bundles: the directory or single file that carries a network to a device.

A manifest, one ONNX file a variant, golden vectors, and the SHA-256 of every file. This module
reads and checks; `adcvsr.export` writes.

    bundle = open_bundle("nano")
    onnx = bundle.read(bundle.variant("fp32-onnx").file)
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from .bundle_files import MANIFEST, check_member_name, read_blocks
from .bundle_schema import (
    COLOUR_MATCHES,
    SCHEMA_VERSION,
    STATE_DTYPES,
    ColourMatch,
    StateSpec,
    TensorSpec,
    Variant,
    Window,
    computed_otherwise,
    read_tensor,
    read_variant,
    upgrade_manifest,
)
from .config import SCALE, AdcVsrConfig, nearest
from .errors import AdcVsrError, BundleError, BundleNotFoundError
from .onnx_locations import external_locations
from .variants import VariantName

MANIFEST_LIMIT_BYTES = 4 << 20
"""A manifest is kilobytes; more is damage or an attack."""

FILE_LIMIT_BYTES = 8 << 30
"""Largest file a bundle may declare; the FP32 `paper` graph is 2.3 GB."""

PACKAGED = Path(__file__).parent / "models"
"""Bundles that come with the package."""

SEARCH_VARIABLE = "ADCVSR_MODELS"
"""Environment variable: further folders of bundles, separated like PATH, searched first."""


class Bundle:
    """An opened bundle; its manifest is checked, its files are checked when read.

    Args:
        path: Directory or zip file.

    Raises:
        BundleNotFoundError: Nothing is at the path.
        BundleError: The manifest is missing, damaged, or from a newer schema.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.stat()
        except OSError as error:
            raise BundleNotFoundError(f"no bundle at '{path}': {error.strerror}") from error
        self.manifest = self._read_manifest()
        try:
            self._parse()
        except AdcVsrError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BundleError(
                f"'{path}': the manifest is malformed ({type(error).__name__}: {error}); "
                "export the bundle again"
            ) from error

    def _parse(self) -> None:
        manifest = self.manifest
        self.name = str(manifest["name"])
        self.config = AdcVsrConfig.from_dict(manifest["config"])
        self.parameters = int(manifest["parameters"])
        self.trained = bool(manifest["trained"])
        self.size_multiple = int(manifest["size_multiple"])
        interface = manifest["interface"]
        self.input_name = str(interface["input"]["name"])
        self.output_name = str(interface["output"]["name"])
        self.state = tuple(
            StateSpec(**read_tensor(entry), next_name=entry["next"]) for entry in interface["state"]
        )
        self.kind = str(interface["kind"])
        self.features: TensorSpec | None = None
        self.window: Window | None = None
        if self.kind == "clip":
            self.features = TensorSpec(**read_tensor(interface["features"]))
            self.window = Window(**{k: int(v) for k, v in manifest["window"].items()})
        self.colour_match = ColourMatch(**manifest["colour_match"])
        self.variants = {key: read_variant(key, e) for key, e in manifest["variants"].items()}
        self._check_values()
        self.bytes = 0
        for name, entry in manifest["files"].items():
            check_member_name(self.path, name)
            self.bytes += int(entry["bytes"])

    def _check_values(self) -> None:
        tensors = [*self.state, *([self.features] if self.features else [])]
        if self.size_multiple < 1 or any(t.divisor < 1 or t.channels < 1 for t in tensors):
            raise ValueError("sizes, channels and divisors must be 1 or more")
        if self.kind not in ("stream", "clip"):
            raise ValueError(f"kind '{self.kind}'")
        if self.window and not 0 <= self.window.overlap < self.window.frames:
            raise ValueError(f"window {self.window}")
        match = self.colour_match
        if match.mode not in COLOUR_MATCHES or not match.half_life_frames > 0:
            raise ValueError(f"colour_match {match}")
        for variant in self.variants.values():
            if variant.state_dtype not in STATE_DTYPES:
                raise ValueError(f"state_dtype '{variant.state_dtype}'")
            if (variant.decoder_file is not None) != (self.kind == "clip"):
                raise ValueError(f"variant '{variant.id}' does not fit kind '{self.kind}'")
            if any(PurePosixPath(name).name != name for name in variant.data_files):
                raise ValueError(f"variant '{variant.id}' has weights in {variant.data_files}")

    def variant(self, variant_id: str) -> Variant:
        """Return a variant by id.

        Args:
            variant_id: One of `variants`, or `tf32-<runtime>` for the `fp32` one computed in TF32,
                which is a variant of its own wherever engines or figures are compared.

        Raises:
            BundleError: The bundle has no such variant; the message lists those it has.
        """
        stored = VariantName.parse(variant_id).stored.id
        if stored != variant_id and stored in self.variants:
            return computed_otherwise(self.variants[stored], variant_id)
        if variant_id not in self.variants:
            raise BundleError(
                f"bundle '{self.name}' has no variant '{variant_id}'; "
                f"it has: {', '.join(sorted(self.variants))}"
            )
        return self.variants[variant_id]

    def read(self, name: str) -> bytes:
        """Read one file and check its size and SHA-256 against the manifest.

        Raises:
            BundleError: The file is not listed, missing, of another size or altered.
        """
        return b"".join(self._checked_blocks(name))

    def verify_files(self) -> None:
        """Read and check every file of the bundle, in bounded memory.

        Raises:
            BundleError: See `read`.
        """
        for name in self.manifest["files"]:
            self.verify_file(name)

    def verify_file(self, name: str) -> None:
        """Read and check one file, in bounded memory.

        Raises:
            BundleError: See `read`.
        """
        for _ in self._checked_blocks(name):
            pass

    @contextmanager
    def graph(self, variant: Variant, file: str) -> Iterator[bytes | Path]:
        """Give one of a variant's graphs to an inference engine, checked.

        Args:
            variant: Of this bundle.
            file: Its `file` or `decoder_file`.

        Yields:
            The ONNX file's bytes; or its path where weights lie beside it. A single-file bundle's
            are unpacked into a temporary folder (in $TMPDIR), which goes when the context ends;
            what an engine has mapped stays. Files of a directory that change between this check and
            the engine's reading are not noticed.

        Raises:
            BundleError: See `read`; also when the graph refers to a file that the variant does not
                list, or there is no room to unpack.
        """
        graph = self.read(file)
        try:
            locations = external_locations(graph)
        except ValueError as error:
            raise BundleError(f"'{self.path}': '{file}' is no ONNX file: {error}") from error
        foreign = sorted(locations - set(variant.data_files))
        if foreign:
            raise BundleError(
                f"'{self.path}': '{file}' wants weights from '{foreign[0]}', which is not among "
                f"the data files of variant '{variant.id}'"
            )
        if not locations:
            yield graph
        elif self.path.is_dir():
            for name in locations:
                self.verify_file(name)
            yield self.path / file
        else:
            import tempfile  # costs milliseconds at the start of commands that never come here

            del graph
            with tempfile.TemporaryDirectory(prefix="adcvsr-") as folder:
                for name in (file, *sorted(locations)):
                    self._unpack(name, Path(folder) / PurePosixPath(name).name)
                yield Path(folder) / PurePosixPath(file).name

    def _unpack(self, name: str, target: Path) -> None:
        try:
            with target.open("wb") as file:
                for block in self._checked_blocks(name):
                    file.write(block)
        except OSError as error:
            if isinstance(error, AdcVsrError):
                raise
            raise BundleError(
                f"'{self.path}': cannot unpack '{name}' to '{target}': {error}; set TMPDIR to a "
                "folder with room, or use the bundle as a directory"
            ) from error

    def _checked_blocks(self, name: str) -> Iterator[bytes]:
        """A listed file in blocks; the last one comes only if size and SHA-256 are right."""
        entry = self.manifest["files"].get(name)
        if entry is None:
            raise BundleError(f"'{self.path}': '{name}' is not listed in the manifest")
        size = int(entry["bytes"])
        if not 0 <= size <= FILE_LIMIT_BYTES:
            raise BundleError(
                f"'{self.path}': '{name}' declares {size} bytes, more than {FILE_LIMIT_BYTES}"
            )
        digest, length, held = hashlib.sha256(), 0, b""
        for block in read_blocks(self.path, name, limit=size):
            digest.update(block)
            length += len(block)
            yield held
            held = block
        if length != size or digest.hexdigest() != entry["sha256"]:
            raise BundleError(
                f"'{self.path}': '{name}' was changed after the bundle was written (sha256 "
                f"{digest.hexdigest()[:12]}…, expected {str(entry['sha256'])[:12]}…); get it again"
            )
        yield held

    def _read_manifest(self) -> dict[str, Any]:
        raw = b"".join(read_blocks(self.path, MANIFEST, limit=MANIFEST_LIMIT_BYTES))
        try:
            manifest = json.loads(raw)
            schema = manifest["schema"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise BundleError(f"'{self.path}': {MANIFEST} is not a bundle manifest") from error
        if not isinstance(schema, int) or schema > SCHEMA_VERSION:
            raise BundleError(
                f"'{self.path}' has bundle schema {schema}, this adcvsr reads up to "
                f"{SCHEMA_VERSION}; upgrade adcvsr"
            )
        try:
            return upgrade_manifest(dict(manifest))
        except (KeyError, TypeError) as error:
            raise BundleError(f"'{self.path}': {MANIFEST} is not a bundle manifest") from error


def open_bundle(name_or_path: str | Path) -> Bundle:
    """Open a bundle by name (see `list_bundles`) or by path.

    Text with a path separator is a path. Any other text is looked up as a name first and then,
    where no bundle has that name, as a file or folder here.

    Raises:
        BundleNotFoundError: Neither; the message lists the names at hand.
        BundleError: It is there and damaged.
    """
    text = str(name_or_path)
    path = Path(text)
    if isinstance(name_or_path, Path) or os.sep in text:
        return Bundle(path)
    for folder in search_folders():
        if (folder / text / MANIFEST).is_file():
            return Bundle(folder / text)
    if path.is_file() or (path / MANIFEST).is_file():
        return Bundle(path)
    names = {bundle.path.name: None for bundle in list_bundles()}
    raise BundleNotFoundError(
        f"no bundle named '{text}' and no bundle at that path{nearest(text, names)}"
    )


def list_bundles(report: Callable[[str], None] | None = None) -> list[Bundle]:
    """All readable bundles at hand, by folder name; the first of a name in search order wins.

    Args:
        report: Called with a line for each folder that is missing and each bundle that is damaged.
    """
    report = report or (lambda line: None)
    found: dict[str, Bundle] = {}
    for folder in search_folders():
        if not folder.is_dir():
            report(f"'{folder}' in ${SEARCH_VARIABLE} is no folder")
            continue
        for path in sorted(p.parent for p in folder.glob(f"*/{MANIFEST}")):
            try:
                found.setdefault(path.name, Bundle(path))
            except AdcVsrError as error:
                report(f"left out: {error}")
    return [found[name] for name in sorted(found)]


def search_folders() -> list[Path]:
    """Folders whose subfolders are bundles, in search order."""
    extra = [Path(p) for p in os.environ.get(SEARCH_VARIABLE, "").split(os.pathsep) if p]
    return [*extra, PACKAGED]


def describe(bundle: Bundle) -> dict[str, Any]:
    """Facts of a bundle as JSON-ready values, as `adcvsr models --json` prints them."""
    return {
        "name": bundle.path.name,
        "path": str(bundle.path),
        "preset": bundle.config.name,
        "parameters": bundle.parameters,
        "scale": SCALE,
        "causal": bundle.config.causal,
        "trained": bundle.trained,
        "variants": sorted(bundle.variants),
        "bytes": bundle.bytes,
    }
