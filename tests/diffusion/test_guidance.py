"""The weights of guidance against its formula."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diffusion.guidance import combine, guidance_branches

# Any numbers will do as predictions of the stages: none, image, image + poses, image + poses + text.
NONE, IMAGE, POSES, TEXT = 1.7, -0.4, 2.9, 0.6
scales = st.floats(-2, 8).map(lambda scale: round(scale, 3))


def weighted(branches) -> float:
    values = {(0, 0, 0): NONE, (1, 0, 0): IMAGE, (1, 1, 0): POSES, (1, 1, 1): TEXT, (1, 0, 1): TEXT}
    return sum(branch.weight * values[branch.image, branch.poses, branch.text] for branch in branches)


@given(scales, scales, scales)
def test_the_sum_is_the_formula(image: float, poses: float, text: float) -> None:
    branches = guidance_branches(image, poses, text)
    expected = NONE + image * (IMAGE - NONE) + poses * (POSES - IMAGE) + text * (TEXT - POSES)
    assert weighted(branches) == pytest.approx(expected, abs=1e-9)
    assert sum(branch.weight for branch in branches) == pytest.approx(1)


@given(scales, scales, scales)
def test_a_condition_that_is_not_given_has_no_stage(image: float, poses: float, text: float) -> None:
    without_poses = guidance_branches(image, poses, text, has_poses=False)
    assert weighted(without_poses) == pytest.approx(
        NONE + image * (IMAGE - NONE) + text * (TEXT - IMAGE), abs=1e-9
    )
    without_text = guidance_branches(image, poses, text, has_text=False)
    assert weighted(without_text) == pytest.approx(
        NONE + image * (IMAGE - NONE) + poses * (POSES - IMAGE), abs=1e-9
    )
    assert not any(branch.poses for branch in without_poses) and not any(
        branch.text for branch in without_text
    )


@pytest.mark.parametrize(
    ("given_scales", "num_branches"),
    [
        ((1, 1, 1), 1),
        ((1, 1, 3), 2),
        ((1, 2, 1), 3),
        ((2, 1, 1), 3),
        ((2, 2, 2), 2),
        ((2, 3, 4), 4),
        ((0, 0, 0), 1),
    ],
)
def test_neutral_branches_are_left_out(given_scales: tuple[float, float, float], num_branches: int) -> None:
    assert len(guidance_branches(*given_scales)) == num_branches


def test_combine_takes_the_batch_branch_by_branch() -> None:
    branches = guidance_branches(2.0, 3.0, 4.0)
    predictions = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    expected = sum(branch.weight * predictions[2 * i : 2 * i + 2] for i, branch in enumerate(branches))
    torch.testing.assert_close(combine(predictions, branches), expected)
