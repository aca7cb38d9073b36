"""Another model or precision while the stream runs: loaded beside the old, swapped between frames.

The page asks, a thread of its own loads, the thread of the network swaps. What cannot be loaded
leaves the old one running, and says why.

    switch = ModelSwitch(upscaler, bundles, size=lambda: (320, 180), note=print)
    switch.ask("nano", "int8-ort")
    switch.swap()  # between frames, by the thread that runs the network: True once
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ...bundle import BadBundle, Bundle
from ...errors import AdcVsrError, ConfigError
from ...pictures.colour import Colours
from ...pictures.yuv_picture import YuvPicture
from ..processing.backends import choose_backend
from ..processing.variant_pick import pick_variants
from ..upscaler import Upscaler
from ..yuv import REFUSALS

LOOK_S = 0.1
"""How often a loaded network that waits for its first frame looks whether the run has ended."""


class SwitchRefusedError(Exception):
    """The switch was not begun; the message says why."""


@dataclass(frozen=True)
class Offer:
    """What may be switched to."""

    model: str
    """The bundle's name, as `adcvsr models` lists it."""

    variant: str
    """Id."""

    def __str__(self) -> str:
        """For people."""
        return f"{self.model} {self.variant}"


class ModelSwitch:
    """The networks a live run can go on with.

    Offered are the causal, trained ones of the bundles, with the variants that the running backend
    runs on this machine.

    Args:
        upscaler: What runs; its network is exchanged.
        bundles: Further bundles; the running one is always offered.
        size: Width and height of the latest frame; None before the first.
        note: Called with a line for every switch, and for every one that failed.
        bad: What cannot be offered; shown with the reason.

    Raises:
        ConfigError: Two bundles have the same name.
    """

    def __init__(
        self,
        upscaler: Upscaler,
        bundles: Iterable[Bundle],
        *,
        size: Callable[[], tuple[int, int] | None],
        note: Callable[[str], None],
        bad: Iterable[BadBundle] = (),
    ) -> None:
        self._bad = [{"model": each.path.name, "why": each.reason} for each in bad]
        self._upscaler, self._size, self._note = upscaler, size, note
        self._bundles = _by_name([upscaler.bundle, *bundles])
        self.offers = tuple(
            offer
            for name, bundle in self._bundles.items()
            for offer in _offers(name, bundle, upscaler)
        )
        self._lock = threading.Lock()
        self._loading: Offer | None = None
        self._failed: tuple[Offer, str] | None = None
        self._ready: Upscaler | None = None
        self._swapped, self._closed = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def ask(self, model: str, variant: str) -> Offer:
        """Begin to load another network.

        Raises:
            SwitchRefusedError: It is not offered, runs already, or another one is being loaded.
        """
        offer = Offer(model, variant)
        with self._lock:
            if offer not in self.offers:
                known = ", ".join(map(str, self.offers))
                raise SwitchRefusedError(f"'{offer}' is not offered; choose from: {known}")
            if self._closed.is_set():
                raise SwitchRefusedError("the run ends")
            if self._loading is not None:
                raise SwitchRefusedError(f"{self._loading} is being loaded; wait for it")
            if offer == self._running():
                raise SwitchRefusedError(f"{offer} runs already")
            self._loading, self._failed = offer, None
            self._swapped.clear()
            self._thread = threading.Thread(
                target=self._load, args=(offer,), name="adcvsr-load", daemon=True
            )
            self._thread.start()
        return offer

    def swap(self) -> bool:
        """Change to the network that has been loaded, if there is one.

        Called between frames by the thread that runs the network.

        Returns:
            Whether it changed; the past is forgotten then.
        """
        if (ready := self._ready) is None:
            return False
        self._upscaler.exchange(ready)
        self._ready = None
        self._swapped.set()
        return True

    def state(self) -> dict[str, Any]:
        """What is offered, cannot be, runs, is being loaded and has failed; JSON-ready."""
        with self._lock:
            loading, failed = self._loading, self._failed
            return {
                "offers": [asdict(offer) for offer in self.offers],
                "bad": self._bad,
                "running": asdict(self._running()),
                "loading": asdict(loading) if loading else None,
                "failed": {**asdict(failed[0]), "why": failed[1]} if failed else None,
            }

    def close(self) -> None:
        """Refuse further switches; wait for a network that is being loaded, and free it."""
        with self._lock:
            self._closed.set()
        if self._thread is not None:
            self._thread.join()

    def _running(self) -> Offer:
        session = self._upscaler.session
        return Offer(session.bundle.path.name, session.variant.id)

    def _load(self, offer: Offer) -> None:
        why = None
        try:
            bundle = self._bundles[offer.model]
            # After the exchange it holds the old network, which is freed here, not between frames.
            with self._upscaler.beside(bundle, offer.variant) as other:
                self._warm_up(other)
                self._hand_over(other)
        except AdcVsrError as error:
            why = str(error)
        except Exception as error:  # engines raise their own, such as one of no memory left
            why = f"{type(error).__name__}: {error}"
        with self._lock:
            if why is not None:
                self._failed = (offer, why)
                self._note(f"{offer} was not loaded, {self._running()} runs on: {why}")
            elif self._swapped.is_set():
                self._note(f"switched to {offer} on {self._upscaler.session.backend}")
            self._loading = None

    def _warm_up(self, other: Upscaler) -> None:
        """Run it once: the first run allocates, and shows whether it runs at all."""
        if (size := self._size()) is not None:
            other(np.zeros((size[1], size[0], 3), np.uint8))
            self._warm_up_yuv(other, *size)
            other.reset()

    def _warm_up_yuv(self, other: Upscaler, width: int, height: int) -> None:
        """The same with pictures of YUV, where that is what the stream is."""
        ends = self._upscaler.yuv_ends
        if ends is None or other.why_not_yuv():
            return
        with suppress(*REFUSALS):  # which then runs with RGB, and the stream says so
            other.open_yuv(ends)
            luma = np.zeros((height, width), np.uint8)
            chroma = np.full(((height + 1) // 2, (width + 1) // 2, 2), 128, np.uint8)
            colours = Colours(ends.matrix, ends.full_range)
            other.upscale_yuv(YuvPicture(luma, chroma, colours))

    def _hand_over(self, other: Upscaler) -> None:
        self._ready = other
        while not self._swapped.wait(LOOK_S):
            if self._closed.is_set():  # no thread swaps any more
                self._ready = None
                return


def _by_name(bundles: Iterable[Bundle]) -> dict[str, Bundle]:
    found: dict[str, Bundle] = {}
    for bundle in bundles:
        known = found.setdefault(bundle.path.name, bundle)
        if known.path.resolve() != bundle.path.resolve():
            raise ConfigError(
                f"'{known.path}' and '{bundle.path}' have the same name; rename a folder, so that "
                "the page can tell them apart"
            )
    return found


def why_not(bundle: Bundle, running: Bundle) -> str | None:
    """Why no variant of a bundle can take the running one's place; None where one may."""
    if bundle.kind != "stream":
        return "it runs in windows, over clips"
    if bundle.scale != running.scale:
        return f"it makes {bundle.scale} times the size, the stream has {running.scale} times"
    if bundle.delay or running.delay:
        late = bundle if bundle.delay else running
        return f"pictures of '{late.name}' come late, and would be lost"
    return None


def _offers(name: str, bundle: Bundle, upscaler: Upscaler) -> Iterator[Offer]:
    """The variants of a bundle that can take the running one's place."""
    running, backend = upscaler.session, upscaler.session.backend
    if why_not(bundle, upscaler.bundle) is not None:
        if bundle is upscaler.bundle and bundle.kind == "stream":
            yield Offer(name, running.variant.id)
        return
    try:
        variants = pick_variants(bundle, backend)
    except AdcVsrError:  # none for this backend
        variants = []
    if bundle is upscaler.bundle and running.variant.id not in variants:
        variants = [running.variant.id, *variants]
    for variant in variants:
        try:
            choose_backend(bundle, backend=backend, variant=variant)
        except AdcVsrError:  # its precision does not run on this device
            continue
        yield Offer(name, variant)
