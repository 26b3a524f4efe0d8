"""Make a dataset of raw videos: find and follow the person, cut her out, describe and divide the clips.

    python prepare_dataset.py --videos my_videos --output_dir my_dataset
    python prepare_dataset.py --videos my_videos --output_dir my_dataset --texts sentences.csv --blur_faces
    python prepare_dataset.py --format fashion_text2video --videos DOWNLOAD --output_dir my_dataset --fps 30

The same command again goes on where it was stopped, and adds new videos. What is written does not depend on
the number of workers. Videos that cannot be read are named, the others are done, and the exit status is 2.
"""

import concurrent.futures
import concurrent.futures.process
import dataclasses
import datetime
import multiprocessing
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import cv2
from tqdm import tqdm

from models.pose_finder import PoseFinder
from preparation import layout
from preparation.clips import Settings, prepare_video
from preparation.fashion_text2video import read_download, write_labels
from preparation.finish import Summary, Wishes, finish
from preparation.texts import Unit, read_texts
from preparation.videos import Video, find_videos
from utils.config import check_minimum, run_script, settings_as_json
from utils.errors import UserError
from utils.files import check_output_dir, locked_folder, read_json, write_json
from utils.paths import refuse_overwrites


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
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
    """Of the frames in pixels, a multiple of 16 from 128 to 1024; they are half as wide."""
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
    """Of start and end in --texts: seconds, or frames of the video."""
    subject: Literal["woman", "man", "either"] = "either"
    """Of the sentences that are written from the poses."""
    keypoints: Path | None = None
    """Folder of NAME.json, or NAME/ with a file a frame, by OpenPose or DWPose: the joints of NAME.mp4."""
    test_share: float = 0.1
    """Of the clips that are kept for test."""
    blur_faces: bool = False
    """Blur faces beyond recognition."""
    consent: str = ""
    """How the people shown agreed, for the dataset's README."""
    picture_format: Literal["jpg", "png"] = "jpg"
    """Of the frames. Skeletons and masks are PNG always."""
    seed: int = 0
    """Of the choice of clips for test and among wordings."""
    num_workers: int = 0
    """Videos that are prepared side by side; 0 is one a core."""


def check(config: Config) -> None:
    """Refuse settings that nothing can be prepared by.

    Raises:
        UserError: a number out of its range, a folder that is missing or cannot be written.
    """
    check_minimum(config, 0, "num_workers")
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


def open_dataset(config: Config) -> None:
    """Begin a dataset, or go on with one: nothing that a killed run left half-written stays."""
    path = config.output_dir / layout.SETTINGS
    if not path.exists():
        date = datetime.datetime.now(datetime.UTC).date().isoformat()
        write_json(path, {"date": date, **settings_as_json(settings_of(config))})
    layout.remove_leftovers(config.output_dir)


_finder: PoseFinder | None = None  # of this process


def _start_worker(needs_finder: bool) -> None:
    global _finder
    cv2.setNumThreads(1)
    _finder = PoseFinder.from_pretrained() if needs_finder else None


def _prepare(video: Video, output_dir: Path, settings: Settings) -> str:
    """Prepare a video in a worker; why it could not be prepared, or nothing."""
    try:
        prepare_video(video, output_dir, settings, _finder)
    except layout.OutputError:
        raise
    except UserError as error:
        return str(error)
    return ""


def prepare_all(config: Config, videos: list[Video]) -> Iterator[tuple[Video, str]]:
    """Prepare videos side by side, and give each as it is done, with the reason where it failed.

    Raises:
        UserError: the dataset's folder cannot be written, or a worker was ended from outside.
    """
    settings = settings_of(config)
    num_workers = min(config.num_workers or os.cpu_count() or 1, len(videos))
    if num_workers <= 1:
        _start_worker(config.keypoints is None)
        yield from ((video, _prepare(video, config.output_dir, settings)) for video in videos)
        return
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(
        num_workers, context, _start_worker, (config.keypoints is None,)
    ) as pool:
        futures = {pool.submit(_prepare, video, config.output_dir, settings): video for video in videos}
        try:
            for future in concurrent.futures.as_completed(futures):
                yield futures[future], future.result()
        except concurrent.futures.process.BrokenProcessPool as error:
            raise UserError(
                "a worker was ended, perhaps for want of memory; the same command with a smaller "
                "--num_workers goes on"
            ) from error
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


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
    download = None
    if config.format == "fashion_text2video":
        download = read_download(config.videos, config.seed)
        videos, texts = download.videos, download.texts
    else:
        videos = find_videos(config.videos)
        texts = None if config.texts is None else read_texts(config.texts, videos)
    with locked_folder(config.output_dir):
        open_dataset(config)
        waiting = [v for v in videos if not layout.is_finished(config.output_dir, v.name, v.path)]
        print(f"{len(videos)} videos in {config.videos}, {len(videos) - len(waiting)} already prepared")

        failures: dict[str, str] = {}
        with tqdm(total=len(waiting), unit="video", disable=None) as progress:
            for video, reason in prepare_all(config, waiting):
                progress.update()
                if reason:
                    failures[video.source] = reason
                    progress.write(f"error: {reason}", file=sys.stderr)

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
    report(config, summary)
    if failures:
        raise UserError(
            f"{len(failures)} of {len(videos)} videos could not be prepared, see above; the others are done"
        )
    if summary.mistakes:
        source = config.texts or config.videos
        raise UserError(f"{len(summary.mistakes)} sentences of {source} cannot be used, see above")
    if not summary.sides:
        raise UserError(f"no clip was kept; {config.output_dir / 'prepared.csv'} says why")


if __name__ == "__main__":
    run_script(main, Config, __doc__)
