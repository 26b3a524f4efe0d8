from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.masks import read_mask
from evaluation.clips import list_clips, load_clip, read_estimated, read_generated
from tests.evaluation.conftest import write_long_video
from tests.toys import HEIGHT, SENTENCES, WIDTH
from utils.errors import UserError
from utils.files import write_json, write_text
from utils.image import write_png
from utils.video import write_video


def test_our_protocol_begins_with_the_photo(rendered_dir: Path) -> None:
    source = list_clips(rendered_dir, "test", "x2fashion", 5)[0]
    assert (source.indices, source.photo_index, source.motions) == (tuple(range(5)), 0, ())
    clip = load_clip(rendered_dir, source)
    assert clip.photo_is_first and clip.scored.tolist() == [1, 2, 3, 4]
    assert np.array_equal(clip.photo, clip.frames[0])


def test_labels_go_with_whole_videos_alone(rendered_dir: Path) -> None:
    sources = list_clips(rendered_dir, "test", "x2fashion", 24)
    assert [s.motions for s in sources][:2] == [("turn_around",), ("raise_left_arm",)]
    assert len(list_clips(rendered_dir, "test", "x2fashion", 24, max_clips=2)) == 2


def test_humanvid24_takes_the_middle_frame_and_24_frames_at_stride_3(tmp_path: Path) -> None:
    write_long_video(tmp_path, 80, f"0 80 {SENTENCES[0]}\n")
    (source,) = list_clips(tmp_path, "test", "humanvid24", 24)
    assert source.indices == tuple(range(0, 70, 3)) and len(source.indices) == 24
    assert source.photo_index == 40
    clip = load_clip(tmp_path, source)
    assert not clip.photo_is_first and len(clip.scored) == 24
    assert clip.photo_joints is not None and clip.joints is not None
    assert clip.photo_joints[0, 0] > clip.joints[12, 0, 0]
    with pytest.raises(UserError, match="70 frames"):
        write_text(tmp_path / "test" / "dora.txt", f"0 60 {SENTENCES[0]}\n")
        list_clips(tmp_path, "test", "humanvid24", 24)


def test_several_segments_of_a_video_have_names_of_their_own(tmp_path: Path) -> None:
    write_long_video(tmp_path, 12, f"0 6 {SENTENCES[0]}\n6 12 {SENTENCES[1]}\n")
    first, second = list_clips(tmp_path, "test", "x2fashion", 24)
    assert (first.name, second.name) == ("dora_000", "dora_006")
    clip = load_clip(tmp_path, second)
    assert clip.joints is not None and clip.joints[0, 0, 0] > load_clip(tmp_path, first).joints[0, 0, 0]


def test_a_clip_without_masks_or_labels_has_none(tiny_dataset_dir: Path) -> None:
    source = list_clips(tiny_dataset_dir, "test", "x2fashion", 24)[0]
    clip = load_clip(tiny_dataset_dir, source)
    assert clip.masks is None and clip.garments == () and source.motions == ()
    assert clip.joints is not None


def test_pictures_masks_and_joints_are_fitted_alike(rendered_dir: Path) -> None:
    source = list_clips(rendered_dir, "test", "x2fashion", 3)[0]
    own, fitted = load_clip(rendered_dir, source), load_clip(rendered_dir, source, (128, 128))
    assert fitted.frames.shape == (3, 128, 128, 3) and fitted.poses.shape == (3, 128, 128, 3)
    assert own.masks is not None and fitted.masks is not None and own.joints is not None
    assert (fitted.masks > 0).sum() == pytest.approx((own.masks > 0).sum() / 4, rel=0.03)
    inside = np.argwhere(fitted.masks[0] > 0)
    assert inside[:, 1].min() > 32 and inside[:, 1].max() < 96
    assert fitted.joints is not None
    np.testing.assert_allclose(fitted.joints[..., 0], (own.joints[..., 0] + 0.5) / 2 - 0.5 + 32, atol=1e-3)


