"""Thousands of hours of video on a cluster, on paper: what scales, and what a failure costs.

    python benchmarks/job_simulation.py                  # 10,000 hours, 256 to 4,096 workers
    python benchmarks/job_simulation.py --frame-ms 24 --deaths 0.01
    python benchmarks/job_simulation.py --segment 60     # other lengths of a segment

Events, no clock: each worker starts, loads its network, takes the next segment, reads, upscales and
writes it; now and then one dies and comes back, and its segment is begun anew once its lease is
stale. A file of which all is made is joined by a worker. `--frame-ms` is what `job_segments.py`
measures on one processor here. Reading and writing share the store's bandwidth. All files are
planned before the first segment, by `--drivers` runs that share them.
"""

from __future__ import annotations

import argparse
import heapq
import random
import sys
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
    drivers: int
    """Runs that plan, each its share of the files."""
    join_mb_s: float
    """Of one worker, reading or writing."""
    in_mb: float
    """A segment's input."""
    out_mb: float
    store_mb_s: float


@dataclass
class Outcome:
    """What came; shares of all workers' hours."""

    hours: float
    """Until the last file is joined, planning included."""
    useful: float
    """Segments that count."""
    joins: float
    lost: float
    """Segments begun anew."""
    deaths: int


def simulate(cluster: Cluster, workers: int, seed: int) -> Outcome:
    """Run a job of all files on so many workers."""
    rng = random.Random(seed)
    files = round(cluster.hours / cluster.file_hours)
    per_file = round(cluster.file_hours * 3600 / cluster.segment_s)
    mean = cluster.segment_s * RATE * cluster.frame_ms / 1000
    # The store serves all alike: a segment takes no less than its share of the bandwidth.
    share = workers * (cluster.in_mb + cluster.out_mb) / cluster.store_mb_s
    begin = files * cluster.plan_s / cluster.drivers
    join_s = 3 * per_file * cluster.out_mb / cluster.join_mb_s  # hashed, copied, hashed
    left = [per_file] * files
    segments = (file for file in range(files) for _ in range(per_file))
    again: list[tuple[float, int]] = []  # from when on
    joins: list[int] = []
    # When a worker is free, which, and what it finished: a file's segment, its join, or nothing.
    free = [(begin + cluster.load_s, worker, -1, 0.0) for worker in range(workers)]
    useful = joining = lost = last = 0.0
    deaths = 0
    while free:
        now, worker, file, took = heapq.heappop(free)
        if file >= 0:
            useful, last = useful + took, max(last, now)
            left[file] -= 1
            if not left[file]:
                joins.append(file)
        if joins:
            joins.pop()
            joining, last = joining + join_s, max(last, now + join_s)
            heapq.heappush(free, (now + join_s, worker, -1, 0.0))
            continue
        begun = again and again[0][0] <= now
        which = heapq.heappop(again)[1] if begun else next(segments, -1)
        if which < 0:
            if again:
                heapq.heappush(free, (again[0][0], worker, -1, 0.0))
            continue
        needs = max(mean * max(rng.gauss(1, cluster.spread), 0.2), share)
        death = rng.expovariate(cluster.deaths / 3600) if cluster.deaths else float("inf")
        if death < needs:
            deaths, lost = deaths + 1, lost + death
            heapq.heappush(again, (now + death + cluster.stale_s, which))
            back = now + death + cluster.back_s + cluster.load_s
            heapq.heappush(free, (back, worker, -1, 0.0))
        else:
            heapq.heappush(free, (now + needs, worker, which, needs))
    total = workers * last
    useful *= min(1.0, mean / max(mean, share))
    return Outcome(last / 3600, useful / total, joining / total, lost / total, deaths)


def main() -> int:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, default=10_000, help="of video")
    parser.add_argument("--file-hours", type=float, default=1.0)
    parser.add_argument("--segment", type=float, default=10.0, help="seconds of video")
    parser.add_argument("--frame-ms", type=float, default=55.0, help="of one worker, a frame")
    parser.add_argument("--spread", type=float, default=0.15)
    parser.add_argument("--load", type=float, default=5.0, help="seconds of a worker's start")
    parser.add_argument("--deaths", type=float, default=0.001, help="a worker and hour")
    parser.add_argument("--back", type=float, default=120.0, help="seconds until one is back")
    parser.add_argument("--drivers", type=int, default=1, help="runs that share the files")
    parser.add_argument("--plan", type=float, default=1.0, help="seconds a file")
    parser.add_argument("--join-mb-s", type=float, default=200.0)
    parser.add_argument("--in-mb", type=float, default=1.0, help="of a segment")
    parser.add_argument("--out-mb", type=float, default=5.0, help="of a segment")
    parser.add_argument("--store-mb-s", type=float, default=1000.0)
    parser.add_argument("--workers", type=int, nargs="+", default=[256, 1024, 4096])
    given = parser.parse_args()
    cluster = Cluster(
        hours=given.hours,
        file_hours=given.file_hours,
        segment_s=given.segment,
        frame_ms=given.frame_ms,
        spread=given.spread,
        load_s=given.load,
        deaths=given.deaths,
        back_s=given.back,
        stale_s=60.0,
        plan_s=given.plan,
        drivers=given.drivers,
        join_mb_s=given.join_mb_s,
        in_mb=given.in_mb,
        out_mb=given.out_mb,
        store_mb_s=given.store_mb_s,
    )
    print("workers     hours   of ideal   useful    joins     lost   deaths")
    for workers in given.workers:
        found = simulate(cluster, workers, 0)
        ideal = given.hours * RATE * given.frame_ms / 1000 / workers
        print(
            f"{workers:7,}  {found.hours:8.1f}   {ideal / found.hours:7.1%}  {found.useful:7.1%}  "
            f"{found.joins:7.2%}  {found.lost:7.3%}  {found.deaths:7,}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
