"""A photo and a sentence alone: the pipeline finds the pose, makes poses and moves the person."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from diffusion import motion
from diffusion.motion import poses_from_text
from diffusion.pipeline import X2FashionPipeline
from models.pose_finder import SHIPPED_FINDER, PoseFinder
from models.text_to_poses import TextToPoses
from tests.toys import HEIGHT, SENTENCES, WIDTH, figure_clip, randomise
from utils.errors import UserError
from utils.image import read_image, to_signed
from utils.pose_drawing import draw_pose

PHOTO = Path(__file__).resolve().parents[2] / "fashion_dataset/fashion_crop/test_00000/000.jpg"
FRAMES, POSES, JOINTS = figure_clip(4)


@pytest.fixture(scope="module")
def text_to_poses() -> TextToPoses:
    model = TextToPoses(cross_attention_dim=32, width=16, num_components=8)
    randomise(model)
    with torch.no_grad():
        model.components.weight.mul_(0.1)
    return model.eval()


@pytest.fixture
def pipeline(make_tiny_pipeline: Callable[..., X2FashionPipeline], text_to_poses) -> X2FashionPipeline:
    pipeline = make_tiny_pipeline()
    pipeline.register_modules(text_to_poses=text_to_poses)
    return pipeline


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def sample(pipeline: X2FashionPipeline, image: np.ndarray, **overrides: object) -> torch.Tensor:
    inputs = {"num_frames": 4, "num_inference_steps": 1, "generator": seeded(), "output_type": "latent"}
    return pipeline(image, **{"prompt": SENTENCES[0], **inputs, **overrides}).frames


def test_it_makes_the_video_of_the_poses_that_the_sentence_gives(pipeline: X2FashionPipeline) -> None:
    embeds, generator = pipeline.encode_prompt([SENTENCES[0]]), seeded()
    joints = poses_from_text(pipeline.text_to_poses, embeds, JOINTS[0], HEIGHT, WIDTH, 4, generator)
    poses = np.stack([draw_pose(frame, HEIGHT, WIDTH) for frame in joints])
    expected = sample(
        pipeline, FRAMES[0], poses=poses, joints=joints, image_joints=JOINTS[0], generator=generator
    )
    moved = sample(pipeline, FRAMES[0], image_joints=JOINTS[0])
    assert torch.equal(moved, expected)
    by_embeds = sample(pipeline, FRAMES[0], image_joints=JOINTS[0], prompt=None, prompt_embeds=embeds)
    assert torch.equal(by_embeds, expected)
    assert not torch.equal(sample(pipeline, FRAMES[0], image_joints=JOINTS[0], generator=seeded(1)), moved)


def test_each_clip_of_a_batch_moves_by_its_own_sentence(pipeline: X2FashionPipeline) -> None:
    both = sample(
        pipeline, FRAMES[0], prompt=SENTENCES[:2], image_joints=JOINTS[0], generator=[seeded(1), seeded(2)]
    )
    for index in range(2):
        alone = sample(
            pipeline,
            FRAMES[0],
            prompt=SENTENCES[index],
            image_joints=JOINTS[0],
            generator=seeded(index + 1),
        )
        torch.testing.assert_close(both[index : index + 1], alone, atol=1e-4, rtol=1e-4)


def test_the_photos_pose_is_found_and_both_parts_are_kept(
    pipeline: X2FashionPipeline, tmp_path: Path
) -> None:
    photo = read_image(PHOTO)
    assert pipeline.pose_finder is None
    moved = sample(pipeline, photo)
    assert isinstance(pipeline.pose_finder, PoseFinder)  # the one that ships
    assert repr(pipeline.pose_finder) == "PoseFinder()"
    pose = pipeline.pose_finder.find(photo).keypoints
    assert torch.equal(sample(pipeline, photo, image_joints=pose), moved)

    pipeline.save_pretrained(tmp_path / "model")
    loaded = X2FashionPipeline.from_pretrained(tmp_path / "model")
    loaded.set_progress_bar_config(disable=True)
    assert isinstance(loaded.pose_finder, PoseFinder) and isinstance(loaded.text_to_poses, TextToPoses)
    assert torch.equal(sample(loaded, photo), moved)
    again = X2FashionPipeline.from_pipe(loaded)
    assert again.pose_finder is loaded.pose_finder and again.text_to_poses is loaded.text_to_poses


def test_what_is_missing_is_said(pipeline: X2FashionPipeline) -> None:
    with pytest.raises(UserError, match=r"no person was found in photo 0; give image_joints"):
        sample(pipeline, np.full((HEIGHT, WIDTH, 3), 200, np.uint8))
    pipeline.register_modules(text_to_poses=TextToPoses(cross_attention_dim=8, width=16, num_components=8))
    with pytest.raises(UserError, match="reads embeddings of width 8, the text encoder's are 32 wide"):
        sample(pipeline, FRAMES[0], image_joints=JOINTS[0])
    pipeline.register_modules(text_to_poses=None)
    with pytest.raises(UserError, match=r"no text_to_poses.* give poses"):
        sample(pipeline, FRAMES[0])


def test_the_finder_beside_the_model_serves_where_the_code_is_installed_alone(
    pipeline: X2FashionPipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.save_pretrained(tmp_path / "model")
    (tmp_path / "pose_finder").symlink_to(SHIPPED_FINDER)
    loaded = X2FashionPipeline.from_pretrained(tmp_path / "model")
    monkeypatch.setattr(motion, "SHIPPED_FINDER", tmp_path / "none" / "pose_finder")
    photo = to_signed(read_image(PHOTO)[None])[0]
    assert motion.find_joints(loaded, photo, "the photo")[:, 2].any()
