"""Thousands of hours of video on a cluster, on paper: what scales, and what a failure costs.

    python benchmarks/job_simulation.py                  # 10,000 hours, 256 to 4,096 workers
    python benchmarks/job_simulation.py --frame-ms 24 --deaths 0.01
    python benchmarks/job_simulation.py --segment 60     # other lengths of a segment

Events, no clock: each worker starts, loads its network, takes the next segment of a file that has
been planned, reads, upscales and writes it; now and then one dies and comes back, and its segment
is begun anew once its lease is stale. `--frame-ms` is what `job_segments.py` measures on one
processor here. Reading and writing share the store's bandwidth. Planning and joining run on one
machine beside.
"""

from __future__ import annotations

import argparse
import heapq
import random
import statistics
import sys
from collections import deque
from dataclasses import dataclass

RATE = 25.0
"""Frames a second of the videos."""


@dataclass
class Cluster:
    """What is assumed."""

    hours: float
    file_hours: float
    segment_s: float
    frame_ms: float
    """Of one worker."""
    spread: float
    """Standard deviation of a segment's time, relative."""
    load_s: float
    """A worker's start: Python, network, probe."""
    deaths: float
    """A worker and hour."""
    back_s: float
    """Until a dead worker's place is taken."""
    stale_s: float
    """Until a dead worker's segment is taken by another one."""
    plan_s: float
    """A file."""
    join_mb_s: float
    in_mb: float
    """A segment's input."""
    out_mb: float
    store_mb_s: float


@dataclass
class Outcome:
    """What came."""

    hours: float
    """Until the last file is joined."""
    busy: float
    """Share of the workers' hours that went into segments that count."""
    lost: float
    """Share that went into segments begun anew."""
    waited: float
    """Share in which workers had nothing to take, or waited for the store."""
    deaths: int


def simulate(cluster: Cluster, workers: int, seed: int) -> Outcome:
    """Run a job of all files on so many workers."""
    rng = random.Random(seed)
    files = round(cluster.hours / cluster.file_hours)
    per_file = round(cluster.file_hours * 3600 / cluster.segment_s)
    mean = cluster.segment_s * RATE * cluster.frame_ms / 1000
    # The store serves all alike: a segment takes no less than its share of the bandwidth.
    share = workers * (cluster.in_mb + cluster.out_mb) / cluster.store_mb_s
    todo: deque[tuple[float, int]] = deque()  # from when on, and of which file
    planned, next_file = 0.0, 0
    left = [per_file] * files
    done_at = [0.0] * files
    events: list[tuple[float, int, int, float]] = []  # time, worker, file or -1 for idle, began
    for worker in range(workers):
        heapq.heappush(events, (cluster.load_s, worker, -1, 0.0))
    good = lost = deaths = 0
    last = 0.0
    while events:
        now, worker, file, began = heapq.heappop(events)
        if file >= 0:
            left[file] -= 1
            good += now - began
            last = max(last, now)
            if not left[file]:
                done_at[file] = now
        while next_file < files and planned <= now:
            planned += cluster.plan_s
            todo.extend((planned, next_file) for _ in range(per_file))
            next_file += 1
        if not todo:
            if next_file < files:
                heapq.heappush(events, (planned, worker, -1, now))
            continue
        ready, which = todo.popleft()
        start = max(now, ready)
        took = max(mean * max(rng.gauss(1, cluster.spread), 0.2), share)
        death = rng.expovariate(cluster.deaths / 3600) if cluster.deaths else float("inf")
        if death < took:
            deaths += 1
            lost += death
            todo.append((start + death + cluster.stale_s, which))
            back = start + death + cluster.back_s + cluster.load_s
            heapq.heappush(events, (back, worker, -1, start))
        else:
            heapq.heappush(events, (start + took, worker, which, start))
    joined = 0.0
    for at in sorted(done_at):
        joined = max(joined, at) + per_file * cluster.out_mb / cluster.join_mb_s
    total = workers * last
    useful = good * min(1.0, mean / max(mean, share))
    return Outcome(
        max(joined, last) / 3600, useful / total, lost / total, 1 - (useful + lost) / total, deaths
    )


def main() -> int:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, default=10_000, help="of video")
    parser.add_argument("--file-hours", type=float, default=1.0)
    parser.add_argument("--segment", type=float, default=10.0, help="seconds of video")
    parser.add_argument("--frame-ms", type=float, default=400.0, help="of one worker, a frame")
    parser.add_argument("--spread", type=float, default=0.15)
    parser.add_argument("--load", type=float, default=5.0, help="seconds of a worker's start")
    parser.add_argument("--deaths", type=float, default=0.001, help="a worker and hour")
    parser.add_argument("--back", type=float, default=120.0, help="seconds until one is back")
    parser.add_argument("--plan", type=float, default=1.0, help="seconds a file")
    parser.add_argument("--join-mb-s", type=float, default=200.0)
    parser.add_argument("--in-mb", type=float, default=2.5, help="of a segment")
    parser.add_argument("--out-mb", type=float, default=12.5, help="of a segment")
    parser.add_argument("--store-mb-s", type=float, default=1000.0)
    parser.add_argument("--workers", type=int, nargs="+", default=[256, 1024, 4096])
    parser.add_argument("--rounds", type=int, default=1)
    given = parser.parse_args()
    cluster = Cluster(
        given.hours, given.file_hours, given.segment, given.frame_ms, given.spread, given.load,
        given.deaths, given.back, 60.0, given.plan, given.join_mb_s, given.in_mb, given.out_mb,
        given.store_mb_s,
    )  # fmt: skip
    print("workers     hours   of ideal   useful     lost   waited   deaths")
    for workers in given.workers:
        found = [simulate(cluster, workers, seed) for seed in range(given.rounds)]
        ideal = given.hours * RATE * given.frame_ms / 1000 / workers
        hours = statistics.mean(each.hours for each in found)
        print(
            f"{workers:7,}  {hours:8.1f}   {ideal / hours:7.1%}  {found[0].busy:7.1%}  "
            f"{found[0].lost:7.2%}  {found[0].waited:7.1%}  {found[0].deaths:7,}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
