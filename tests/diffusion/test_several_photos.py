"""Several photos of one person: each place comes from the photo that shows it best."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from diffusion.inputs import CallInputs, split_views
from diffusion.pipeline import X2FashionPipeline
from diffusion.warped_photo import WarpedPhoto, best_shown
from generation.streaming import stream_frames
from models.pose_finder import Pose
from tests.toys import SENTENCES, figure_clip
from utils.errors import UserError
from utils.image import to_signed

NUM_FRAMES = 4
FRAMES, POSES, JOINTS = figure_clip(NUM_FRAMES)
BACK = np.full_like(FRAMES[0], (200, 30, 30))


class StandingFinder:
    """Finds the figure's first pose, or nobody in a picture of one colour."""

    def find(self, picture: np.ndarray, with_mask: bool = True) -> Pose:
        found = float((np.ptp(picture, axis=(0, 1)) > 0).any())
        return Pose(found * JOINTS[0], np.ones(18), np.zeros(18), found, None)


@pytest.fixture
def pipeline(make_tiny_pipeline: Callable[..., X2FashionPipeline]) -> X2FashionPipeline:
    pipeline = make_tiny_pipeline()
    pipeline.pose_finder = StandingFinder()
    return pipeline


def sample(pipeline: X2FashionPipeline, image: object, **others: object) -> torch.Tensor:
    return pipeline(
        image,
        POSES,
        SENTENCES[0],
        joints=JOINTS,
        generator=torch.Generator().manual_seed(0),
        output_type="latent",
        **others,
    ).frames


def test_a_list_for_each_clip_has_its_further_photos() -> None:
    image, views = split_views([[FRAMES[0], BACK], [FRAMES[1]]])
    assert len(image) == 2 and [len(clip) for clip in views] == [1, 0]
    assert torch.equal(views[0][0].photo, to_signed(BACK[None])[0])
    flat = [FRAMES[0], FRAMES[1]]
    assert split_views(flat) == (flat, ())
    for wrong in ([[FRAMES[0]], FRAMES[1]], [[]]):
        with pytest.raises(UserError, match="front, back"):
            split_views(wrong)


def test_each_place_is_of_the_photo_that_shows_it() -> None:
    first, second = (torch.full((1, 1, 3, 4, 4), value) for value in (-1.0, 1.0))
    shown = torch.zeros(1, 1, 1, 4, 4)
    shown[..., :2] = 1
    mixed = best_shown([WarpedPhoto(first, shown), WarpedPhoto(second, 0.8 * (1 - shown))])
    np.testing.assert_allclose(mixed.pictures[..., :2], -1, atol=1e-3)
    np.testing.assert_allclose(mixed.pictures[..., 2:], 1, atol=0.01)
    np.testing.assert_allclose(mixed.validity[..., 2:], 0.8)
    nowhere = best_shown([WarpedPhoto(first, 0 * shown), WarpedPhoto(second, 0 * shown)])
    assert torch.equal(nowhere.pictures, first) and not nowhere.validity.any()


def test_a_second_photo_changes_the_video_and_the_same_one_does_not(pipeline: X2FashionPipeline) -> None:
    striped = BACK.copy()
    striped[::2] = 0
    alone = sample(pipeline, FRAMES[0])
    torch.testing.assert_close(sample(pipeline, [[FRAMES[0]]]), alone)
    torch.testing.assert_close(sample(pipeline, [[FRAMES[0], FRAMES[0]]]), alone, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(sample(pipeline, [[FRAMES[0], striped]]), alone, atol=1e-3)


def test_every_clip_of_a_batch_has_its_own(pipeline: X2FashionPipeline) -> None:
    striped = BACK.copy()
    striped[::2] = 0
    inputs = CallInputs.read([[FRAMES[0], striped], [FRAMES[0]]], POSES, None, joints=JOINTS)
    inputs = inputs.expanded(2, NUM_FRAMES)
    views = tuple(tuple(type(v)(v.photo, JOINTS[0]) for v in clip) for clip in inputs.views)
    both = pipeline.warp_photo(CallInputs(**vars(inputs) | {"views": views}))
    alone = pipeline.warp_photo(CallInputs(**vars(inputs) | {"views": ()}))
    assert torch.equal(both.pictures[1], alone.pictures[1])
    assert not torch.equal(both.pictures[0], alone.pictures[0])


def test_long_videos_take_them_too(pipeline: X2FashionPipeline) -> None:
    striped = BACK.copy()
    striped[::2] = 0

    def frames(image: object) -> np.ndarray:
        return np.concatenate(list(stream_frames(pipeline, image, POSES, seed=0, joints=JOINTS)))

    assert not np.array_equal(frames([[FRAMES[0], striped]]), frames(FRAMES[0]))


def test_what_cannot_be_used_is_refused(pipeline: X2FashionPipeline) -> None:
    with pytest.raises(UserError, match="no person was found in further photo 0"):
        sample(pipeline, [[FRAMES[0], BACK]])
    inputs = CallInputs.read([[FRAMES[0], BACK[:32]]], POSES, None, joints=JOINTS)
    with pytest.raises(UserError, match="a further photo is 32 x 32"):
        pipeline.check_inputs(inputs, 2)
