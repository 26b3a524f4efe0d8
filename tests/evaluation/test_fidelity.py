import numpy as np
import pytest

from evaluation.fidelity import MAX_PSNR_DB, l1, psnr, ssim


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, 40, 30, 3), dtype=np.uint8)


def grey(value: int) -> np.ndarray:
    return np.full((2, 32, 16, 3), value, np.uint8)


def test_differences_of_bytes_do_not_wrap_around() -> None:
    # In bytes 3 - 5 is 254 and 5 - 3 is 2: both orders must count 2.
    assert l1(grey(3), grey(5)) == l1(grey(5), grey(3)) == 2
    assert psnr(grey(3), grey(5)) == psnr(grey(5), grey(3)) == pytest.approx(10 * np.log10(255**2 / 4))
    assert ssim(grey(3), grey(5)) == pytest.approx(ssim(grey(5), grey(3)))
    assert psnr(grey(0), grey(255)) == pytest.approx(0)


def test_a_square_of_bytes_does_not_wrap_around() -> None:
    # 16 squared is 256, which is 0 in a byte.
    assert psnr(grey(16), grey(0)) == pytest.approx(10 * np.log10(255**2 / 256))


def test_equal_videos(noise: np.ndarray) -> None:
    assert l1(noise, noise) == 0
    assert psnr(noise, noise) == MAX_PSNR_DB
    assert ssim(noise, noise) == pytest.approx(1)


def test_ssim_of_flat_pictures_is_the_formulas_luminance_term() -> None:
    c1 = (0.01 * 255) ** 2
    assert ssim(grey(100), grey(120)) == pytest.approx(
        (2 * 100 * 120 + c1) / (100**2 + 120**2 + c1), abs=1e-4
    )


def test_ssim_of_unrelated_noise_is_near_zero(noise: np.ndarray) -> None:
    assert abs(ssim(noise, noise[::-1, ::-1])) < 0.1


def test_psnr_inside_a_mask_looks_nowhere_else() -> None:
    video, mask = grey(50).copy(), np.zeros((2, 32, 16), bool)
    mask[:, :8] = True
    video[:, 8:] = 255
    video[:, :8] += 10
    assert psnr(video, grey(50), mask) == pytest.approx(10 * np.log10(255**2 / 100))
    assert np.isnan(psnr(video, grey(50), np.zeros_like(mask)))
