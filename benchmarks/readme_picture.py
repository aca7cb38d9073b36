r"""Make the README's picture: a part of one frame, left enlarged by bicubic, right by a network.

    python benchmarks/readme_picture.py nasa_13013.mp4 --at 6 --crop 120x76+90+36 \
      -o docs/images/side-by-side.jpg

The clip is test/resources/nasa_13013.mp4 of pytorch/torchcodec (NASA, public domain): 320x180,
as it is, nothing degraded. The network sees the second before the frame, as it would in a file.
"""

from __future__ import annotations

import argparse
from collections import deque
from pathlib import Path

import av
import numpy as np

import adcvsr
from adcvsr.metrics import resize_bicubic


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--at", type=float, required=True, help="seconds into the clip")
    parser.add_argument("--crop", required=True, metavar="WxH+X+Y", help="of the input, in pixels")
    parser.add_argument("--model", default="small")
    parser.add_argument("-o", "--output", type=Path, required=True, help="a .png or .jpg")
    given = parser.parse_args()
    size, left, top = given.crop.split("+")
    width, height = map(int, size.split("x"))
    part = np.s_[int(top) : int(top) + height, int(left) : int(left) + width]

    frames: deque[np.ndarray] = deque(maxlen=25)
    with av.open(str(given.clip)) as container:
        for frame in container.decode(video=0):
            frames.append(frame.to_ndarray(format="rgb24"))
            if frame.time is not None and frame.time >= given.at:
                break
    with adcvsr.Upscaler(given.model) as upscaler:
        for image in frames:
            big = upscaler(image)
    scale = big.shape[0] // frames[-1].shape[0]
    shown = np.s_[
        part[0].start * scale : part[0].stop * scale, part[1].start * scale : part[1].stop * scale
    ]
    bicubic = resize_bicubic(frames[-1], *big.shape[:2])[shown]
    line = np.full((bicubic.shape[0], 4, 3), 255, np.uint8)
    both = np.hstack([bicubic, line, big[shown]])

    given.output.parent.mkdir(parents=True, exist_ok=True)
    picture = av.VideoFrame.from_ndarray(both, format="rgb24")
    codec, pixels = ("png", "rgb24") if given.output.suffix == ".png" else ("mjpeg", "yuvj444p")
    with av.open(str(given.output), "w", format="image2", options={"update": "1"}) as container:
        stream = container.add_stream(codec, rate=1)
        stream.height, stream.width, stream.pix_fmt = *both.shape[:2], pixels
        stream.codec_context.options = {"qscale": "3"}
        container.mux(stream.encode(picture.reformat(format=pixels)))
        container.mux(stream.encode())
    print(f"{given.output}: {both.shape[1]}x{both.shape[0]}, {given.output.stat().st_size} bytes")


if __name__ == "__main__":
    main()
