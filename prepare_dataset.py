"""Make a dataset of raw videos: find and follow the person, cut her out, describe and divide the clips.

    python prepare_dataset.py --videos my_videos --output_dir my_dataset
    python prepare_dataset.py --videos my_videos --output_dir my_dataset --texts sentences.csv --blur_faces
    python prepare_dataset.py --format fashion_text2video --videos DOWNLOAD --output_dir my_dataset --fps 30
    python prepare_dataset.py --videos my_videos --output_dir my_dataset --jobs 8 --shards s3://bucket/mine

The same command again goes on where it was stopped, and adds new videos. What is written does not depend on
the number of workers. Videos that cannot be read are named, the others are done, and the exit status is 2.
"""

import utils.interrupts  # noqa: F401

# isort: split
import concurrent.futures
import concurrent.futures.process
import dataclasses
import datetime
import functools
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import cv2
from tqdm import tqdm

from data.pack import pack_dataset
from data.shards import address_of
from models.pose_finder import PoseFinder
from preparation import layout
from preparation.clips import Settings, prepare_video
from preparation.fashion_text2video import read_download, write_labels
from preparation.finish import Summary, Wishes, finish
from preparation.texts import Unit, read_texts
from preparation.videos import Video, find_videos, length_of
from utils.cluster import ClusterSettings, part_of, run_jobs
from utils.config import check_minimum, run_script, settings_as_json
from utils.errors import UserError
from utils.files import check_output_dir, locked_folder, read_json, write_json
from utils.paths import is_same_path, refuse_overwrites


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(ClusterSettings):
    """What is prepared, and how."""

    videos: Path
    """Folder of videos (mp4, mov, webm ...) of any size, rate and rotation; folders in it count too. With
    --format fashion_text2video the folder that the download was unpacked into."""
    output_dir: Path
    """Where the dataset goes."""
    format: Literal["videos", "fashion_text2video"] = "videos"
    """What --videos holds: video files, or the Fashion-Text2Video download with its frames, texts, labels and
    lists."""
    height: int = 512
    """Height of the frames in pixels, a multiple of 16 from 128 to 1024; they are half as wide. The shipped
    model takes multiples of 256."""
    fps: float = 10.0
    """Frames per second of the clips."""
    min_frames: int = 24
    """Shorter clips are left out; a sentence that is written from the poses describes so many frames."""
    max_frames: int = 240
    """Longer shots are divided into clips of so many frames."""
    max_minutes: float = 60.0
    """A longer video is refused."""
    texts: Path | None = None
    """A .csv or .jsonl file with video, start, end and sentence. Without it sentences are written from the
    poses."""
    texts_unit: Unit = "seconds"
    """Unit of start and end in --texts: seconds, or frames of the video."""
    subject: Literal["woman", "man", "either"] = "either"
    """Whom the sentences speak of that are written from the poses."""
    keypoints: Path | None = None
    """Folder of NAME.json, or NAME/ with a file a frame, by OpenPose or DWPose: the joints of NAME.mp4."""
    test_share: float = 0.1
    """Share of the clips that is kept for test."""
    blur_faces: bool = False
    """Blur faces beyond recognition."""
    consent: str = ""
    """How the people shown agreed, for the dataset's README."""
    picture_format: Literal["jpg", "png"] = "jpg"
    """Format of the frames. Skeletons and masks are always PNG."""
    seed: int = 0
    """Seed of the choice of test clips and of wordings."""
    num_workers: int = 0
    """Videos that are prepared side by side; 0 is one a core."""
    shards: Path | None = None
    """Write the dataset as tar files too, for large sets: into this folder, or to an address in object
    storage such as s3://bucket/my_dataset."""
    clips_per_shard: int = 64
    """Clips of a tar file."""


def check(config: Config) -> None:
    """Refuse settings that nothing can be prepared by.

    Raises:
        UserError: a number out of its range, a folder that is missing or cannot be written.
    """
    check_minimum(config, 0, "num_workers")
    check_minimum(config, 1, "clips_per_shard")
    part_of(config)
    for name, low, high in (
        ("height", 128, 1024),
        ("fps", 1, 60),
        ("min_frames", 4, 1000),
        ("max_frames", config.min_frames, 1000),
        ("max_minutes", 0.01, 6000),
        ("test_share", 0, 0.9),
    ):
        value = getattr(config, name)
        if not low <= value <= high:
            raise UserError(f"--{name} {value} is out of range; give a number from {low} to {high}")
    if config.height % 16:
        near = round(config.height / 16) * 16
        raise UserError(f"--height {config.height} is not a multiple of 16; try --height {near}")
    if config.format != "videos" and config.texts is not None:
        raise UserError(f"--texts {config.texts}: the download brings its own sentences; leave --texts out")
    if config.keypoints is not None and not config.keypoints.is_dir():
        raise UserError(f"--keypoints {config.keypoints} is no folder; give a folder of .json files")
    check_output_dir(config.output_dir)
    if config.shards is not None and is_same_path(config.shards, config.output_dir):
        raise UserError(
            f"--shards {config.shards} is the dataset's own folder, which would be taken for shards; give "
            "another folder"
        )
    if config.shards is not None and address_of(config.shards) is None:
        check_output_dir(config.shards)
    refuse_overwrites([config.output_dir / name for name in layout.FOLDERS], [config.videos])


