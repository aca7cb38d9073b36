"""A compiler's complaints as one line a user can act on: which node, what about it, what to do."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

ADVICE = (
    (
        r"has type UInt8 but must have|uint8.*(not supported|unsupported)",
        "a uint8 tensor must meet a Cast before any other node: export the bundle with "
        "'adcvsr export'",
    ),
    (
        r"must have same input types|types? mismatch|same type|are of types \w+ and \w+",
        "the graph mixes precisions without a Cast between: export this variant again",
    ),
    (
        r"[Ff]ailed to parse the ONNX model|MODEL_DESERIALIZE",
        "the ONNX file is damaged or no ONNX file: get the bundle again",
    ),
    (
        r"No importer registered|Plugin not found|UNSUPPORTED_NODE|[Uu]nsupported operator",
        "this version has no such operator: export with another opset, or use a newer TensorRT",
    ),
    (
        r"(FP8|[Ff]loat8|E4M3).*(support|capab)|(support|capab).*(FP8|[Ff]loat8|E4M3)",
        "FP8 needs compute capability 8.9 or more: take --precision fp16",
    ),
    (
        r"[Oo]ut ?[Oo]f ?[Mm]emory|OUT_OF_MEMORY|std::bad_alloc|[Ii]nsufficient (memory|workspace)",
        "a layer wants more scratch memory than --workspace allows, or than there is: raise it, or "
        "build for a smaller size",
    ),
    (
        r"[Cc]ould not find any implementation|no implementation",
        "no kernel fits this layer: give more --workspace, or take another precision",
    ),
    (
        r"cudaError 35|CUDA driver version is insufficient|no CUDA-capable device",
        "this needs an NVIDIA GPU and its driver: run 'adcvsr doctor'; TensorRT-RTX builds without "
        "for a named --target",
    ),
    (
        r"kMIN|kOPT|kMAX|optimization profile",
        "the sizes do not fit the graph: give --min, --opt and --max in that order of size",
    ),
)
"""What the message matches, and what to do about it; the first match counts."""

DEFAULT_ADVICE = "see docs/engines.md, 'When a build fails'"

_NOISE = re.compile(r"\[?checkMacros|^\s*$|Begin node|End node")
_TRACE = re.compile(r"\s*\bIn (?:function )?\w+ at \S+|\bIn \w+:? at /\S+")


def parser_complaint(parser: Any) -> str:
    """Describe a parser's first error.

    Args:
        parser: An `OnnxParser` that failed.

    Returns:
        Node and operator by name, what the parser says, and advice.
    """
    count = parser.num_errors
    if not count:
        return f"the parser gives no reason; {DEFAULT_ADVICE}"
    error = parser.get_error(0)
    text = str(error.desc())
    name, operator = error.node_name(), error.node_operator()
    where = f"node '{name}' ({operator}): " if operator else ""
    more = f" (and {count - 1} more)" if count > 1 else ""
    return f"{where}{shorten(text)}{more}; {advice([text])}"


def build_complaint(messages: Iterable[str]) -> str:
    """Describe a failed build from what the compiler logged."""
    said = list(messages)
    if not said:
        return f"the compiler gives no reason; {DEFAULT_ADVICE}"
    return f"{shorten(said[0])}; {advice(said)}"


def advice(messages: Iterable[str]) -> str:
    """What to do about messages; the first known one decides."""
    text = "\n".join(messages)
    for pattern, line in ADVICE:
        if re.search(pattern, text):
            return line + _workspace_for(text)
    return DEFAULT_ADVICE


def _workspace_for(text: str) -> str:
    """A workspace that would do, where the compiler says what one buffer wants."""
    found = re.search(r"[Rr]equested size was (\d+) bytes", text)
    if not found:
        return ""
    wanted = int(found[1]) / (1 << 30)
    # Others live beside it: `paper` builds with twice its largest buffer.
    gibibytes = 2 ** max(math.ceil(math.log2(2 * wanted)), 0)
    return f" (one buffer alone wants {wanted:.1f} GiB: --workspace {gibibytes}GiB)"


def shorten(text: str, limit: int = 300) -> str:
    """The telling part of a message in one line, without source locations."""
    lines = [line.strip() for line in text.splitlines() if not _NOISE.search(line)]
    if len(lines) > 1 and lines[0].startswith("Invalid Node"):
        lines = lines[1:]
    line = _TRACE.sub("", " ".join(lines))
    line = re.sub(r"^\S*:? Error Code \d+: ", "", line).strip()
    return line if len(line) <= limit else f"{line[:limit]}…"
