"""Work on a set's frames on all processors, its results in order, the same bytes on any machine.

A network here is small: two frames on a processor each are done sooner than one on both.

    with one_blas_thread():
        for moments in map_in_order(lambda feed: reduce(session.run(None, feed)), feeds):
            total += moments
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from ...errors import missing_package
from ...host.processors import thread_limit, usable_processors
from ...runtime.sessions.ort_cpu import import_onnxruntime

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_order(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Apply a function to items in threads, one a processor; yield the results in order.

    Sums over the results have one order therefore, and the same bits each time.

    Args:
        work: Releases Python's lock for most of its time, as ONNX Runtime and numpy do.
        items: Taken one ahead of what runs, so that few are in memory.
    """
    rest = iter(items)
    with ThreadPoolExecutor(usable_processors()) as pool:
        waiting: deque[Future[Result]] = deque(
            pool.submit(work, item) for item in islice(rest, usable_processors() + 1)
        )
        try:
            while waiting:
                yield waiting.popleft().result()
                waiting.extend(pool.submit(work, item) for item in islice(rest, 1))
        finally:
            pool.shutdown(cancel_futures=True)


def one_blas_thread() -> AbstractContextManager[Any]:
    """Keep numpy's matrix products from threads of their own, in every thread meanwhile.

    How many there are would be in the last bits of sums.

    Raises:
        MissingPackageError: `threadpoolctl` is not installed.
    """
    try:
        from threadpoolctl import threadpool_limits
    except ImportError as error:
        raise missing_package("threadpoolctl", "export", "quantizing") from error
    limits: AbstractContextManager[Any] = threadpool_limits(1, user_api="blas")
    return limits


def open_graph(graph: bytes | Path, *, fused: bool = True, threads: int = 1) -> Any:
    """An ONNX Runtime session on the CPU.

    Args:
        graph: An ONNX file or its content.
        fused: Otherwise Q/DQ nodes compute in floats: integer kernels may saturate, by processor.
        threads: Of its own; 0 for one a processor.

    Raises:
        MissingPackageError: onnxruntime is not installed.
    """
    ort = import_onnxruntime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or thread_limit()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if not fused:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4  # errors are raised; a log of them holds names of the graph
    return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
