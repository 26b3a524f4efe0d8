"""Long videos in windows: what is cut where, and that the seams hold."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from data.pose_cache import PackedPictures
from diffusion.inputs import View
from diffusion.latents import frame_noise
from diffusion.pipeline import X2FashionPipeline
from diffusion.sampling import Sampling
from generation.streaming import stream_frames
from generation.windows import WindowStore, crossfade, plan_windows
from tests.toys import SENTENCES, figure_clip
from utils.errors import UserError
from utils.pose_drawing import MIRRORED

FRAMES, POSES, JOINTS = figure_clip(30)
SAMPLING = Sampling(num_inference_steps=2)


@pytest.mark.parametrize("num_frames", [1, 8, 9, 14, 15, 30, 101])
@pytest.mark.parametrize("overlap", [0, 2, 6])
def test_windows_cover_every_frame_once(num_frames: int, overlap: int) -> None:
    windows = plan_windows(num_frames, 8, overlap)
    kept = [frame for window in windows for frame in range(window.start, window.keep)]
    assert kept == list(range(num_frames))
    assert all(len(window.frames) == min(8, num_frames) for window in windows)
    for earlier, later in itertools.pairwise(windows):
        assert later.frames[0] == 0 and later.start == earlier.keep
        assert earlier.stop - later.start >= overlap


@pytest.mark.parametrize("overlap", [-1, 7, 8])
def test_windows_that_do_not_advance_are_refused(overlap: int) -> None:
    with pytest.raises(UserError, match="give --window_overlap at most 6"):
        plan_windows(30, 8, overlap)
    with pytest.raises(UserError, match="--window_frames 2 or more"):
        plan_windows(30, 1, overlap)


def test_a_crossfade_goes_from_one_to_the_other() -> None:
    earlier, later = torch.zeros(1, 2, 3, 4, 4), torch.ones(1, 2, 3, 4, 4)
    torch.testing.assert_close(crossfade(earlier, later)[0, 0, :, 0, 0], torch.tensor([0.25, 0.5, 0.75]))


def test_noise_is_a_function_of_seed_and_frame() -> None:
    whole = frame_noise(3, range(10), (8, 16, 8), share=0.5)
    assert torch.equal(frame_noise(3, [0, 7, 8], (8, 16, 8), share=0.5), whole[:, [0, 7, 8]])
    assert not torch.equal(frame_noise(4, range(10), (8, 16, 8), share=0.5), whole)
    assert abs(whole.std().item() - 1) < 0.05
    assert abs((whole[:, 2] * whole[:, 9]).mean().item() - 0.5) < 0.1
    assert abs((frame_noise(3, [2, 9], (8, 16, 8))).prod(dim=1).mean().item()) < 0.1


def stream(pipeline, poses=POSES, **settings) -> np.ndarray:
    given = {"seed": 5, "joints": JOINTS, "window_frames": 12, "overlap": 4}
    frames = stream_frames(pipeline, FRAMES[0], poses, SENTENCES[0], SAMPLING, **given | settings)
    return np.concatenate(list(frames))


def test_a_video_of_one_window_is_that_of_a_call(make_tiny_pipeline) -> None:
    pipeline = make_tiny_pipeline()
    noise = pipeline.frame_noise(5, range(12), *FRAMES.shape[1:3])
    called = pipeline(
        FRAMES[0], POSES[:12], SENTENCES[0], joints=JOINTS[:12], num_inference_steps=2, latents=noise
    ).frames[0]
    streamed = stream(pipeline, num_frames=12)
    np.testing.assert_array_equal(streamed, (called * 255).round().astype(np.uint8))


def test_the_length_of_a_video_does_not_change_its_beginning(make_tiny_pipeline) -> None:
    pipeline = make_tiny_pipeline()
    whole, shorter = stream(pipeline), stream(pipeline, num_frames=22)
    assert whole.shape == FRAMES.shape
    np.testing.assert_array_equal(whole[:8], shorter[:8])
    assert not np.array_equal(whole, stream(pipeline, seed=6))
    assert not np.array_equal(whole, stream(pipeline, overlap=2))
    assert not np.array_equal(whole, stream(pipeline, window_frames=16))


def test_compressed_poses_give_the_same_video(make_tiny_pipeline) -> None:
    pipeline = make_tiny_pipeline()
    packed = PackedPictures(iter(POSES))
    assert len(packed) == len(POSES)
    np.testing.assert_array_equal(packed[:], POSES)
    np.testing.assert_array_equal(stream(pipeline, packed), stream(pipeline))


def test_a_stopped_video_goes_on_where_it_was(make_tiny_pipeline, tmp_path: Path) -> None:
    pipeline = make_tiny_pipeline()
    calls: list[int] = []
    pipeline.denoiser.register_forward_pre_hook(lambda module, inputs: calls.append(1))
    whole = stream(pipeline)
    steps, windows = len(calls), len(plan_windows(30, 12, 4))
    assert steps == 2 * windows
    first = stream_frames(
        pipeline,
        FRAMES[0], POSES, SENTENCES[0], SAMPLING, seed=5, joints=JOINTS, window_frames=12, overlap=4,
        store=WindowStore(tmp_path / "parts", {"seed": 5}),
    )  # fmt: skip
    next(first)
    first.close()
    calls.clear()
    resumed = stream(pipeline, store=WindowStore(tmp_path / "parts", {"seed": 5}))
    np.testing.assert_array_equal(resumed, whole)
    assert len(calls) == steps - 2
    calls.clear()
    (tmp_path / "parts" / "window_00001.safetensors").write_bytes(b"half")
    np.testing.assert_array_equal(stream(pipeline, store=WindowStore(tmp_path / "parts", {"seed": 5})), whole)
    assert len(calls) == 2
    store = WindowStore(tmp_path / "parts", {"seed": 6})
    assert store.load(0) is None
    store.remove()
    assert not (tmp_path / "parts").exists()


def test_more_frames_than_poses_are_refused(make_tiny_pipeline) -> None:
    with pytest.raises(UserError, match="need as many poses"):
        stream(make_tiny_pipeline(), num_frames=31)


def turned_joints() -> np.ndarray:
    """The figure's, which shows her back from frame 5 on: left and right change places."""
    joints = JOINTS.copy()
    joints[5:] = joints[5:, MIRRORED]
    return joints


