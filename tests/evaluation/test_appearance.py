import numpy as np
import pytest

from evaluation.appearance import color_errors, part_colors, texture, to_lab

SHIRT, SHOES = 5, 8


@pytest.fixture
def masks() -> np.ndarray:
    masks = np.zeros((2, 128, 64), np.uint8)
    masks[:, 20:60, 10:50] = SHIRT
    masks[:, 100:101, 10:12] = SHOES
    return masks


@pytest.fixture
def striped(masks: np.ndarray) -> np.ndarray:
    frames = np.full((*masks.shape, 3), 230, np.uint8)
    rows = (np.arange(128) // 4 % 2)[:, None, None]
    frames[:] = np.where((masks == SHIRT)[..., None], np.where(rows, (200, 40, 40), (240, 240, 240)), frames)
    return frames


def test_color_error_is_the_difference_of_the_means(striped: np.ndarray, masks: np.ndarray) -> None:
    video = striped.copy()
    video[masks == SHIRT] -= np.array([6, 12, 0], np.uint8)
    video[masks != SHIRT] = 0
    steps, delta_e = color_errors(video, striped, masks, [SHIRT])
    assert steps == pytest.approx(6)
    assert delta_e > 1
    assert color_errors(striped, striped, masks, [SHIRT]) == (0, 0)


def test_a_pattern_moved_by_a_stripe_keeps_its_colors_but_not_its_pattern(
    striped: np.ndarray, masks: np.ndarray
) -> None:
    moved = np.roll(striped, 4, axis=1)
    moved[masks != SHIRT] = striped[masks != SHIRT]
    moved[:, 20:24] = striped[:, 24:28]
    assert color_errors(moved, striped, masks, [SHIRT])[0] < 12
    assert texture(striped, striped, masks, [SHIRT]) == (pytest.approx(1), pytest.approx(1))
    assert texture(moved, striped, masks, [SHIRT])[0] < -0.7


def test_weaker_stripes_have_less_energy_and_the_same_pattern(striped: np.ndarray, masks: np.ndarray) -> None:
    mean = striped[masks == SHIRT].mean(axis=0)
    weak = striped.copy()
    weak[masks == SHIRT] = (mean + 0.5 * (striped[masks == SHIRT] - mean)).round().astype(np.uint8)
    correlation, energy = texture(weak, striped, masks, [SHIRT])
    assert correlation > 0.99
    assert energy == pytest.approx(0.5, abs=0.02)


def test_plain_cloth_has_no_pattern_and_a_smooth_video_no_energy(
    striped: np.ndarray, masks: np.ndarray
) -> None:
    plain = np.full_like(striped, 90)
    assert np.isnan(texture(striped, plain, masks, [SHIRT])[0])
    assert texture(plain, striped, masks, [SHIRT]) == pytest.approx((0, 0), abs=1e-5)


def test_parts_that_are_hardly_seen_are_left_out(striped: np.ndarray, masks: np.ndarray) -> None:
    assert np.isnan(part_colors(striped, masks, SHOES)).all()
    assert np.isnan(color_errors(striped, striped, masks, [SHOES])).all()


def test_lab_of_pure_red() -> None:
    assert to_lab(np.array([[255.0, 0, 0]]))[0] == pytest.approx([53.24, 80.09, 67.20], abs=0.1)
