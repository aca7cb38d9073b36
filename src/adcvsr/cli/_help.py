"""What help shows: commands by task, and an example of each."""

from __future__ import annotations

TASKS: dict[str, tuple[str, ...]] = {
    "Upscale": ("upscale", "job", "live", "demo"),
    "Look at what is here": ("models", "inspect", "doctor", "report", "targets"),
    "Measure": ("evaluate", "bench", "profile", "plan", "verify"),
    "Train and export": ("train", "blend", "import", "export", "adopt"),
    "Fit to a device": ("calibrate", "quantize", "search", "build", "deploy", "cache"),
}
"""Every command, under what it is for; those used most come first."""

EXAMPLES: dict[str, tuple[str, ...]] = {
    "adopt": ("adcvsr adopt realesr-animevideov3-x4.param -o my-bundle --licence BSD-3-Clause",),
    "bench": ("adcvsr bench nano --size 640x360 --variant fp32,int8",),
    "bench compare": ("adcvsr bench compare mine.json theirs.json",),
    "blend": ("adcvsr blend nano nano-restore --alpha 0.5 -o mild.safetensors",),
    "build": ("adcvsr build nano --backend tensorrt-rtx --target rtx-40 --size 640x360",),
    "cache list": ("adcvsr cache list",),
    "cache clear": ("adcvsr cache clear",),
    "calibrate": ("adcvsr calibrate my/videos -o my-set --model nano",),
    "demo": ("adcvsr demo",),
    "deploy": ("adcvsr deploy nano --size 640x360 --fps 30 --precision int8 --precision fp16",),
    "doctor": ("adcvsr doctor",),
    "evaluate": ("adcvsr evaluate photos/ clip.mp4 --model nano --model small",),
    "export": ("adcvsr export runs/nano/checkpoint.safetensors -o my-bundle",),
    "import adcsr": (
        "adcvsr import adcsr net_params_200.pkl halfDecoder.ckpt -o adcsr.safetensors",
    ),
    "import stable-diffusion": (
        "adcvsr import stable-diffusion stable-diffusion-2-1/ -o start.safetensors",
    ),
    "inspect": ("adcvsr inspect nano --size 640x360",),
    "job plan": ("adcvsr job plan film.mkv film_x4.mkv /mnt/film.job",),
    "job work": (
        "adcvsr job work /mnt/film.job",
        "adcvsr job work /mnt/film.job --index $SLURM_ARRAY_TASK_ID",
    ),
    "job status": ("adcvsr job status /mnt/film.job",),
    "job join": ("adcvsr job join /mnt/film.job",),
    "job verify": ("adcvsr job verify /mnt/film.job --sample 3",),
    "live": (
        "adcvsr live --source rtsp://camera/stream --sink http://127.0.0.1:8080",
        "adcvsr live --source v4l2:///dev/video0 --sink out.mkv --sink http://127.0.0.1:8080",
        "adcvsr live --config cameras.toml",
    ),
    "models": ("adcvsr models",),
    "plan": (
        "adcvsr plan nano --target orin-nano --source 320x180@30",
        "adcvsr plan --all",
    ),
    "profile": ("adcvsr profile nano --clips my/videos -o report.html",),
    "quantize": ("adcvsr quantize ./my-bundle --precision int8 --calibration my-set",),
    "report": ("adcvsr report", "adcvsr report --dry-run"),
    "search": ('adcvsr search ./my-bundle --budget "psnr>=42" --calibration my-set -o found',),
    "targets": ("adcvsr targets orin-nano",),
    "train pretrain": (
        "adcvsr train pretrain --config nano --clips my/videos --images my/photos -o runs/nano",
    ),
    "train distill": (
        "adcvsr train distill --config paper-distill --clips my/videos --start-from "
        "start.safetensors --teacher cache --weights cache/dove --dists none -o runs/distill",
    ),
    "train adversarial": (
        "adcvsr train adversarial --config nano-adversarial --clips my/videos --start-from "
        "runs/nano/checkpoint.safetensors --teacher truth --dists none -o runs/nano-adversarial",
    ),
    "train qat": (
        "adcvsr train qat --config qat --images my/photos --start-from "
        "runs/nano/checkpoint.safetensors --rounded-as ./my-bundle -o runs/qat",
    ),
    "train cache-teacher": (
        "adcvsr train cache-teacher --teacher student --weights small.safetensors "
        "--config nano --clips my/videos -o cache/small",
    ),
    "train show-data": (
        "adcvsr train show-data --config nano --clips my/videos --samples 4 -o data.png",
    ),
    "upscale": (
        "adcvsr upscale in.mp4",
        "adcvsr upscale in.mp4 out.mkv --model nano-camera --crf 16",
        "adcvsr upscale clips/ out/",
        "adcvsr upscale frame_%05d.png out_%05d.png",
        "adcvsr upscale film.mkv film_x4.mkv --resume",
    ),
    "verify": ("adcvsr verify nano",),
}
"""By a command's words: what to type; the first is its plainest use."""


def examples_text(command: str) -> str:
    """The examples of a command as the end of its help; empty where it has none."""
    lines = EXAMPLES.get(command, ())
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)]) if lines else ""
