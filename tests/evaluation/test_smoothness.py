import cv2
import numpy as np
import pytest

from evaluation.smoothness import flicker, motion_ratio, warping_error


def moving(shift: int, num_frames: int = 6) -> np.ndarray:
    """A textured square that moves to the right by `shift` pixels a frame, on grey."""
    texture = cv2.GaussianBlur(np.random.default_rng(0).uniform(0, 255, (40, 40, 3)), (0, 0), 2)
    texture = cv2.normalize(texture, None, 0, 255, cv2.NORM_MINMAX)
    video = np.full((num_frames, 96, 96, 3), 128, np.uint8)
    for index, frame in enumerate(video):
        frame[28:68, 10 + index * shift : 50 + index * shift] = texture
    return video


def test_motion_ratio() -> None:
    truth = moving(2)
    assert motion_ratio(truth, truth) == 1
    assert motion_ratio(np.repeat(truth[:1], 6, axis=0), truth) == 0
    assert 0 < motion_ratio(moving(1), truth) < 1 < motion_ratio(moving(4), truth)
    assert np.isnan(motion_ratio(truth, np.repeat(truth[:1], 6, axis=0)))


def test_motion_ratio_does_not_wrap_around_in_bytes() -> None:
    down, up = (
        np.array(values, np.uint8).reshape(2, 1, 1, 1).repeat(8, 1).repeat(8, 2)
        for values in ([5, 3], [3, 5])
    )
    assert motion_ratio(down, up) == 1


def test_warping_error_is_small_along_the_true_motion_only() -> None:
    truth = moving(2)
    assert warping_error(truth, truth) == 0
    assert warping_error(np.repeat(truth[:1], 6, axis=0), truth) > 2
    flashing = truth.copy()
    flashing[::2] = np.clip(flashing[::2].astype(int) + 30, 0, 255)
    assert warping_error(flashing, truth) > 10


def test_flicker_sees_brightness_that_goes_to_and_fro() -> None:
    truth = moving(1)
    assert flicker(truth, truth) == 0
    flashing = truth.copy()
    flashing[::2] = np.clip(flashing[::2].astype(int) + 8, 0, 255)
    assert flicker(flashing, truth) == pytest.approx(8, rel=0.3)
    brightening = np.clip(truth + np.arange(6).reshape(6, 1, 1, 1) * 3, 0, 255).astype(np.uint8)
    assert flicker(brightening, truth) < 1
