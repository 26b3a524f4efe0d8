"""Measure how much skin comes through the clothes of the synthetic people.

    python -m benchmarks.skin_through_cloth
    python -m benchmarks.skin_through_cloth --num_clips 20 --every 1 --height 512

Skin under clothes is left out of the pictures, so they do not show it. Here it is looked for all the same: a
pixel counts where skin that clothes or shoes cover lies nearer to the camera than what is drawn there. A
clip's figure is that of its worst frame, as a share of the person's pixels. The renderer draws a clip again
whose figure exceeds `data.synthetic.checks.MAX_THROUGH`; here it is only counted.
"""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from data.synthetic.checks import MAX_THROUGH, RejectedError, share_through
from utils.config import run_script
from utils.errors import UserError

if TYPE_CHECKING:
    from data.synthetic.render import SyntheticClip

NUM_WORST = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """What is measured."""

    num_clips: int = 500
    """Clips, each of another person in other clothes."""
    num_frames: int = 24
    """Frames a clip."""
    every: int = 4
    """Look at every so many-th frame."""
    height: int = 256
    """Of the pictures in pixels."""
    seed: int = 11
    """What the clips are drawn from."""


def worst_share(clip: "SyntheticClip", every: int) -> float:
    """The largest share of the person's pixels in any frame looked at.

    Raises:
        RejectedError: another check found the clip broken.
    """
    from data.synthetic.raster import draw
    from data.synthetic.render import Scene

    scene, worst = Scene(clip), 0.0
    for number in range(clip.num_frames):
        places = scene.vertices(number)  # every frame, for the cloth moves on
        if number % every == 0:
            picture = draw(scene.meshes, places, clip.camera, clip.studio)
            worst = max(worst, share_through(scene.skin_through(places, picture), picture.parts))
    return worst


def main(config: Config) -> None:
    """Measure and print.

    Raises:
        UserError: a number below 1.
    """
    from data.synthetic.render import sample_clip  # needs numba, which --help does not

    for name in ("num_clips", "num_frames", "every", "height"):
        if getattr(config, name) < 1:
            raise UserError(f"--{name} {getattr(config, name)} is out of range; give a number above 0")
    shares, broken = [], 0
    for index in tqdm(range(config.num_clips), unit="clip", disable=None):
        clip = sample_clip(config.seed, "train", index, config.num_frames, config.height)
        try:
            shares.append((worst_share(clip, config.every), index, _worn(clip)))
        except RejectedError as error:
            broken += 1
            print(f"{clip.name}: {error}")
    figures = 100 * np.array([share for share, _, _ in shares])
    above = int((figures > 100 * MAX_THROUGH).sum())
    print(f"{len(shares)} clips, {broken} more were found broken by other checks")
    if shares:
        print(f"above {MAX_THROUGH:.1%} of the person's pixels: {above}")
        print(f"median {np.median(figures):.2f} %, 99th percentile {np.percentile(figures, 99):.2f} %")
        for share, index, worn in sorted(shares, reverse=True)[:NUM_WORST]:
            print(f"  clip {index}: {share:.2%}, {worn}")


def _worn(clip: "SyntheticClip") -> str:
    """What somebody does, and wears, in a few words."""
    worn = [
        " ".join(part[word] for word in ("fabric", "cut", "kind") if word in part)
        for part in clip.outfit.parts.values()
    ]
    return f"{' then '.join(clip.motions)}: {', '.join(worn)}"


if __name__ == "__main__":
    run_script(main, Config, __doc__)
