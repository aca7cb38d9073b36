"""DOVE on a tiny random CogVideoX of the published classes, saved and loaded as its weights are."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner
from safetensors.torch import load_file, save_file
from torch import Tensor

from adcvsr.cli.commands import cli
from adcvsr.errors import CheckpointError, ConfigError, MissingPackageError
from adcvsr.pictures.clips import write_clip
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.train.teachers import TeacherSettings, open_teacher
from adcvsr.train.teachers.cached import CachedOutputs, CachedPairs
from adcvsr.train.teachers.dove import EMBEDDING_FILE, DoveTeacher, pad_clip

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The layout of DOVE's release: DOVE/{vae,transformer,scheduler}, prompt_embeddings/ beside."""
    import diffusers

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("pretrained_models") / "DOVE"
    diffusers.AutoencoderKLCogVideoX(
        block_out_channels=(4, 4, 4, 4),
        layers_per_block=1,
        norm_num_groups=2,
        latent_channels=4,
        sample_height=96,
        sample_width=80,
    ).save_pretrained(folder / "vae")
    diffusers.CogVideoXTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=16,
        in_channels=4,
        out_channels=4,
        time_embed_dim=8,
        text_embed_dim=8,
        num_layers=1,
        sample_width=16,
        sample_height=16,
        sample_frames=9,
        patch_size=2,
        patch_size_t=2,
        patch_bias=False,
        max_text_seq_length=6,
        use_rotary_positional_embeddings=True,
    ).save_pretrained(folder / "transformer")
    diffusers.CogVideoXDPMScheduler(
        prediction_type="v_prediction", rescale_betas_zero_snr=True, snr_shift_scale=1.0
    ).save_pretrained(folder / "scheduler")
    embedding = folder.parent / EMBEDDING_FILE
    embedding.parent.mkdir()
    save_file({"prompt_embedding": torch.randn(6, 8).bfloat16()}, embedding)
    return folder


@pytest.fixture(scope="module")
def settings(weights: Path) -> TeacherSettings:
    return TeacherSettings(kind="dove", weights=str(weights), dtype="float32")


@pytest.fixture(scope="module")
def teacher(settings: TeacherSettings) -> Iterator[DoveTeacher]:
    opened = DoveTeacher(settings)
    with opened:
        yield opened


