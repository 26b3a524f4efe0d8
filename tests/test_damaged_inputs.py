"""Whatever is given as photo, poses or joints, damaged at random: a video, or one line and no file."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import inference
from tests.toys import figure_clip, write_openpose_json
from utils.errors import UserError
from utils.video import read_video, write_gif, write_video

FRAMES, POSES, JOINTS = figure_clip(2)
WRITERS: dict[str, Callable[[Path], object]] = {
    "photo.png": lambda path: Image.fromarray(FRAMES[0]).save(path),
    "photo.jpg": lambda path: Image.fromarray(FRAMES[0]).save(path, quality=95),
    "poses.mp4": lambda path: write_video(path, POSES, 8),
    "poses.gif": lambda path: write_gif(path, POSES, 8),
    "poses.json": lambda path: write_openpose_json(path, JOINTS, 64, 32),
    "joints.json": lambda path: path.write_text(json.dumps({"keypoints": JOINTS[0].tolist()})),
}


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    damaged=st.sampled_from(sorted(WRITERS)),
    cut=st.floats(0, 1),
    noise=st.binary(max_size=30),
    shorter=st.integers(0, 60),
)
def test_a_damaged_input_ends_in_a_video_or_a_line(
    tiny_pipeline_dir: Path, tmp_path_factory: pytest.TempPathFactory, damaged, cut, noise, shorter
) -> None:
    folder = tmp_path_factory.mktemp("inputs")
    for name, write in WRITERS.items():
        write(folder / name)
    path = folder / damaged
    content = path.read_bytes()
    place = int(cut * len(content))
    path.write_bytes(content[:place] + noise + content[place + len(noise) + shorter :])
    config = inference.Config(
        pretrained_model=tiny_pipeline_dir,
        image=folder / (damaged if damaged.startswith("photo") else "photo.png"),
        poses=folder / (damaged if damaged.startswith("poses") else "poses.json"),
        image_joints=folder / "joints.json",
        num_inference_steps=1,
        dtype="float32",
        output_dir=folder / "out",
    )
    try:
        inference.main(config)
    except UserError as error:
        assert "\n" not in str(error)
        assert not (folder / "out").exists()
    else:
        video, _ = read_video(folder / "out" / "photo.mp4")
        assert video.ndim == 4 and np.isfinite(video).all()
        assert not [path for path in (folder / "out").iterdir() if path.name.startswith(".")]