def test_a_mask_of_another_size_or_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "000.png"
    Image.fromarray(np.zeros((8, 6), np.uint8)).save(path)
    assert read_mask(path, (8, 6)).shape == (8, 6)
    with pytest.raises(UserError, match="6 x 8 pixels, its frame 4 x 8"):
        read_mask(path, (8, 4))
    write_png(path, np.zeros((8, 6, 3), np.uint8))
    with pytest.raises(UserError, match="palette PNG"):
        read_mask(path, (8, 6))
    path.write_bytes(b"nonsense")
    with pytest.raises(UserError, match=r"000\.png"):
        read_mask(path, (8, 6))


def test_given_videos_are_read_from_files_and_folders(tiny_dataset_dir: Path, tmp_path: Path) -> None:
    clip = load_clip(tiny_dataset_dir, list_clips(tiny_dataset_dir, "test", "x2fashion", 24)[0])
    videos = tmp_path / "videos"
    with pytest.raises(UserError, match="holds no video for clip anna"):
        read_generated(videos, clip)
    write_video(videos / "anna.mp4", np.full((8, HEIGHT * 2, WIDTH * 2, 3), 90, np.uint8), 12)
    video = read_generated(videos, clip)
    assert video.shape == clip.frames.shape and abs(int(video.mean()) - 90) <= 2
    for index, frame in enumerate(clip.frames):
        write_png(videos / "anna" / f"{index:03d}.png", frame)
    assert np.array_equal(read_generated(videos, clip), clip.frames)


def test_given_videos_that_do_not_fit_are_refused(tiny_dataset_dir: Path, tmp_path: Path) -> None:
    clip = load_clip(tiny_dataset_dir, list_clips(tiny_dataset_dir, "test", "x2fashion", 24)[0])
    write_video(tmp_path / "anna.mp4", np.zeros((4, HEIGHT, WIDTH, 3), np.uint8), 12)
    with pytest.raises(UserError, match="4 frames, the clip has 6"):
        read_generated(tmp_path, clip)
    write_video(tmp_path / "anna.mp4", np.zeros((6, HEIGHT, HEIGHT, 3), np.uint8), 12)
    with pytest.raises(UserError, match="same shape"):
        read_generated(tmp_path, clip)


def test_joints_of_another_estimator_are_scaled_to_the_clip(tiny_dataset_dir: Path, tmp_path: Path) -> None:
    clip = load_clip(tiny_dataset_dir, list_clips(tiny_dataset_dir, "test", "x2fashion", 24)[0])
    assert clip.joints is not None
    double = clip.joints.copy()
    double[..., :2] = (double[..., :2] + 0.5) * 2 - 0.5
    write_json(
        tmp_path / "anna.json", {"height": 2 * HEIGHT, "width": 2 * WIDTH, "keypoints": double.tolist()}
    )
    np.testing.assert_allclose(read_estimated(tmp_path, clip), clip.joints, atol=1e-4)
    for index, pose in enumerate(clip.poses):
        write_png(tmp_path / "anna" / f"{index:04d}.png", pose)  # the JSON's joints, in the pictures' pixels
        write_png(tmp_path / "read" / "anna" / f"{index:04d}.png", pose)
    np.testing.assert_allclose(read_estimated(tmp_path, clip), clip.joints, atol=1e-4)
    assert np.abs(read_estimated(tmp_path / "read", clip)[..., :2] - clip.joints[..., :2]).max() < 2


@pytest.mark.parametrize(("fps", "frames"), [(24, 12), (12, 8), (24, 6), (6, 3)])
def test_videos_of_another_rate_are_compared_by_time(
    tiny_dataset_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], fps: float, frames: int
) -> None:
    clip = load_clip(tiny_dataset_dir, list_clips(tiny_dataset_dir, "test", "x2fashion", 6)[0])
    greys = np.linspace(0, 250, 12).astype(np.uint8)[:frames]
    video = np.broadcast_to(greys[:, None, None, None], (frames, HEIGHT, WIDTH, 3))
    write_video(tmp_path / f"{clip.name}.mp4", list(video.copy()), fps)
    read = read_generated(tmp_path, clip)[:, HEIGHT // 2, WIDTH // 2, 0].astype(int)
    wanted = {12: greys[:6], 6: greys[[0, 0, 1, 2, 2, 2]], 24: greys[::2] if frames == 12 else greys}[fps]
    assert np.abs(read - wanted).max() <= 6
    told = capsys.readouterr()
    assert ("compared by time" in told.out + told.err) == (fps != 12 and frames != 6)