def settings_of(config: Config) -> Settings:
    """Those settings that shape the clips."""
    return Settings(**{field.name: getattr(config, field.name) for field in dataclasses.fields(Settings)})


def check_dataset(config: Config) -> None:
    """Refuse to go on with another dataset.

    Raises:
        UserError: the folder holds a dataset of other settings, or one that was not prepared here.
    """
    path = config.output_dir / layout.SETTINGS
    if path.exists():
        there, wanted = read_json(path), settings_as_json(settings_of(config))
        there = {"format": "videos"} | there  # of an earlier version
        other = [f"--{key} {there.get(key)}" for key in wanted if there.get(key) != wanted[key]]
        if other:
            raise UserError(
                f"{config.output_dir} was prepared with {', '.join(other)}; give the same, or choose another "
                "--output_dir"
            )
    elif any((config.output_dir / folder).exists() for folder in (*layout.FOLDERS, *layout.SPLITS)):
        raise UserError(f"{config.output_dir} holds another dataset; choose another --output_dir")
    elif own := [name for name in layout.REPORTS if (config.output_dir / name).exists()]:
        raise UserError(
            f"{config.output_dir / own[0]} would be replaced, and was not written here; choose another "
            "--output_dir"
        )


def open_dataset(config: Config) -> None:
    """Begin a dataset, or go on with one: nothing that a killed run left half-written stays."""
    if not (config.output_dir / layout.SETTINGS).exists():
        write_settings(config)
    layout.remove_leftovers(config.output_dir)


def write_settings(config: Config) -> None:
    """Write the settings that shape the clips, by which a later run knows the dataset."""
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    path = config.output_dir / layout.SETTINGS
    write_json(path, {"date": date, **settings_as_json(settings_of(config))})


_finder: PoseFinder | None = None  # of this process
_tell: Callable[[float], object] | None = None


def _start_worker(needs_finder: bool, seconds: Any = None) -> None:
    global _finder, _tell
    cv2.setNumThreads(1)
    _finder = PoseFinder.from_pretrained() if needs_finder else None
    if seconds is not None:
        _tell = functools.partial(_add, seconds)


def _add(total: Any, seconds: float) -> None:
    with total.get_lock():
        total.value += seconds


def _prepare(video: Video, output_dir: Path, settings: Settings) -> str:
    """Prepare a video in a worker; why it could not be prepared, or nothing."""
    try:
        prepare_video(video, output_dir, settings, _finder, _tell)
    except layout.OutputError:
        raise
    except UserError as error:
        return str(error)
    return ""


def prepare_all(config: Config, videos: list[Video], progress: tqdm) -> Iterator[tuple[Video, str]]:
    """Prepare videos side by side, and give each as it is done, with the reason where it failed.

    Raises:
        UserError: the dataset's folder cannot be written, or a worker was ended from outside.
    """
    global _tell
    settings = settings_of(config)
    num_workers = min(config.num_workers or os.cpu_count() or 1, len(videos))
    if num_workers <= 1:
        _start_worker(config.keypoints is None)
        _tell = progress.update
        yield from ((video, _prepare(video, config.output_dir, settings)) for video in videos)
        return
    context = multiprocessing.get_context("spawn")
    seconds = context.Value("d", 0.0)
    with concurrent.futures.ProcessPoolExecutor(
        num_workers, context, _start_worker, (config.keypoints is None, seconds)
    ) as pool:
        futures = {pool.submit(_prepare, video, config.output_dir, settings): video for video in videos}
        try:
            waiting = set(futures)
            while waiting:
                done, waiting = concurrent.futures.wait(waiting, 1, concurrent.futures.FIRST_COMPLETED)
                progress.update(seconds.value - progress.n)
                yield from ((futures[future], future.result()) for future in done)
        except concurrent.futures.process.BrokenProcessPool as error:
            raise UserError(
                "a worker was ended, perhaps for want of memory; the same command with a smaller "
                "--num_workers goes on"
            ) from error
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def prepare_waiting(config: Config, waiting: list[Video]) -> dict[str, str]:
    """Prepare videos and name those that cannot be; a video's path -> why."""
    failures: dict[str, str] = {}
    if not waiting:
        return failures
    total = sum(min(length_of(video.path) or 0, 60 * config.max_minutes) for video in waiting)
    shape = "{l_bar}{bar}| {n:.0f} of {total:.0f} s of video, {elapsed} gone, {remaining} left{postfix}"
    with tqdm(total=total, bar_format=shape, mininterval=1, disable=None) as progress:
        for count, (video, reason) in enumerate(prepare_all(config, waiting, progress), 1):
            progress.set_postfix_str(f"{count} of {len(waiting)} videos")
            if reason:
                failures[video.source] = reason
                progress.write(f"error: {reason}", file=sys.stderr)
    return failures


