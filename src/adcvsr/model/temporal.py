"""1D temporal convolutions and the state they carry from frame to frame.

The temporal part of AdcVSR (arXiv 2603.00458, section 3.1): residual blocks of 1D convolutions over
time, inserted after UNet blocks. A convolution over k frames is written as a sum of k 1x1 2D
convolutions, one a frame ("taps"): a stream then needs no Conv3d and no concatenation, both of
which cost more than they compute on CPU and in INT8 (docs/decisions.md).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class StateFlow:
    """The carried state's way through one forward pass: what came in, what goes out.

    Args:
        frames: T, the frames of the clip in this pass.
        past: State tensors by name as returned by the previous pass; None for "no past".
    """

    def __init__(self, frames: int, past: Mapping[str, Tensor] | None = None) -> None:
        self.frames = frames
        self.past = past
        self.next: dict[str, Tensor] = {}


class TemporalConv(nn.Module):
    """A convolution over time with kernel k, full in channels, one tap a frame.

    Args:
        channels: C of input and output.
        kernel: k, frames seen. Causal: the frame and the k-1 before it; else k//2 on each side.
        causal: Whether the convolution may see only the past.
        site: Module path in the UNet; names the state tensor.
        divisor: Input height over this convolution's height.
        side: Side of the taps of frames before, odd; the present frame's is always 1x1. Other than
            1 for causal convolutions only.
        recurrent: The frame before is not its input but what `accumulate` made of it. Kernel 2.
    """

    def __init__(
        self,
        channels: int,
        *,
        kernel: int,
        causal: bool,
        site: str,
        divisor: int,
        side: int = 1,
        recurrent: bool = False,
    ) -> None:
        super().__init__()
        self.recurrent = recurrent
        self.channels = channels
        self.kernel = kernel
        self.causal = causal
        self.divisor = divisor
        self.state_name = "state_" + site.replace(".", "_")
        # Oldest frame first; one bias for the sum.
        sides = [side] * (kernel - 1) + [1]
        self.taps = nn.ModuleList(
            nn.Conv2d(channels, channels, of, padding=of // 2, bias=tap == kernel - 1)
            for tap, of in enumerate(sides)
        )
        self.reset_parameters()

    @property
    def state_channels(self) -> int:
        """Channels of the carried state: the k-1 previous inputs, oldest first, or one result."""
        return (self.kernel - 1) * self.channels

    def reset_parameters(self) -> None:
        """Draw random weights with the variance of one convolution over all taps."""
        for tap in self.taps:
            assert isinstance(tap, nn.Conv2d)
            tap.reset_parameters()
            tap.weight.data /= self.kernel**0.5

    def zero_init(self) -> None:
        """Make the output zero, so that a residual block around it starts as identity."""
        for parameter in self.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, flow: StateFlow) -> Tensor:
        """Convolve over time.

        Args:
            x: (N*T, C, H, W).
            flow: Carries T and, when causal, this convolution's state (N, (k-1)*C, H, W).

        Returns:
            (N*T, C, H, W).
        """
        if flow.frames == 1 and self.causal:
            return self._stream(x, flow)
        _, c, h, w = x.shape
        frames = x.view(-1, flow.frames, c, h, w)  # (N, T, C, H, W)
        if self.causal:
            past = self._past(frames[:, 0], flow).view(-1, self.kernel - 1, c, h, w)
            padded = torch.cat([past, frames], 1)  # (N, T+k-1, C, H, W)
            flow.next[self.state_name] = padded[:, flow.frames :].flatten(1, 2)
        else:
            reach = self.kernel // 2
            padded = F.pad(frames, (0, 0, 0, 0, 0, 0, reach, reach))
        taken = [
            tap(padded[:, offset : offset + flow.frames].reshape(-1, c, h, w))
            for offset, tap in enumerate(self.taps)
        ]
        out: Tensor = sum(taken[1:], taken[0])
        return out

    def accumulate(self, x: Tensor, flow: StateFlow) -> Tensor:
        """Add what the present frame and the result of the frame before say, frame by frame.

        The result is the state: `y[t] = x[t] + conv(y[t-1], x[t])`.

        Args:
            x: (N*T, C, H, W).
            flow: Carries T and the state (N, C, H, W).

        Returns:
            (N*T, C, H, W).
        """
        before, now = self.taps
        own: Tensor = x + now(x)
        last = self._past(x[:: flow.frames], flow)
        if flow.frames == 1:  # the form that is exported
            result: Tensor = own + before(last)
            flow.next[self.state_name] = result
            return result
        results: list[Tensor] = []
        for frame in own.view(-1, flow.frames, *own.shape[1:]).unbind(1):
            last = frame + before(last)
            results.append(last)
        flow.next[self.state_name] = last
        return torch.stack(results, 1).flatten(0, 1)

    def _stream(self, x: Tensor, flow: StateFlow) -> Tensor:
        """One frame with carried state; the form that is exported."""
        past = self._past(x, flow).chunk(self.kernel - 1, 1) if self.kernel > 2 else None
        frames = [*(past or [self._past(x, flow)]), x]
        flow.next[self.state_name] = torch.cat(frames[1:], 1) if self.kernel > 2 else x
        out: Tensor = self.taps[0](frames[0])
        for frame, tap in zip(frames[1:], list(self.taps)[1:], strict=True):
            out = out + tap(frame)
        return out

    def _past(self, like: Tensor, flow: StateFlow) -> Tensor:
        if flow.past is not None:
            return flow.past[self.state_name]
        n, _, h, w = like.shape
        return like.new_zeros(n, self.state_channels, h, w)


class TemporalBlock(nn.Module):
    """`x + conv(x)` or `x + conv2(relu(conv1(x)))` over time, identity at the start.

    Only the last convolution starts at zero (a "zero convolution", arXiv 2302.05543): with both at
    zero no gradient reaches the first.

    Args:
        channels: C of input and output.
        kernel: Frames each convolution sees.
        convs: 1 or 2 convolutions.
        causal: Whether the block may see only the past.
        site: Module path in the UNet of the block this one follows.
        divisor: Input height over this block's height.
        side: Pixels each convolution sees of the frames before, see `TemporalConv`.
        recurrent: Whether the state is the block's own output; with one convolution.
    """

    def __init__(
        self,
        channels: int,
        *,
        kernel: int,
        convs: int,
        causal: bool,
        site: str,
        divisor: int,
        side: int = 1,
        recurrent: bool = False,
    ) -> None:
        super().__init__()

        def conv(name: str) -> TemporalConv:
            return TemporalConv(
                channels,
                kernel=kernel,
                causal=causal,
                site=f"{site}.{name}",
                divisor=divisor,
                side=side,
                recurrent=recurrent,
            )

        self.conv1 = conv("conv1")
        self.conv2 = conv("conv2") if convs == 2 else None
        self.start_as_identity()

    def start_as_identity(self) -> None:
        """Random first convolution, zero last one: the block passes its input on, and learns."""
        self.conv1.reset_parameters()
        (self.conv2 or self.conv1).zero_init()

    def forward(self, x: Tensor, flow: StateFlow) -> Tensor:
        """Mix frames: (N*T, C, H, W) -> (N*T, C, H, W)."""
        if self.conv1.recurrent:
            return self.conv1.accumulate(x, flow)
        y: Tensor = self.conv1(x, flow)
        if self.conv2 is not None:
            y = self.conv2(F.relu(y), flow)
        return x + y