@pytest.fixture(scope="module")
def low() -> Tensor:
    """Five frames of no multiple of sixteen: padded to nine frames, 32x16."""
    return torch.rand(2, 5, 3, 17, 12, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def taught(teacher: DoveTeacher, low: Tensor) -> Tensor:
    return teacher.teach(low)


class Seen:
    """What the parts of a teacher are given and give, while it teaches a clip."""

    def __init__(self, teacher: DoveTeacher, low: Tensor) -> None:
        network, self.inputs = teacher._transformer, {}
        vae = teacher._vae
        with pytest.MonkeyPatch.context() as patch:
            encode, decode = vae.encode, vae.decode
            patch.setattr(vae, "encode", lambda x: (setattr(self, "video", x), encode(x))[1])
            patch.setattr(vae, "decode", lambda z: (setattr(self, "decoded", z), decode(z))[1])
            before = network.register_forward_pre_hook(
                lambda _, __, kwargs: self.inputs.update(kwargs), with_kwargs=True
            )
            after = network.register_forward_hook(lambda _, __, out: setattr(self, "out", out[0]))
            self.result = teacher.teach(low)
            before.remove()
            after.remove()


def test_the_result_has_the_contract_s_shape(taught: Tensor) -> None:
    assert taught.shape == (2, 5, 3, 68, 48)
    assert taught.dtype == torch.float32
    assert taught.min() >= 0
    assert taught.max() <= 1
    assert taught.std() > 0.05
    assert not taught.requires_grad


def test_every_step_is_the_published_one(teacher: DoveTeacher, low: Tensor) -> None:
    """Bilinear x4 of the padded clip, first latent frame copied, t = 399, velocity, no noise."""
    seen: Any = Seen(teacher, low[:1])
    padded = torch.zeros(9, 3, 32, 16)
    padded[:, :, :17, :12] = low[0, [0, 1, 2, 3, 4, 4, 4, 4, 4]]
    expected = F.interpolate(padded, (128, 64), mode="bilinear", align_corners=False) * 2 - 1
    assert torch.allclose(seen.video[0].transpose(0, 1), expected, atol=1e-5)

    latent = seen.inputs["hidden_states"]
    assert latent.shape == (1, 4, 4, 16, 8)  # 9 frames are 3 latent ones, and one copied in front
    assert torch.equal(latent[:, 0], latent[:, 1])
    assert not torch.equal(latent[:, 1], latent[:, 2])
    assert seen.inputs["timestep"].tolist() == [399]

    prompt = load_file(teacher._embedding_path)["prompt_embedding"]
    assert torch.equal(seen.inputs["encoder_hidden_states"], prompt[None].float())

    cos, sin = seen.inputs["image_rotary_emb"]
    assert cos.shape == sin.shape == (2 * 8 * 4, 16)  # patches of two frames and 2x2 pixels
    # The last patch's rotation: frame 1, row 7, column 3, counted in patches from the corner.
    angles = torch.cat(
        [n * 1e4 ** -(torch.arange(0, d, 2) / d) for n, d in ((1, 4), (7, 6), (3, 6))]
    )
    assert torch.allclose(cos[-1], angles.repeat_interleave(2).cos(), atol=1e-4)

    # CogVideoX1.5's schedule: betas linear in their root, rescaled so that the last step is noise.
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    roots = (1 - betas).cumprod(0).sqrt()
    alpha = float(((roots[399] - roots[-1]) * roots[0] / (roots[0] - roots[-1])) ** 2)
    clean = math.sqrt(alpha) * latent - math.sqrt(1 - alpha) * seen.out
    scale = teacher._vae.config.scaling_factor
    assert torch.allclose(seen.decoded, clean[:, 1:].transpose(1, 2) / scale, atol=1e-4)


def test_a_clip_of_one_frame(teacher: DoveTeacher) -> None:
    assert teacher.teach(torch.rand(1, 1, 3, 16, 16)).shape == (1, 1, 3, 64, 64)


def test_padding() -> None:
    clip = torch.rand(10, 3, 16, 33)
    padded = pad_clip(clip)
    assert padded.shape == (17, 3, 16, 48)
    assert torch.equal(padded[:10, :, :, :33], clip)
    assert torch.equal(padded[10:, :, :, :33], clip[9:].expand(7, -1, -1, -1))
    assert not padded[..., 33:].any()
    assert pad_clip(clip[:9, :, :, :32]).shape == (9, 3, 16, 32)


def test_a_target_depends_on_seed_and_clip_alone(
    teacher: DoveTeacher, settings: TeacherSettings, low: Tensor, taught: Tensor
) -> None:
    """Not on the batch, the order, or how many were taught before."""
    assert torch.equal(teacher.teach(low.flip(0)), taught.flip(0))
    torch.manual_seed(123)
    assert torch.equal(teacher.teach(low[1:]), taught[1:])
    with open_teacher(dataclasses.replace(settings, seed=1)) as other:
        assert not torch.allclose(other.teach(low[:1]), taught[:1], atol=0.05)
        assert other.identity != teacher.identity


def test_offload_changes_nothing(settings: TeacherSettings, low: Tensor, taught: Tensor) -> None:
    with open_teacher(dataclasses.replace(settings, offload=True)) as teacher:
        assert torch.equal(teacher.teach(low[:1]), taught[:1])


def test_tiling_goes_through_tiles(settings: TeacherSettings) -> None:
    with DoveTeacher(dataclasses.replace(settings, tiling=True)) as teacher:
        tiles: list[tuple[int, ...]] = []
        assert isinstance(teacher, DoveTeacher)
        teacher._vae.encoder.register_forward_pre_hook(lambda _, x: tiles.append(x[0].shape[-2:]))
        out = teacher.teach(torch.rand(1, 1, 3, 16, 16))
    assert out.shape == (1, 1, 3, 64, 64)
    assert len(tiles) > 1
    assert max(max(tile) for tile in tiles) < 64


def test_bfloat16_is_the_default_and_near_float32(
    settings: TeacherSettings, teacher: DoveTeacher
) -> None:
    flat = torch.full((1, 1, 3, 16, 16), 0.5)
    with open_teacher(dataclasses.replace(settings, dtype="")) as half:
        assert "dtype=bfloat16" in half.identity
        out = half.teach(flat)
    # Two draws of the posterior's noise, in other precisions: the same picture but for that noise.
    assert (out - teacher.teach(flat)).abs().mean() < 0.1


# diffusers 0.42 still passes huggingface_hub an argument that the hub's library ignores.
@pytest.mark.filterwarnings("ignore:The `local_dir_use_symlinks` argument:UserWarning")
def test_command_line_and_hub_id(
    weights: Path, teacher: DoveTeacher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hub id with its commit loads from the hub's cache; the folder gives the same outputs."""
    (tmp_path / "clips").mkdir()
    write_clip(tmp_path / "clips" / "a.mp4", draw_clip(4, 64, 64))
    recipe = tmp_path / "r.toml"
    recipe.write_text(
        'network = "nano"\n[data]\nframes = 2\npatch_px = 8\nsegments_per_clip = 2\n'
        "[degradation]\nclean_share = 1.0\n"
    )
    hub = tmp_path / "hub"
    shutil.copytree(weights, hub / "models--owner--DOVE" / "snapshots" / COMMIT)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(hub))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    common = ["train", "cache-teacher", "--teacher", "dove", "--dtype", "float32"]
    common += ["--config", str(recipe), "--clips", str(tmp_path / "clips")]
    common += ["--prompt-embedding", str(weights.parent / EMBEDDING_FILE)]
    by_hub = ["--weights", "owner/DOVE", "--revision", COMMIT, "-o", str(tmp_path / "hubbed")]
    by_folder = ["--weights", str(weights), "-o", str(tmp_path / "local")]
    for more in (by_hub, by_folder):
        done = CliRunner().invoke(cli, [*common, *more], catch_exceptions=False)
        assert "2 samples" in done.stdout
    assert CachedPairs(tmp_path / "hubbed").teacher.startswith(f"dove:weights=owner/DOVE@{COMMIT},")
    pairs = [CachedPairs(tmp_path / name, teacher="dove") for name in ("hubbed", "local")]
    for index in range(2):
        one, two = (source.pair(0, index) for source in pairs)
        assert one.key == two.key
        assert torch.equal(one.teacher, two.teacher)
        live = teacher.teach(one.low[None].float() / 255)
        assert (live * 255 - one.teacher).abs().max() <= 0.5 + 1e-3
        with CachedOutputs(tmp_path / "local") as cached:
            assert torch.equal(cached.teach(one.low[None].float() / 255) * 255, two.teacher[None])


class TestBadWeights:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"weights": "owner/DOVE"}, "needs a pinned revision"),
            ({"weights": "owner/DOVE", "revision": "main"}, "got 'main'"),
            ({"weights": "no/such/folder"}, "neither a folder nor a hub id"),
            ({"revision": COMMIT}, "a revision belongs to a hub id"),
        ],
    )
    def test_sources(self, settings: TeacherSettings, change: dict[str, str], message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            open_teacher(dataclasses.replace(settings, **change))

    def test_no_embedding(self, settings: TeacherSettings, tmp_path: Path) -> None:
        path = str(tmp_path / "none.safetensors")
        with pytest.raises(
            CheckpointError, match=r"no prompt embedding at .* \(--prompt-embedding\)"
        ):
            open_teacher(dataclasses.replace(settings, prompt_embedding=path))

    def test_an_embedding_of_another_model(self, settings: TeacherSettings, tmp_path: Path) -> None:
        path = tmp_path / "e.safetensors"
        save_file({"prompt_embedding": torch.zeros(6, 4)}, path)
        wrong = dataclasses.replace(settings, prompt_embedding=str(path))
        with pytest.raises(CheckpointError, match=r"of \[6, 8\]"), open_teacher(wrong):
            pass

    @pytest.mark.parametrize("damage", ["cut off", "a tensor less", "no transformer"])
    def test_damaged(
        self, settings: TeacherSettings, weights: Path, tmp_path: Path, damage: str
    ) -> None:
        """diffusers would fill a missing tensor with random numbers: that must not teach."""
        folder = tmp_path / "DOVE"
        shutil.copytree(weights.parent, tmp_path, dirs_exist_ok=True)
        file = folder / "transformer" / "diffusion_pytorch_model.safetensors"
        message = "cannot load DOVE's transformer"
        if damage == "cut off":
            file.write_bytes(file.read_bytes()[:-100])
        elif damage == "a tensor less":
            tensors = load_file(file)
            del tensors["proj_out.weight"]
            save_file(tensors, file, metadata={"format": "pt"})
            message = "transformer lacks 1 tensors, the first is proj_out.weight"
        else:
            shutil.rmtree(folder / "transformer")
        with (
            pytest.raises(CheckpointError, match=message),
            open_teacher(dataclasses.replace(settings, weights=str(folder))),
        ):
            pass

    def test_image_to_video(self, settings: TeacherSettings, weights: Path, tmp_path: Path) -> None:
        shutil.copytree(weights.parent, tmp_path, dirs_exist_ok=True)
        vae = tmp_path / "DOVE" / "vae" / "config.json"
        import diffusers

        values = {k: v for k, v in json.loads(vae.read_text()).items() if not k.startswith("_")}
        values["latent_channels"] = 2
        diffusers.AutoencoderKLCogVideoX(**values).save_pretrained(vae.parent)
        wrong = dataclasses.replace(settings, weights=str(tmp_path / "DOVE"))
        with pytest.raises(CheckpointError, match="takes 4 channels, the VAE gives 2"):
            open_teacher(wrong).__enter__()

    def test_no_diffusers(self, settings: TeacherSettings, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(__import__("sys").modules, "diffusers", None)
        with pytest.raises(MissingPackageError, match=r"pip install 'adcvsr\[dove\]'"):
            open_teacher(settings)