@pytest.fixture
def views(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """The further photos of each window that is made."""
    given: list[tuple] = []
    warp_photo = X2FashionPipeline.warp_photo

    def spy(self, inputs):
        given.append(inputs.views)
        return warp_photo(self, inputs)

    monkeypatch.setattr(X2FashionPipeline, "warp_photo", spy)
    return given


def test_her_back_stays_what_it_was_made(make_tiny_pipeline, views: list[tuple], tmp_path: Path) -> None:
    pipeline, joints = make_tiny_pipeline(), turned_joints()
    whole = stream(pipeline, joints=joints)
    assert views[0] == ()
    (back,), later = views[1][0], views[2:]
    number = next(i for i, pose in enumerate(joints) if np.array_equal(pose, back.joints))
    assert 5 <= number < 12
    np.testing.assert_allclose((back.photo.permute(1, 2, 0) + 1) * 127.5, whole[number], atol=1)
    assert later and all(own == ((back,),) for own in later)

    store = WindowStore(tmp_path / "parts", {"seed": 5})
    given = {"seed": 5, "joints": joints, "window_frames": 12, "overlap": 4, "store": store}
    stopped = stream_frames(pipeline, FRAMES[0], POSES, SENTENCES[0], SAMPLING, **given)
    next(stopped)
    stopped.close()
    np.testing.assert_array_equal(stream(pipeline, joints=joints, store=store), whole)


def test_a_photo_of_her_back_is_not_made_again(make_tiny_pipeline, views: list[tuple]) -> None:
    joints = turned_joints()
    own = View(torch.zeros(3, *FRAMES.shape[1:3]), joints[5])
    given = {"seed": 5, "joints": joints, "window_frames": 12, "overlap": 4}
    list(stream_frames(make_tiny_pipeline(), [[FRAMES[0], own]], POSES, SENTENCES[0], SAMPLING, **given))
    assert len(views) > 2 and all(len(given[0]) == 1 for given in views)
