import cv2
import numpy as np

from evaluation.clips import MeasuredClip
from evaluation.silhouette import estimate_background, iou, segment


def test_true_frames_are_segmented_as_their_masks(rendered_clips: list[MeasuredClip]) -> None:
    ious = []
    for clip in rendered_clips:
        assert clip.masks is not None
        ious.append(iou(segment(clip.frames, estimate_background(clip.photo)), clip.masks > 0))
    # White cloth before white walls, and heads that touch the picture's edge, cost some of it.
    assert np.mean(ious) > 0.94
    assert min(ious) > 0.90


def test_the_background_is_known_behind_the_person(rendered_clips: list[MeasuredClip]) -> None:
    for clip in rendered_clips:
        assert clip.masks is not None
        empty = cv2.dilate((clip.masks[0] > 0).astype(np.uint8), np.ones((25, 25), np.uint8)) == 0
        error = np.abs(estimate_background(clip.photo) - clip.photo).max(axis=2)[empty]
        assert np.percentile(error, 98) < 6


def test_white_cloth_on_a_nearly_white_wall_and_a_soft_outline() -> None:
    frame = np.full((256, 128, 3), 236, np.uint8)
    frame[60:200, 40:90] = (60, 40, 40)
    frame[100:160, 40:90] = 246
    truth = np.zeros((1, 256, 128), bool)
    truth[0, 60:200, 40:90] = True
    soft = cv2.GaussianBlur(frame, (0, 0), 1.5)
    background = estimate_background(np.full_like(frame, 236))
    assert iou(segment(frame[None], background), truth) > 0.98
    assert iou(segment(soft[None], background), truth) > 0.93


def test_an_empty_frame_holds_nobody() -> None:
    frame = np.full((1, 256, 128, 3), 230, np.uint8)
    noisy = frame + np.random.default_rng(0).integers(0, 4, frame.shape, dtype=np.uint8)
    assert not segment(noisy, estimate_background(frame[0])).any()


def test_iou() -> None:
    a, b = np.zeros((2, 4, 4), bool), np.zeros((2, 4, 4), bool)
    a[0, :2], b[0, 1:3] = True, True
    assert iou(a, b) == (1 / 3 + 1) / 2