def prepare_part(config: Config, videos: list[Video]) -> None:
    """Prepare one part of the videos; the command without --part does the rest."""
    if not (config.output_dir / layout.SETTINGS).exists():
        write_settings(config)
    waiting = [v for v in videos if not layout.is_finished(config.output_dir, v.name, v.path)]
    failures = prepare_waiting(config, waiting)
    print(f"part {config.part}: {len(waiting) - len(failures)} of {len(waiting)} videos prepared")
    if failures:
        raise UserError(f"{len(failures)} videos of part {config.part} could not be prepared, see above")


def report(config: Config, summary: Summary) -> None:
    """Print what came out, and what is left to do."""
    print(summary.table)
    for mistake in summary.mistakes:
        print(f"error: {mistake}", file=sys.stderr)
    if config.test_share > 0 and summary.sides and "test" not in summary.sides:
        print("No clip is for test: all are of one video, or show the same person. Add videos of others.")
    if not config.consent:
        print("Did the people shown agree? Say how with --consent, and fill in the licence in README.md.")


def main(config: Config) -> None:
    """Prepare the videos that are not done yet, then divide and describe all clips."""
    check(config)
    check_dataset(config)
    download, texts = None, None
    known = layout.known_videos(config.output_dir)
    if config.format == "fashion_text2video":
        download = read_download(config.videos, config.seed, known)
        videos, texts = download.videos, download.texts
    else:
        own = [config.output_dir, *(config.output_dir / name for name in layout.FOLDERS)]
        videos = find_videos(config.videos, known, own)
        kept = [Video(name, config.videos / source, source) for source, name in known.items()]
        texts = read_texts(config.texts, [*videos, *kept]) if config.texts else None
    part, num_parts = part_of(config)
    if config.part:
        prepare_part(config, videos[part::num_parts])
        return
    with locked_folder(config.output_dir):
        open_dataset(config)
        if config.jobs:
            run_jobs(config)
        waiting = [v for v in videos if not layout.is_finished(config.output_dir, v.name, v.path)]
        print(f"{len(videos)} videos in {config.videos}, {len(videos) - len(waiting)} already prepared")

        try:
            failures = prepare_waiting(config, waiting)
        except SystemExit:  # by SIGTERM, which ends the workers at once
            layout.remove_leftovers(config.output_dir)
            raise
        wishes = Wishes(
            videos=config.videos,
            texts=texts,
            texts_unit=config.texts_unit if download is None else "frames",
            subject=config.subject,
            test_share=config.test_share,
            seed=config.seed,
            consent=config.consent,
            sides=None if download is None else download.sides,
        )
        summary = finish(config.output_dir, failures, wishes)
        if download is not None and download.labels:
            write_labels(config.output_dir, download)
        if config.shards is not None and summary.sides:
            count, written = pack_dataset(config.output_dir, config.shards, config.clips_per_shard)
            print(f"{count} shards in {address_of(config.shards) or config.shards}, {written} written now")
    report(config, summary)
    if failures:
        rest = "; the others are done" if len(failures) < len(videos) else ""
        raise UserError(f"{len(failures)} of {len(videos)} videos could not be prepared, see above{rest}")
    if summary.mistakes:
        source = config.texts or config.videos
        raise UserError(f"{len(summary.mistakes)} sentences of {source} cannot be used, see above")
    if not summary.sides:
        raise UserError(f"no clip was kept; {config.output_dir / 'prepared.csv'} says why")


if __name__ == "__main__":
    run_script(main, Config, __doc__)
