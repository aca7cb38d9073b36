"""Adding a variant to a bundle: other variants untouched, the bundle whole at every moment.

with stage_variant(path) as stage:
    (stage.folder / "int8-ort.onnx").write_bytes(graph)
    stage.put("int8-ort", entry, ["int8-ort.onnx"])
    ...  # the stage is a bundle of its own: replay it, prove it
    stage.commit()
"""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from ..bundle import Bundle
from ..bundle.graph_trial import remember
from ..bundle.onnx_locations import scan_graph
from ..bundle.schema import SCHEMA_VERSION, Manifest, Variant
from ..errors import OutputExistsError, OutputNotWritableError
from ..files import file_entry, json_bytes, replace_file
from ..given import MANIFEST
from ..leftovers import move_in, part_folder
from .archive import zip_folder


class Stage:
    """A bundle's copy beside it, in which a variant is made.

    Args:
        path: The bundle.
        folder: Holds its files; a directory bundle's are hard links, so that weights of gigabytes
            are not copied. New files replace links, never what they point to.
    """

    def __init__(self, path: Path, folder: Path) -> None:
        self.path, self.folder = path, folder

    def open(self) -> Bundle:
        """The stage as a bundle."""
        return Bundle(self.folder)

    def write(self, name: str, data: bytes) -> None:
        """Write a file of the new variant."""
        replace_file(self.folder / name, lambda part: part.write_bytes(data))

    def put(self, variant_id: str, entry: dict[str, Any], files: Sequence[str]) -> Bundle:
        """List a variant and its files in the manifest, in the place of one of the same id.

        Args:
            variant_id: The variant.
            entry: What the manifest says of it.
            files: All its files, already written.

        Returns:
            The stage, opened.
        """
        manifest = self._manifest()
        old = manifest["variants"].pop(variant_id, None)
        if old is not None:
            for name in _files_of(old):
                manifest["files"].pop(name, None)
        manifest["variants"][variant_id] = {**entry, "files": sorted(files)}
        manifest["files"] |= {name: file_entry(self.folder / name) for name in files}
        listed = {*manifest["files"], MANIFEST}
        for name in set(_files_of(old or {})) - listed:
            (self.folder / name).unlink(missing_ok=True)
        self.write(MANIFEST, json_bytes(manifest))
        return self.open()

    def commit(self) -> Bundle:
        """Put the stage in the bundle's place.

        Returns:
            The bundle, opened and every file verified.

        Raises:
            BundleError: A file is not what the manifest says.
            OutputNotWritableError: It cannot be moved; the old bundle stays.
        """
        staged = self.open()
        staged.verify_files()
        try:
            _swap(self.folder, self.path)
        except OSError as error:
            raise OutputNotWritableError(f"cannot write '{self.path}': {error}") from error
        return Bundle(self.path)

    def _manifest(self) -> Manifest:
        return self.open().manifest


@contextmanager
def stage_variant(path: Path) -> Iterator[Stage]:
    """Make a stage of a bundle; it goes when the context ends, committed or not.

    Args:
        path: A bundle, directory or zip.

    Raises:
        BundleError: The bundle is damaged or of an older schema.
        OutputNotWritableError: Nothing can be written beside it.
    """
    bundle = Bundle(path)
    bundle.verify_files()
    try:
        parts = ExitStack()
        part = parts.enter_context(part_folder(path.resolve().parent))
    except OSError as error:
        raise OutputNotWritableError(
            f"cannot write beside the bundle '{path}': {error.strerror}; copy it to a folder that "
            "may be written"
        ) from error
    try:
        folder = part / "bundle"
        folder.mkdir()
        _fill(bundle, folder)
        yield Stage(path, folder)
    except OSError as error:
        if isinstance(error, OutputNotWritableError | OutputExistsError):
            raise
        raise OutputNotWritableError(f"cannot write the bundle '{path}': {error}") from error
    finally:
        parts.close()


def remember_proven(staged: Bundle, variant_id: str) -> None:
    """Note that a variant's graphs run here, so that they are not tried: their proof runs them.

    Args:
        staged: A folder that holds the variant, which was made here.
        variant_id: The variant.
    """
    for name in staged.variants[variant_id].graph_files:
        weights = scan_graph((staged.path / name).read_bytes()).locations
        remember(staged.graph_key(name, weights))


def require_new(bundle: Bundle, variant_id: str, *, overwrite: bool) -> Variant | None:
    """Refuse to replace a variant that was not asked to be.

    Raises:
        OutputExistsError: The bundle has it and `overwrite` is off.
    """
    old = bundle.variants.get(variant_id)
    if old is not None and not overwrite:
        raise OutputExistsError(
            f"bundle '{bundle.path}' has a variant '{variant_id}'; pass --overwrite to replace it"
        )
    return old


def _fill(bundle: Bundle, folder: Path) -> None:
    """Link or unpack a bundle's files, and write its manifest in the present schema."""
    if bundle.path.is_dir():
        # All of it, what the manifest does not list too: it is the user's.
        shutil.copytree(bundle.path, folder, copy_function=_link, dirs_exist_ok=True)
    else:
        with zipfile.ZipFile(bundle.path) as archive:
            for name in bundle.manifest["files"]:
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(name) as member, target.open("wb") as file:
                    shutil.copyfileobj(member, file, 1 << 20)
    manifest = {**bundle.manifest, "schema": SCHEMA_VERSION}
    replace_file(folder / MANIFEST, lambda part: part.write_bytes(json_bytes(manifest)))


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without links
        shutil.copyfile(source, target)


def _swap(folder: Path, path: Path) -> None:
    """Move a stage to the bundle's name; if that fails, the old bundle comes back."""
    target = folder
    if not path.is_dir():
        target = folder.with_suffix(".zip")
        zip_folder(folder, target)
    move_in(target, path)


def _files_of(entry: dict[str, Any]) -> list[str]:
    """Files a manifest's variant names as its own."""
    return list(entry.get("files", []))
