"""Bundles: the directory or single file that carries a network to a device.

A manifest, one ONNX file a variant, golden vectors, and the SHA-256 of every file. This module
reads and checks; `adcvsr.export` writes.

    bundle = Bundle(path)
    onnx = bundle.read(bundle.variant("fp32-onnx").file)
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from ..adopted_network import MOST_SCALE, AdoptedNetwork
from ..config import SCALE, AdcVsrConfig, nearest
from ..errors import AdcVsrError, BundleError, BundleNotFoundError, ConfigError
from ..given import BUNDLE, MANIFEST, mistaken
from ..reading import Item, parse_json
from ..variants import PRECISIONS, STORED_AS, VariantName, of_precision
from .files import BLOCK_BYTES, check_member_name, read_blocks
from .graph_guard import check_graph
from .schema import (
    MOST_FRAMES,
    MOST_SIZE,
    SCHEMA_VERSION,
    TensorSpec,
    Variant,
    Window,
    check_rest,
    computed_otherwise,
    delay_of,
    read_colour_match,
    read_state,
    read_tensor,
    read_variant,
    read_window,
    upgrade_checked,
)

MANIFEST_LIMIT_BYTES = 4 << 20
"""A manifest is kilobytes; more is damage or an attack."""

READ_LIMIT_BYTES = 2 << 30
"""Largest file that is held in memory; no ONNX file is larger, weights beside one are mapped."""

TRIAL_SIDE = 64
"""Pixels of a side of the frame that a stranger's graph first runs, or one size multiple."""

MOST_FILES = 256
"""A bundle has about a dozen files."""

AGAIN = "get the bundle again, or export it again"
"""What to do about a damaged bundle."""

FILE_LIMIT_BYTES = 8 << 30
"""Largest file a bundle may declare; the FP32 `paper` graph is 2.3 GB."""

