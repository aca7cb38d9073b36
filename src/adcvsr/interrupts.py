"""Descriptors and signals: prepared before anything that takes time is imported.

Ctrl-C, a polite kill and a closed terminal end a command in order, by `KeyboardInterrupt` in the
main thread: stages stop, partial files are removed. Three moments are special:

- in the middle of an import, where modules take the exception for a package that is missing or
  swallow it: the program ends there, or, where files are being written, after the import if that
  is done in `GRACE_S`;
- in a call into a library that does not come back: after `GRACE_S` this process removes its partial
  files and ends;
- a signal that was ignored when the program began (`nohup`, a script's background job) stays so.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

INTERRUPTED = 130
"""Exit status of a command that was interrupted, by whichever signal."""

UNREAD = 141
"""Of one whose output nobody reads any more: what shells show for a program ended by SIGPIPE."""

GRACE_S = 3.0
"""Seconds a signal waits for the main thread to notice it."""

PASS_ON_S = 0.2
"""Seconds until a signal that another thread took, as those of a stopped process may be, is passed
on to the main thread: its call goes on else, however short the interrupt would make it."""

AGAIN_S = 0.05
"""Seconds until a signal that met an import comes again."""

_IMPORT = "<frozen importlib._bootstrap>"


class _State:
    """What the handler and the watch know of each other."""

    handled: tuple[signal.Signals, ...] = ()
    noticed = threading.Event()
    patient = False


def prepare() -> None:
    """Make descriptors and signals what the commands count on; once in a process."""
    if _State.handled or threading.current_thread() is not threading.main_thread():
        return
    _open_standard_streams()
    _State.handled = tuple(
        number
        for name in ("SIGINT", "SIGTERM", "SIGHUP")
        if (number := getattr(signal, name, None)) is not None
        and signal.getsignal(number) not in (signal.SIG_IGN, None)
    )
    for number in _State.handled:
        signal.signal(number, _interrupt)
    sys.unraisablehook = _unraisable
    _watch()


def be_patient() -> None:
    """Leave it to the command to end, however long its calls are: it saves its work first."""
    _State.patient = True


def take_over(name: str, call: Callable[[], None]) -> None:
    """Have a signal mean something else than the end from now on; one that is ignored stays so.

    Args:
        name: Such as `SIGHUP`; nothing happens on a system without it.
        call: What it means; called between two steps of the main thread.
    """
    number = getattr(signal, name, None)
    if number in _State.handled:
        _State.handled = tuple(each for each in _State.handled if each is not number)
        signal.signal(number, lambda number, frame: call())


def _open_standard_streams() -> None:
    """Fill closed descriptors, or the next file that is opened gets what is printed."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - for good


def _interrupt(number: int, frame: FrameType | None) -> None:
    """End in order.

    Further signals are ignored meanwhile: an interrupted clean-up would leave files behind or crash
    a running stage, and the first signal takes up to a frame to act.
    """
    if _is_importing(frame):
        if not _writes():
            end_now()
        _come_again(number)
        return
    _State.noticed.set()
    for each in _State.handled:
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == _IMPORT:
            return True
        frame = frame.f_back
    return False


def _come_again(number: int) -> None:
    timer = threading.Timer(AGAIN_S, _send, (number,))
    timer.daemon = True
    timer.start()


def _send(number: int) -> None:
    if os.name == "nt":
        signal.raise_signal(number)  # `os.kill` would end the process there and then
    else:
        os.kill(os.getpid(), number)


def _unraisable(unraisable: Any) -> None:
    """An interrupt that met a destructor or a callback was swallowed there: it comes again.

    Of signals that arrive together the first is enough; Python says of the others that they are
    ignored.
    """
    if not is_of_signals(unraisable.exc_value):
        sys.__unraisablehook__(unraisable)
        return
    if not isinstance(unraisable.exc_value, KeyboardInterrupt):
        return
    for each in _State.handled:
        signal.signal(each, _interrupt)
    _come_again(_State.handled[0])


def is_of_signals(error: BaseException | None) -> bool:
    """Whether an exception that nobody could catch is about signals, and no fault."""
    raced = isinstance(error, OSError) and "ignored due to race condition" in str(error)
    return raced or isinstance(error, KeyboardInterrupt)


def _watch() -> None:
    """Look, in a thread of its own, whether the main thread notices signals."""
    if not hasattr(os, "register_at_fork"):  # not on Windows, where Ctrl-C alone arrives
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    # A child's signals are its own business, and would be read here.
    os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))
    watch = threading.Thread(target=_end_if_unnoticed, args=(reading,), daemon=True)
    try:
        watch.start()
    except RuntimeError:  # no thread is left: who needs one says so
        signal.set_wakeup_fd(-1)


def _end_if_unnoticed(reading: int) -> None:
    main = threading.main_thread().ident
    assert main is not None
    while number := os.read(reading, 1):
        if number[0] not in _State.handled or _State.noticed.wait(PASS_ON_S):
            continue
        # To whoever has a handler of his own a second signal may mean more.
        if signal.getsignal(number[0]) is _interrupt and not _State.patient:
            signal.pthread_kill(main, number[0])
        if not _State.noticed.wait(GRACE_S) and not _State.patient:
            end_now()


def _writes() -> bool:
    """Whether partial files may be there; `leftovers` is imported by who writes any."""
    leftovers = sys.modules.get("adcvsr.leftovers")
    return leftovers is not None and bool(getattr(leftovers, "any_in_use", bool)())


def end_unread() -> None:
    """End without a word: whoever read standard output closed it."""
    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), 1)  # what Python still holds goes there
    sys.exit(UNREAD)


def end_now() -> None:
    """Remove partial files and end, whatever else is under way."""
    if _writes():
        from .leftovers import remove_own

        remove_own()
    shown = "\x1b[?25h" if sys.stderr.isatty() else ""  # a progress display hides the cursor
    try:
        sys.stdout.flush()
        os.write(2, f"{shown}interrupted\n".encode())
    except (OSError, ValueError):
        pass
    os._exit(INTERRUPTED)
