"""DOVE as a teacher: CogVideoX1.5 fine-tuned to restore a video in one step (arXiv 2505.16239).

The steps and constants are those of the published inference script, built from diffusers' parts; no
tokenizer, no text encoder, no torchvision. docs/teachers.md says where to get the weights.

    settings = TeacherSettings(kind="dove", weights="pretrained_models/DOVE")
    with DoveTeacher(settings, "cuda") as teacher:
        out = teacher.teach(low)
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ...config import SCALE
from ...errors import CheckpointError, ConfigError, missing_package
from .teacher import Teacher, TeacherSettings, clip_key, hash_files

TIMESTEP = 399
"""Where on the noise schedule the one step starts; no noise is added (DOVE, section 3.2)."""

FRAME_GROUP = 8
"""Frames are padded to 8k + 1: the VAE works in groups of eight after the first."""

SIZE_MULTIPLE = 16
"""Low-resolution sides are padded to this: x4, VAE / 8 and patches of 2 ask for 4; DOVE uses 16."""

EMBEDDING_KEY = "prompt_embedding"
EMBEDDING_FILE = f"prompt_embeddings/{hashlib.sha256(b'').hexdigest()}.safetensors"
"""DOVE's repository names an embedding after its prompt's hash, beside the weights' folder."""

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_COMMIT = re.compile(r"[0-9a-f]{40}")