PACKAGED = Path(__file__).parents[1] / "models"
"""Bundles that come with the package."""


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
        if wrong := mistaken(path, BUNDLE):
            raise BundleError(f"'{path}' is not a bundle{wrong}")
        found = self._read_manifest()
        self.manifest: dict[str, Any] = found.mapping()
        self._parse(found)

    def _parse(self, manifest: Item) -> None:
        self.name = manifest["name"].text()
        self.config = self._config(manifest["config"])
        self.parameters = manifest["parameters"].integer(0, 1 << 48)
        self.trained = manifest["trained"].flag()
        self.size_multiple = manifest["size_multiple"].integer(1, MOST_SIZE)
        self.scale = self._scale(manifest["scale"])
        interface = manifest["interface"]
        self.input_name = interface["input"]["name"].text()
        self.output_name = interface["output"]["name"].text()
        self.state = tuple(map(read_state, interface["state"].items(most=MOST_FRAMES)))
        self.delay = delay_of(self.state)
        """Frames that a stream's pictures come late: it looks so far ahead."""
        self.kind = interface["kind"].text(one_of=("stream", "clip"))
        self.features: TensorSpec | None = None
        self.window: Window | None = None
        if self.kind == "clip":
            self.features = read_tensor(interface["features"])
            self.window = read_window(manifest["window"])
        self.colour_match = read_colour_match(manifest["colour_match"])
        self.variants = {
            key: read_variant(key, entry, self.kind) for key, entry in manifest["variants"].fields()
        }
        self.files = {name: self._file(name, e) for name, e in manifest["files"].fields()}
        self.bytes = sum(self.files.values())
        if len(self.files) > MOST_FILES:
            manifest["files"].expected(f"at most {MOST_FILES} files")
        check_rest(manifest)

    def _scale(self, item: Item) -> int:
        """Pixels of a side that one pixel's side becomes."""
        own = self.config.scale if isinstance(self.config, AdoptedNetwork) else SCALE
        if item.integer(1, MOST_SCALE) != own:
            item.expected(f"{own}, as its network makes")
        return own

    def _config(self, item: Item) -> AdcVsrConfig | AdoptedNetwork:
        if "adopted" in item.mapping():
            return AdoptedNetwork.from_item(item)
        try:
            return AdcVsrConfig.from_dict(item.mapping())
        except ConfigError as error:
            raise BundleError(f"'{self.path}': {MANIFEST}: {error}; {AGAIN}") from error

    def _file(self, name: str, entry: Item) -> int:
        """A listed file's size in bytes; its entry is checked."""
        check_member_name(self.path, name)
        size, sha256 = entry["bytes"], entry["sha256"].text()
        if size.integer(0) > FILE_LIMIT_BYTES:
            raise BundleError(
                f"'{self.path}': '{name}' declares {size.value} bytes, more than {FILE_LIMIT_BYTES}"
            )
        if not re.fullmatch("[0-9a-f]{64}", sha256):
            entry["sha256"].expected("64 hexadecimal digits")
        return size.integer()

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

    def variants_named(self, text: str) -> list[str]:
        """Ids that a user means: an id itself, or all of a precision, such as `int8`.

        Raises:
            BundleError: The bundle has neither; the message lists the ids it has.
        """
        if text in self.variants:
            return [text]
        names = map(VariantName.parse, self.variants)
        stored = STORED_AS.get(text, text)
        found = sorted(VariantName(text, n.runtime).id for n in names if n.precision == stored)
        return found or [self.variant(text).id]

    def find_variant(self, text: str, backend: str) -> str:
        """Find the variant a user means for a backend.

        Args:
            text: An id (`int8-ort`), or a precision (`int8`): the variant of it that is made for
                the backend.
            backend: One of `variants.BACKENDS`.

        Returns:
            Its id.

        Raises:
            BundleError: There is none of that name or precision; the message lists what there is.
        """
        name = VariantName.parse(text)
        if text in self.variants or (name.runtime and name.stored.id in self.variants):
            return text
        if found := of_precision(self.variants, backend, text):
            return found
        has = sorted(self.variants)
        missing = f"bundle '{self.name}' has no variant '{text}'"
        foreign = next((each for each in has if VariantName.parse(each).precision == text), None)
        if foreign is not None:
            raise BundleError(
                f"{missing} for '{backend}': '{foreign}' is made for another backend; give its "
                "full name to run it here anyway"
            )
        if text in PRECISIONS:
            raise BundleError(
                f"{missing} that '{backend}' runs; it has: {', '.join(has)}; 'adcvsr quantize' "
                "makes others"
            )
        near = nearest(text, dict.fromkeys([*has, *PRECISIONS]))
        raise BundleError(f"{missing}; it has: {', '.join(has)}{near}")

    def read(self, name: str) -> bytes:
        """Read one file and check its size and SHA-256 against the manifest.

        Raises:
            BundleError: The file is not listed, missing, of another size or altered; too large for
                memory; or a graph that is refused, see `graph`.
        """
        data = self._read(name)
        for variant in self.variants.values():
            if name in variant.graph_files:
                locations = self._check_graph(variant, name, data)
                if not locations:
                    self._try(name, data, locations)
                break
        return data

    def _read(self, name: str) -> bytes:
        if (size := self.files.get(name, 0)) > READ_LIMIT_BYTES:
            raise BundleError(
                f"'{self.path}': '{name}' declares {size:,} bytes, at most {READ_LIMIT_BYTES:,} "
                "are read into memory"
            )
        if size > BLOCK_BYTES:
            self.verify_file(name)  # nothing is held before the hash is known
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
                list, has operators that a bundle may not (`graph_guard`) or does not pass its first
                trial (`graph_trial`); or there is no room to unpack.
        """
        graph = self._read(file)
        locations = self._check_graph(variant, file, graph)
        if not locations:
            self._try(file, graph, locations)
            yield graph
        elif self.path.is_dir():
            for name in locations:
                self.verify_file(name)
            self._try(file, self.path / file, locations)
            yield self.path / file
        else:
            # Costs milliseconds at the start of commands that never come here.
            from ..leftovers import part_folder

            del graph
            with part_folder() as folder:
                for name in (file, *sorted(locations)):
                    self._unpack(name, folder / PurePosixPath(name).name)
                self._try(file, folder / PurePosixPath(file).name, locations)
                yield folder / PurePosixPath(file).name

    def graph_key(self, file: str, locations: Iterable[str]) -> str:
        """Hash of a graph and the weights beside it, by which a trial is remembered."""
        named = [self.manifest["files"][name]["sha256"] for name in (file, *sorted(locations))]
        return named[0] if len(named) == 1 else hashlib.sha256("".join(named).encode()).hexdigest()

    def _check_graph(self, variant: Variant, file: str, graph: bytes) -> set[str]:
        source = f"'{self.path}': '{file}'"
        return check_graph(graph, source=source, data_files=variant.data_files)

    def _try(self, file: str, graph: bytes | Path, locations: set[str]) -> None:
        """Run a graph that is no packaged one once in a child, see `graph_trial`."""
        key = self.graph_key(file, locations)
        if key in _packaged_hashes():
            return
        from .graph_trial import try_graph

        try_graph(
            graph,
            key=key,
            shapes=self._trial_shapes(),
            source=f"'{self.path}': '{file}'",
            size_bytes=sum(self.files[name] for name in (file, *locations)),
        )

    def _trial_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of all graphs' inputs for a small frame."""
        multiple = self.size_multiple
        side = -(-max(TRIAL_SIDE, multiple) // multiple) * multiple
        frames = self.window.frames if self.window else 1
        shapes: dict[str, tuple[int, ...]] = {self.input_name: (frames, side, side, 3)}
        shapes |= {spec.name: spec.shape(side, side) for spec in self.state}
        if self.features is not None:
            shapes[self.features.name] = self.features.shape(side, side)
        return shapes

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
        if name not in self.files:
            raise BundleError(f"'{self.path}': '{name}' is not listed in the manifest")
        size, sha256 = self.files[name], self.manifest["files"][name]["sha256"]
        digest, length, held = hashlib.sha256(), 0, b""
        for block in read_blocks(self.path, name, limit=size):
            digest.update(block)
            length += len(block)
            yield held
            held = block
        if length != size or digest.hexdigest() != sha256:
            raise BundleError(
                f"'{self.path}': '{name}' was changed after the bundle was written (sha256 "
                f"{digest.hexdigest()[:12]}…, expected {sha256[:12]}…); get it again"
            )
        yield held

    def _read_manifest(self) -> Item:
        raw = b"".join(read_blocks(self.path, MANIFEST, limit=MANIFEST_LIMIT_BYTES))
        source = f"'{self.path}': {MANIFEST}"
        found = parse_json(raw, source=source, error=BundleError, advice=AGAIN)
        if not isinstance(found.value, dict) or "schema" not in found.value:
            raise BundleError(f"'{self.path}': {MANIFEST} is not a bundle manifest; {AGAIN}")
        if (schema := found["schema"].integer(1)) > SCHEMA_VERSION:
            raise BundleError(
                f"'{self.path}' has bundle schema {schema}, this adcvsr reads up to "
                f"{SCHEMA_VERSION}; upgrade adcvsr"
            )
        return upgrade_checked(found)


@functools.cache
def _packaged_hashes() -> frozenset[str]:
    """Of the graphs that come with the package, as trustworthy as its code."""
    texts = (path.read_text(encoding="utf-8") for path in PACKAGED.glob(f"*/{MANIFEST}"))
    return frozenset(re.findall("[0-9a-f]{64}", " ".join(texts)))
