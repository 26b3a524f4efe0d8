"""All pictures of a dataset, decoded, and whether their sizes go together."""

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeAlias

from PIL import Image
from tqdm import tqdm

from utils.errors import UserError
from utils.image import read_image

CHUNK_PICTURES = 32  # decoded by a thread at a time

Size: TypeAlias = tuple[int, int]
"""Height and width in pixels."""
Kinds: TypeAlias = defaultdict[str, list[str]]
"""Messages by their kind, as a `DataReport` has them."""


def decode_pictures(paths: Sequence[Path], progress: bool) -> Iterator[tuple[Path, Size | str]]:
    """Decode pictures; each with its size, or with what is wrong with it, in their order.

    Args:
        paths: of the pictures, folder by folder.
        progress: show a progress bar.
    """
    chunks = [paths[i : i + CHUNK_PICTURES] for i in range(0, len(paths), CHUNK_PICTURES)]
    with (
        tqdm(total=len(paths), desc="check", unit="picture", disable=not progress) as bar,
        ThreadPoolExecutor(os.cpu_count()) as executor,
    ):
        for chunk, decoded in zip(chunks, executor.map(_decode, chunks), strict=True):
            yield from zip(chunk, decoded, strict=True)
            bar.update(len(chunk))


def compare_sizes(
    dataset_dir: Path,
    names: Sequence[str],
    sizes: dict[Path, dict[str, Size]],
    problems: Kinds,
    warnings: Kinds,
) -> dict[Path, Size]:
    """Compare the sizes of pictures in a folder, of frames and poses, and of the videos.

    Args:
        dataset_dir: the dataset's folder.
        names: of the videos.
        sizes: of the pictures that could be decoded, by folder and name.
        problems: gets what a training fails on.
        warnings: gets what is good to know.

    Returns:
        The size of each video's first frame, by the folder of its frames.
    """
    for folder, pictures in sizes.items():
        _compare_pictures(folder, pictures, problems)
    first_sizes = {folder: next(iter(pictures.values())) for folder, pictures in sizes.items()}
    video_sizes = {}
    for name in names:
        frames, poses = (dataset_dir / kind / name for kind in ("fashion_crop", "fashion_poses"))
        if frames not in first_sizes:
            continue
        size = video_sizes[frames] = first_sizes[frames]
        if poses not in first_sizes or (pose_size := first_sizes[poses]) == size:
            continue
        differ = f"{poses} is {show_size(pose_size)} pixels, {frames} {show_size(size)}"
        if _same_shape(size, pose_size):
            warnings["size of poses"].append(f"{differ}; the poses are resized in training")
        else:
            problems["shape of poses"].append(
                f"{differ}, which is another aspect ratio; draw the poses again in the frames' size"
            )
    _compare_videos(video_sizes, warnings)
    return video_sizes


def show_size(size: Size) -> str:
    """Height and width as pictures are named: width first."""
    return f"{size[1]} x {size[0]}"


def _compare_pictures(folder: Path, pictures: dict[str, Size], problems: Kinds) -> None:
    first_name, first = next(iter(pictures.items()))
    others = [(name, size) for name, size in pictures.items() if size != first]
    if others:
        name, size = others[0]
        problems["unequal sizes"].append(
            f"{folder / name} is {show_size(size)} pixels, {first_name} beside it {show_size(first)} "
            f"(pictures that differ from that: {len(others)}); all pictures of a video must have one size: "
            "write them again"
        )


def _compare_videos(video_sizes: dict[Path, Size], warnings: Kinds) -> None:
    if not video_sizes:
        return
    first_video, first = next(iter(video_sizes.items()))
    unlike = [(video, size) for video, size in video_sizes.items() if not _same_shape(first, size)]
    if unlike:
        warnings["shape of videos"].append(
            f"{len(unlike)} of {len(video_sizes)} videos have another aspect ratio than "
            f"{first_video} ({show_size(first)}), the first: {unlike[0][0]} ({show_size(unlike[0][1])}); "
            "projection fits all into one size, with a border: crop them alike"
        )


def _same_shape(size: Size, other: Size) -> bool:
    """Whether two sizes have one aspect ratio, but for rounding to a pixel of `other`."""
    return abs(other[1] * size[0] - other[0] * size[1]) <= max(size)


def _decode(paths: Sequence[Path]) -> list[Size | str]:
    """The size of each picture, or what is wrong with it."""
    results: list[Size | str] = []
    for path in paths:
        try:
            height, width = read_image(path).shape[:2]
            with Image.open(path) as image:
                channels = len(image.getbands())
                image.verify()  # checksums, which decoding passes over
            if channels > 1 and path.parts[-3] == "fashion_masks":
                results.append(f"{path} has {channels} channels; a mask is a palette or grey PNG")
            else:
                results.append((height, width))
        except UserError as error:
            results.append(str(error))
        except Exception as error:  # a damaged file can make a decoder raise nearly anything
            results.append(f"{path} is damaged ({' '.join(str(error).split())}); save or copy it again")
    return results
