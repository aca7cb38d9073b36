"""A worker process that judges one case after the other, for commands that try hostile input.

A crash or a hang of any library is then an outcome like others: the worker is started anew.

    worker = Worker([sys.executable, __file__, "--worker"])
    print(worker.judge("a case, one line", seconds=60))  # "accepted", "crash: exit status -11", ...
"""

from __future__ import annotations

import queue
import subprocess
import threading
from collections.abc import Iterable, Sequence


class Worker:
    """A process that answers each line with a line.

    Args:
        command: Starts it.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._command = list(command)
        self._start()

    def _start(self) -> None:
        self._answers: queue.Queue[str] = queue.Queue()
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        threading.Thread(
            target=_forward, args=(self._process.stdout, self._answers), daemon=True
        ).start()

    def judge(self, case: str, seconds: float) -> str:
        """Return the answer to a case, or `hang: ...`, or `crash: ...`.

        Args:
            case: A line without its end.
            seconds: After which it hangs.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(case + "\n")
        self._process.stdin.flush()
        try:
            answer = self._answers.get(timeout=seconds)
        except queue.Empty:
            answer = f"hang: nothing after {seconds:.0f} s"
            self._process.kill()
        if not answer:
            answer = f"crash: exit status {self._process.wait()}"
        if answer.startswith(("hang", "crash")):
            self._process.wait()
            self._start()
        return answer

    def stop(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def _forward(lines: Iterable[str] | None, answers: queue.Queue[str]) -> None:
    for line in lines or ():
        answers.put(line.strip())
    answers.put("")  # the process ended