class DoveTeacher(Teacher):
    """One-step restoration by a video diffusion transformer, each clip a function of its content.

    Clips run one by one: the weights fill a GPU, and the noise of the VAE's sample is drawn from
    the seed and the clip alone, so neither batch nor order changes a target.

    Args:
        settings: Weights, precision and memory options.
        device: Where to run.

    Raises:
        ConfigError: A hub id without a pinned revision, or a folder with one.
        CheckpointError: Weights or prompt embedding are not there.
        MissingPackageError: No diffusers.
    """

    def __init__(self, settings: TeacherSettings, device: torch.device | str = "cpu") -> None:
        super().__init__(device)
        _diffusers()
        self.settings = settings
        self.dtype: torch.dtype = getattr(torch, settings.dtype or "bfloat16")
        self._source = _check_source(settings)
        self._embedding_path = _find_embedding(settings)
        self.identity = self._identify()
        self._vae: Any = None
        self._transformer: Any = None
        self._scheduler: Any = None
        self._prompt: Any = None

    def _identify(self) -> str:
        """Hash or revision of the weights, hash of the prompt, precision, seed and tiling."""
        folder = Path(self.settings.weights)
        if folder.is_dir():
            parts = ("scheduler", "transformer", "vae")
            files = [f for p in parts for f in sorted((folder / p).glob("*")) if f.is_file()]
            weights = hash_files(f for f in files if f.suffix in (".json", ".safetensors"))
        else:
            weights = f"{self.settings.weights}@{self.settings.revision}"
        dtype = str(self.dtype).removeprefix("torch.")
        return (
            f"dove:weights={weights},prompt={hash_files([self._embedding_path])},dtype={dtype},"
            f"seed={self.settings.seed},tiling={str(self.settings.tiling).lower()}"
        )

    def _load(self) -> None:
        diffusers = _diffusers()
        self._vae = self._read_network(diffusers.AutoencoderKLCogVideoX, "vae")
        self._transformer = self._read_network(diffusers.CogVideoXTransformer3DModel, "transformer")
        # It only turns the prediction into a clean latent; the spacing is that of DOVE's script.
        self._scheduler = self._read(
            diffusers.CogVideoXDPMScheduler, "scheduler", timestep_spacing="trailing"
        )
        self._check_fit()
        self._prompt = self._read_embedding().to(self.device, self.dtype)
        if self.settings.tiling:
            self._vae.enable_tiling()
        for network in (self._vae, self._transformer):
            self._place(network.requires_grad_(False))

    def _place(self, module: Any) -> None:
        """Bring a network to the device, or each of its layers as it runs."""
        if self.settings.offload:
            from accelerate import cpu_offload

            cpu_offload(module, execution_device=self.device)
        else:
            module.to(self.device)

    def _unload(self) -> None:
        self._vae = self._transformer = self._scheduler = self._prompt = None
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _read_network(self, kind: Any, part: str) -> Any:
        network, info = self._read(
            kind,
            part,
            torch_dtype=self.dtype,
            use_safetensors=True,  # a pickle could run code
            output_loading_info=True,
        )
        # diffusers fills what a file lacks with random numbers and goes on.
        if info["missing_keys"]:
            raise CheckpointError(
                f"'{self.settings.weights}': {part} lacks {len(info['missing_keys'])} tensors, the "
                f"first is {min(info['missing_keys'])}; download it again"
            )
        return network

    def _read(self, kind: Any, part: str, **options: Any) -> Any:
        try:
            return kind.from_pretrained(subfolder=part, **self._source, **options)
        # safetensors has an exception of its own, diffusers lets several kinds through.
        except Exception as error:
            reason = (str(error).strip() or repr(error)).splitlines()[0]
            raise CheckpointError(
                f"cannot load DOVE's {part} from '{self.settings.weights}': {reason}; expected a "
                "folder in diffusers' layout with scheduler/, transformer/ and vae/"
            ) from error

    def _check_fit(self) -> None:
        wanted, given = self._transformer.config.in_channels, self._vae.config.latent_channels
        if wanted != given:
            raise CheckpointError(
                f"'{self.settings.weights}': the transformer takes {wanted} channels, the VAE "
                f"gives {given}; expected a text-to-video CogVideoX as DOVE is, not image-to-video"
            )

    def _read_embedding(self) -> Tensor:
        """Read the empty prompt, (1, S, D)."""
        from safetensors.torch import load_file

        config = self._transformer.config
        expected = (config.max_text_seq_length, config.text_embed_dim)
        tensors = load_file(self._embedding_path)
        found = tensors.get(EMBEDDING_KEY)
        if found is None or tuple(found.shape) != expected:
            holds = {name: list(tensor.shape) for name, tensor in tensors.items()}
            raise CheckpointError(
                f"'{self._embedding_path}' holds {holds}, expected '{EMBEDDING_KEY}' of "
                f"{list(expected)} for these weights"
            )
        return found[None]

    def _teach(self, low: Tensor, high: Tensor | None) -> Tensor:
        return torch.stack([self._teach_clip(clip) for clip in low])

    def _teach_clip(self, clip: Tensor) -> Tensor:
        """Restore one clip, (T, 3, h, w) to (T, 3, 4h, 4w)."""
        frames, _, height, width = clip.shape
        # In levels, as in DOVE's script: another order of the same steps rounds to other bfloat16.
        levels = pad_clip(clip * 255)
        video = F.interpolate(levels, scale_factor=SCALE, mode="bilinear", align_corners=False)
        video = video.transpose(0, 1)[None] / 255 * 2 - 1  # (1, 3, T', H', W')
        latent = self._encode(video, self._generator(clip))
        clean = self._restore(latent)
        restored = self._vae.decode(1 / self._vae.config.scaling_factor * clean).sample
        restored = restored[0].transpose(0, 1).float() * 0.5 + 0.5
        out: Tensor = restored[:frames, :, : SCALE * height, : SCALE * width]
        return out

    def _generator(self, clip: Tensor) -> torch.Generator:
        """Random numbers of this clip; drawn on the CPU, so every device gets the same."""
        levels = clip.mul(255).round().byte().cpu().numpy()
        text = f"{self.settings.seed}:{clip_key(levels)}"
        digest = hashlib.sha256(text.encode()).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)

    def _encode(self, video: Tensor, generator: torch.Generator) -> Tensor:
        """Encode a video in [-1, 1] to a latent (1, C, T', H/8, W/8) at the network's scale."""
        posterior = self._vae.encode(video.to(self.dtype)).latent_dist
        latent: Tensor = posterior.sample(generator) * self._vae.config.scaling_factor
        return latent

    def _restore(self, latent: Tensor) -> Tensor:
        """Run the one step: latent of the input to latent of the output, (1, C, T', H', W')."""
        latent = latent.transpose(1, 2)  # (1, T', C, H', W'), as the transformer takes it
        copies = latent.shape[1] % (self._transformer.config.patch_size_t or 1)
        latent = torch.cat([latent[:, :1]] * copies + [latent], dim=1)
        timestep = torch.full((len(latent),), TIMESTEP, dtype=torch.long, device=self.device)
        (predicted,) = self._transformer(
            hidden_states=latent,
            # DOVE's script compares the embedding's 226 rows with the batch size and repeats it by
            # chance of broadcasting; one embedding a clip is what is meant.
            encoder_hidden_states=self._prompt.expand(len(latent), -1, -1),
            timestep=timestep,
            image_rotary_emb=self._rotary(latent),
            return_dict=False,
        )
        clean: Tensor = self._scheduler.get_velocity(predicted, latent, timestep)
        return clean[:, copies:].transpose(1, 2)

    def _rotary(self, latent: Tensor) -> tuple[Tensor, Tensor] | None:
        """Positions of the latent's patches, from the corner on; CogVideoX-2B has none."""
        from diffusers.models.embeddings import get_3d_rotary_pos_embed

        config = self._transformer.config
        if not config.use_rotary_positional_embeddings:
            return None
        frames, _, height, width = latent.shape[1:]
        grid = (height // config.patch_size, width // config.patch_size)
        cos, sin = get_3d_rotary_pos_embed(
            embed_dim=config.attention_head_dim,
            crops_coords=None,
            grid_size=grid,
            temporal_size=-(-frames // (config.patch_size_t or 1)),
            grid_type="slice",
            max_size=grid,
            device=self.device,
        )
        return cos, sin


def pad_clip(clip: Tensor) -> Tensor:
    """Pad as DOVE does: the last frame repeated to 8k + 1, sides to multiples of 16 with black.

    The black lies right and below and is cut off again after upscaling; bilinear interpolation
    mixes a little of it into the last two output pixels.

    Args:
        clip: (T, 3, h, w), black is 0.

    Returns:
        (T', 3, h', w').
    """
    repeats = -(len(clip) - 1) % FRAME_GROUP
    clip = torch.cat([clip, clip[-1:].expand(repeats, -1, -1, -1)])
    height, width = clip.shape[-2:]
    return F.pad(clip, (0, -width % SIZE_MULTIPLE, 0, -height % SIZE_MULTIPLE))


def _check_source(settings: TeacherSettings) -> dict[str, Any]:
    """Return what `from_pretrained` needs to find the weights.

    Raises:
        ConfigError: A hub id without a pinned revision, a folder with one, or neither.
    """
    weights, revision = settings.weights, settings.revision
    if Path(weights).is_dir():
        if revision:
            raise ConfigError(
                f"revision '{revision}' was given for the folder '{weights}', whose weights are "
                "named by their hash; a revision belongs to a hub id"
            )
        return {"pretrained_model_name_or_path": weights, "local_files_only": True}
    if not _HUB_ID.fullmatch(weights):
        raise ConfigError(f"'{weights}' is neither a folder nor a hub id such as 'owner/DOVE'")
    if not _COMMIT.fullmatch(revision):
        raise ConfigError(
            f"'{weights}' is no folder here, and as a hub id it needs a pinned revision: the "
            f"commit's 40 hexadecimal digits from its 'Files' page, got '{revision}'"
        )
    return {"pretrained_model_name_or_path": weights, "revision": revision}


def _find_embedding(settings: TeacherSettings) -> Path:
    """Find the empty prompt's embedding.

    Raises:
        CheckpointError: It is not where it was said, or not where DOVE's repository keeps it.
    """
    given = settings.prompt_embedding
    path = Path(given) if given else Path(settings.weights).parent / EMBEDDING_FILE
    if not path.is_file():
        raise CheckpointError(
            f"no prompt embedding at '{path}'; it is in DOVE's repository as "
            f"pretrained_models/{EMBEDDING_FILE}: give its path (--prompt-embedding)"
        )
    return path


def _diffusers() -> Any:
    try:
        import diffusers
    except ImportError as error:
        raise missing_package("diffusers", "dove", "the teacher 'dove'") from error
    return diffusers
