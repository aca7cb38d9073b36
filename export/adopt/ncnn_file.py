"""A network in ncnn's format: `.param`, a text of layers, and `.bin`, their weights in order.

layers = read_layers(Path("model.param"))
weights = WeightReader(Path("model.bin"))
weights.flagged(1728)  # as a convolution stores its kernel
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ...arrays import Floats
from ...errors import AdoptError
from ...reading import read_limited

MAGIC = "7767517"
"""First line of a `.param`."""

PARAM_LIMIT_BYTES = 16 << 20
BIN_LIMIT_BYTES = 2 << 30

MOST_LAYERS = 100_000

ARRAY = -23300
"""Keys of lists are this less their number."""

FLOAT16, FLOAT32, INT8 = 0x01306B47, 0x0002C056, 0x000D4B38
"""What stands before a weight: how it is stored. Nought is float32, all else a table of 256."""

Value = float | tuple[float, ...]


@dataclass(frozen=True)
class Layer:
    """One line of a `.param`."""

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    values: dict[int, Value] = field(default_factory=dict)
    """By the number of the parameter."""

    def number(self, key: int, default: float = 0.0) -> float:
        """A parameter that is one number.

        Raises:
            AdoptError: It is a list.
        """
        value = self.values.get(key, default)
        if isinstance(value, tuple):
            raise AdoptError(f"layer '{self.name}' ({self.kind}): {key} is a list, not a number")
        return value

    def integer(self, key: int, default: int = 0) -> int:
        """A parameter that is a whole number."""
        return int(self.number(key, default))

    def numbers(self, key: int) -> tuple[float, ...]:
        """A parameter that is a list; empty where it is not given."""
        value = self.values.get(key, ())
        return value if isinstance(value, tuple) else (value,)


def read_layers(path: Path) -> list[Layer]:
    """Read a `.param`.

    Raises:
        AdoptError: It is not there, too large, or no such file; the line is named.
    """
    data = read_limited(path, PARAM_LIMIT_BYTES, error=AdoptError)
    lines = data.decode("utf-8", "replace").splitlines()
    if not lines or lines[0].strip() != MAGIC:
        raise AdoptError(
            f"'{path}' is no .param of ncnn: its first line is {lines[0][:20] if lines else ''!a}"
            f", expected {MAGIC}; a binary .param.bin has to be kept with its text"
        )
    layers = []
    for number, line in enumerate(lines[2:], 3):
        if words := line.split():
            try:
                layers.append(_layer(words))
            except (ValueError, IndexError) as error:
                raise AdoptError(f"'{path}' line {number} is no layer: {error}") from error
    if not 2 <= len(layers) <= MOST_LAYERS:
        raise AdoptError(f"'{path}' has {len(layers)} layers, expected 2 to {MOST_LAYERS}")
    return layers


def _layer(words: list[str]) -> Layer:
    kind, name, ins, outs = words[0], words[1], int(words[2]), int(words[3])
    blobs = words[4 : 4 + ins + outs]
    if ins < 0 or outs < 0 or len(blobs) != ins + outs:
        raise ValueError(f"{ins} inputs and {outs} outputs, {len(blobs)} names")
    values: dict[int, Value] = {}
    for word in words[4 + ins + outs :]:
        key, _, text = word.partition("=")
        numbers = tuple(map(float, text.strip('"').split(","))) if _numeric(text) else ()
        if int(key) <= ARRAY:
            if len(numbers) != int(numbers[0]) + 1:
                raise ValueError(
                    f"list {key} says {numbers[0]:g} values and has {len(numbers) - 1}"
                )
            values[ARRAY - int(key)] = numbers[1:]
        elif numbers:
            values[int(key)] = numbers if len(numbers) > 1 else numbers[0]
    return Layer(kind, name, tuple(blobs[:ins]), tuple(blobs[ins:]), values)


def _numeric(text: str) -> bool:
    return bool(text) and not text.startswith('"')


class WeightReader:
    """Weights of a `.bin`, one after the other.

    Args:
        path: The file.

    Raises:
        AdoptError: It is not there or too large.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._data = read_limited(path, BIN_LIMIT_BYTES, error=AdoptError)
        self._at = 0

    def flagged(self, count: int, name: str) -> Floats:
        """The next weight, stored as the number before it says.

        Args:
            count: Of values.
            name: Of the layer, for errors.

        Raises:
            AdoptError: The file ends, or the weight is in 8 bits.
        """
        flag = int(self._take(np.dtype("<u4"), 1, name)[0])
        if flag == FLOAT16:
            found = self._take(np.dtype("<f2"), count, name).astype(np.float32)
            self._at += -self._at % 4
            return found
        if flag == INT8:
            raise AdoptError(
                f"'{self._path}': layer '{name}' has weights of 8 bits; adopt the network before "
                "it was quantized, and quantize the bundle"
            )
        if flag in (0, FLOAT32):
            return self.plain(count, name)
        table = self.plain(256, name)
        places = self._take(np.dtype("u1"), count, name).astype(np.intp)
        self._at += -self._at % 4
        looked_up: Floats = table[places]
        return looked_up

    def plain(self, count: int, name: str) -> Floats:
        """The next weight in float32, as biases and slopes are."""
        return self._take(np.dtype("<f4"), count, name).astype(np.float32)

    def require_end(self) -> None:
        """Refuse what has more weights than layers.

        Raises:
            AdoptError: Bytes are left.
        """
        if left := len(self._data) - self._at:
            raise AdoptError(
                f"'{self._path}' has {left:,} bytes more than its .param has weights for; the two "
                "files do not belong together"
            )

    def _take(
        self, kind: np.dtype[np.generic], count: int, name: str
    ) -> np.ndarray[tuple[int], np.dtype[np.generic]]:
        size = count * kind.itemsize
        if count < 0 or self._at + size > len(self._data):
            raise AdoptError(
                f"'{self._path}' ends within the weights of layer '{name}' ({count:,} values); the "
                "two files do not belong together, or one is cut off"
            )
        found = np.frombuffer(self._data, kind, count, self._at)
        self._at += size
        return found
