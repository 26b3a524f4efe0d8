"""Every measure puts the controls in the order in which one would put them by eye."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from data.frames import read_frames
from diffusion.latents import load_vae
from evaluation.bootstrap import estimate_mean
from evaluation.clips import MeasuredClip, list_clips
from evaluation.controls import (
    CONTROLS,
    choose_wrong,
    control_videos,
    match_shape,
    vae_reconstruction,
)
from evaluation.learned import LearnedMetrics
from evaluation.measure import MEASURES, measure_video
from models.autoencoder import TINY_VAE_CONFIG, SpaceToDepthAutoencoderKL
from models.pose_finder import PoseFinder
from utils.video import read_video, write_video

SHIPPED_VAE = Path(__file__).resolve().parents[2] / "pretrained_model/x2fashion-small/vae"

# Best first; neighbours that are joined by "=" may come out either way.
ORDER = {
    "silhouette_iou": "truth compressed photo_warped photo_copied wrong_clip",
    "garment_color_error": "truth compressed photo_warped=photo_copied wrong_clip",
    "garment_delta_e": "truth compressed photo_warped=photo_copied wrong_clip",
    "shoe_color_error": "truth compressed photo_copied=photo_warped=wrong_clip",
    "skin_color_error": "truth compressed photo_warped=photo_copied wrong_clip",
    "skin_delta_e": "truth compressed photo_warped=photo_copied wrong_clip",
    "silhouette_psnr": "truth compressed photo_warped photo_copied wrong_clip",
    "turned_iou": "truth compressed photo_warped=photo_copied=wrong_clip",
    "turned_psnr": "truth compressed photo_warped=photo_copied=wrong_clip",
    "turned_texture_energy": "truth compressed=photo_warped=photo_copied=wrong_clip",
    "back_psnr": "truth compressed photo_warped=photo_copied=wrong_clip",
    "pattern_correlation": "truth compressed photo_warped=photo_copied wrong_clip",
    "motion_ratio": "truth compressed photo_copied",
    "texture_energy": "truth compressed=photo_warped=photo_copied wrong_clip",
    "warping_error": "truth compressed photo_warped photo_copied wrong_clip",
    "flicker": "truth photo_warped wrong_clip",
    "ssim": "truth compressed photo_warped photo_copied wrong_clip",
    "psnr": "truth compressed photo_warped photo_copied wrong_clip",
    "l1": "truth compressed photo_warped photo_copied wrong_clip",
}
WITHOUT_WEIGHTS = {
    "joint_error", "pck", "joint_error_external", "pck_external", "lpips", "clip_score", "fid", "fvd",
    "motion_accuracy_with_poses", "motion_accuracy_text_only",
    "motion_conflict_follows_poses", "motion_conflict_follows_text",
}  # fmt: skip


def compressed(frames: np.ndarray, path: Path) -> np.ndarray:
    """A nearly perfect video: the truth as the file that inference.py would write."""
    write_video(path, frames, 12)
    return read_video(path)[0]


@pytest.fixture(scope="module")
def scores(
    rendered_clips: list[MeasuredClip], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, float]]:
    """Control -> measure -> its mean over clips."""
    path, finder = tmp_path_factory.mktemp("compressed") / "video.mp4", PoseFinder.from_pretrained()
    rows: dict[str, list] = {name: [] for name in (*CONTROLS, "compressed")}
    for index, clip in enumerate(rendered_clips):
        wrong = rendered_clips[(index + 1) % len(rendered_clips)]
        videos = control_videos(None, clip, wrong) | {"compressed": compressed(clip.frames, path)}
        assert videos.pop("vae_reconstruction") == "no VAE; give --vae DIR"
        for name, video in videos.items():
            assert isinstance(video, np.ndarray)
            rows[name].append(measure_video(clip, video, finder, LearnedMetrics()))
    del rows["vae_reconstruction"]
    return {
        row: {name: mean_of([values[name] for values in clips]) for name in ORDER}
        for row, clips in rows.items()
    }


def mean_of(values: list[float | str]) -> float:
    return estimate_mean([value for value in values if not isinstance(value, str)])["mean"]


def test_every_measure_is_in_the_order() -> None:
    assert set(MEASURES) == set(ORDER) | WITHOUT_WEIGHTS


@pytest.mark.parametrize("name", ORDER)
def test_a_measure_orders_the_controls(name: str, scores: dict[str, dict[str, float]]) -> None:
    cost = {"up": lambda x: -x, "down": lambda x: x, "one": lambda x: abs(x - 1)}[MEASURES[name].better]
    groups = [group.split("=") for group in ORDER[name].split()]
    for better, worse in itertools.pairwise(groups):
        for a in better:
            for b in worse:
                assert cost(scores[a][name]) < cost(scores[b][name]), (
                    a,
                    b,
                    {r: scores[r][name] for r in scores},
                )


def test_the_shipped_vae_is_a_ceiling(rendered_dir: Path) -> None:
    frames = read_frames(rendered_dir / "fashion_crop" / "test_00000")
    through = vae_reconstruction(load_vae(SHIPPED_VAE), frames).astype(float)
    copied = np.repeat(frames[:1], len(frames), axis=0).astype(float)
    assert np.abs(through - frames)[1:].mean() < np.abs(copied - frames)[1:].mean()


def test_a_reconstruction_has_the_frames_shape_whatever_the_vaes_grid() -> None:
    vae = SpaceToDepthAutoencoderKL(**TINY_VAE_CONFIG).eval()
    frames = np.random.default_rng(0).integers(0, 256, (2, 50, 27, 3), dtype=np.uint8)
    assert vae_reconstruction(vae, frames).shape == frames.shape


def test_the_wrong_clip_shows_another_video_and_another_motion(rendered_dir: Path) -> None:
    sources = list_clips(rendered_dir, "test", "x2fashion", 8)
    for index, source in enumerate(sources):
        wrong = choose_wrong(sources, index)
        assert wrong is not None and wrong.name != source.name and wrong.motions != source.motions
    assert choose_wrong(sources[:1], 0) is None


def test_a_wrong_clip_is_brought_to_the_clips_shape() -> None:
    video = np.random.default_rng(0).integers(0, 256, (4, 20, 10, 3), dtype=np.uint8)
    matched = match_shape(video, (6, 40, 20, 3))
    assert matched.shape == (6, 40, 20, 3)
    assert np.array_equal(matched[3], matched[5])
    assert np.array_equal(match_shape(video, (2, 20, 10, 3)), video[:2])
