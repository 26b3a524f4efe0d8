"""Measure timelines: whether each segment does what its sentence says, and whether the seams are smooth.

    python -m benchmarks.timeline

Timelines of three motions, in wordings that no network was trained on, move the people of a dataset's test
split. Nothing is sampled: the tracks of joints are measured. Writes output_dir/timeline.json.
"""

import dataclasses
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from data.synthetic.wordings import MOTIONS, sample_wording
from diffusion.motion import load_text_to_poses
from diffusion.text import encode_prompts, load_text_encoder
from evaluation.timeline import measure_seams, read_segments
from generation.timeline import Segment, Timeline, poses_from_timeline
from utils.config import run_script
from utils.files import read_json, write_json
from utils.paths import SHIPPED_DATASET, SHIPPED_MODEL


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """What to measure."""

    pretrained_model: Path = SHIPPED_MODEL
    """Folder of a whole model."""
    dataset: Path = SHIPPED_DATASET
    """Dataset whose test clips begin with the poses that are moved."""
    output_dir: Path = Path("benchmark_result")
    """Gets timeline.json."""
    num_timelines: int = 20
    """Timelines for each person."""
    seconds: float = 2.5
    """Of a segment."""
    fps: float = 12.0
    """Frames a second."""
    seed: int = 0
    """Chooses motions, wordings and ways of doing them."""


def main(config: Config) -> None:
    """Measure, print a table and write it."""
    model = load_text_to_poses(config.pretrained_model)
    tokenizer, text_encoder = load_text_encoder(
        config.pretrained_model / "text_encoder", config.pretrained_model / "tokenizer"
    )

    def encode(sentence: str) -> torch.Tensor:
        return encode_prompts(tokenizer, text_encoder, [sentence])

    rng = np.random.default_rng(config.seed)
    generator = torch.Generator().manual_seed(config.seed)
    followed: dict[str, list[bool]] = defaultdict(list)
    at, inside = [], []
    for path in tqdm(sorted((config.dataset / "fashion_poses").glob("test_*.json")), unit="person"):
        clip = read_json(path)
        pose = np.array(clip["keypoints"][0], np.float32)
        for _ in range(config.num_timelines):
            labels = rng.choice(MOTIONS, 3, replace=False).tolist()
            segments = tuple(
                Segment(
                    start=number * config.seconds,
                    end=(number + 1) * config.seconds,
                    sentence=sample_wording((label,), rng, "test"),
                )
                for number, label in enumerate(labels)
            )
            timeline = Timeline(segments=segments, fps=config.fps)
            size = clip["height"], clip["width"]
            joints = poses_from_timeline(model, encode, timeline, pose, *size, generator)
            for number, (label, read) in enumerate(
                zip(labels, read_segments(joints, timeline), strict=True), 1
            ):
                followed[f"segment {number}"].append(read == (label,))
                if "turn_around" in labels[: number - 1]:
                    followed["segments that begin with her back"].append(read == (label,))
            seams = measure_seams(joints, timeline)
            at.append(seams.at)
            inside.append(seams.inside)
    result = {
        "followed": {name: float(np.mean(values)) for name, values in followed.items()},
        "counts": {name: len(values) for name, values in followed.items()},
        "largest_step_at_a_seam": {"mean": float(np.mean(at)), "max": float(np.max(at))},
        "largest_step_inside": {"mean": float(np.mean(inside)), "max": float(np.max(inside))},
    }
    for name, values in followed.items():
        print(f"{name}: {np.mean(values):.0%} of {len(values)} read back")
    for name, steps in (("at a seam", at), ("inside", inside)):
        print(f"largest joint step {name}: mean {np.mean(steps):.3f}, at most {np.max(steps):.3f} torsos")
    write_json(config.output_dir / "timeline.json", result)


if __name__ == "__main__":
    run_script(main, Config, __doc__)
