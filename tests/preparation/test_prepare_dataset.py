"""prepare_dataset.py through its command line: what it writes, and what it says of what it cannot use."""

import hashlib
import json
import shutil
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from data.annotations import load_annotations
from data.check import check_dataset
from data.frames import frame_paths, read_frames
from data.pack import extract
from data.shards import Shards
from data.synthetic.phone import Phone, film
from prepare_dataset import Config, main
from utils.errors import UserError
from utils.image import read_image
from utils.paths import DATASET_FOLDERS

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "fashion_dataset"
CLIPS = ["more_step_one_00", "turn_00"]


def command(videos: Path, output_dir: Path, *flags: str | Path) -> list[str]:
    arguments = ["--videos", videos, "--output_dir", output_dir, "--height", "128", *flags]
    return [sys.executable, str(ROOT / "prepare_dataset.py"), *map(str, arguments)]


def run(
    videos: Path, output_dir: Path, *flags: str | Path, code: int = 0, **options: object
) -> tuple[str, list[str]]:
    """Standard output, and the lines of standard error that begin with "error"."""
    flags = ("--num_workers", "1", *flags)
    done = subprocess.run(
        command(videos, output_dir, *flags), capture_output=True, text=True, cwd=ROOT, **options
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout, [line for line in done.stderr.splitlines() if line.startswith("error")]


def contents(folder: Path) -> dict[str, str]:
    """The hash of each file, but for what depends on the day."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in (".lock", "prepared.json", "README.md")
    }


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, phone_videos: Path) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("prepared") / "dataset"
    printed, errors = run(phone_videos, folder, "--test_share", "0.5")
    assert errors == []
    return folder, printed


def test_two_phone_videos_become_a_dataset(prepared: tuple[Path, str]) -> None:
    folder, printed = prepared
    report = check_dataset(folder, 24, progress=False)
    assert report.problems == [], report.text()
    segments = load_annotations(folder, "train") + load_annotations(folder, "test")
    assert {s.name: (s.start, s.end) for s in segments} == dict.fromkeys(CLIPS, (0, 24))
    texts = {segment.name: segment.text for segment in segments}
    assert "left" in texts["turn_00"] and "right" in texts["more_step_one_00"]
    for name in CLIPS:
        assert read_frames(folder / "fashion_crop" / name).shape == (24, 128, 64, 3)
        masks = [read_image(path) for path in frame_paths(folder / "fashion_masks" / name)]
        assert len(masks) == 24 and {*np.unique(masks)} == {0, 1}
        assert (folder / "sheets" / f"{name}.png").is_file()
        assert name in printed
    known = json.loads((folder / "fashion_poses/turn_00.json").read_text())
    assert np.shape(known["keypoints"]) == (24, 18, 3) and np.shape(known["confidence"]) == (24, 18)
    assert known["source"]["video"] == "turn.mov" and known["source"]["frames"] == list(range(0, 48, 2))
    assert [p.name for p in folder.iterdir() if p.name[0] == "."] in ([".lock"], [])


def test_it_is_said_what_was_done(prepared: tuple[Path, str]) -> None:
    folder, printed = prepared
    table = (folder / "prepared.csv").read_text().splitlines()
    assert table[0] == "video,clip,split,start_s,end_s,frames,sentences,kept,why"
    assert table[1].startswith("more/step one.mp4,more_step_one_00,") and ",24,1,yes," in table[1]
    readme = (folder / "README.md").read_text()
    assert "Licence: TO FILL IN" in readme and "NOT STATED (--consent)" in readme
    assert "Did the people shown agree?" in printed
    split = json.loads((folder / "splits.json").read_text())
    assert sorted(group["split"] for group in split["groups"]) == ["test", "train"]
    assert split["nearest_across"]["distance"] > split["limit"]


def test_the_number_of_workers_changes_nothing(
    tmp_path: Path, prepared: tuple[Path, str], phone_videos: Path
) -> None:
    run(phone_videos, tmp_path / "two", "--test_share", "0.5", "--num_workers", "2")
    assert contents(tmp_path / "two") == contents(prepared[0])


def test_two_local_jobs_do_what_one_process_does(
    tmp_path: Path, prepared: tuple[Path, str], phone_videos: Path
) -> None:
    pytest.importorskip("submitit", reason="pip install -r requirements-dev.txt")
    cluster = ("--jobs", "2", "--cluster", "local", "--job_dir", tmp_path / "jobs")
    shards = ("--shards", tmp_path / "shards", "--clips_per_shard", "1")
    printed, errors = run(phone_videos, tmp_path / "dataset", "--test_share", "0.5", *cluster, *shards)
    assert errors == [] and "2 already prepared" in printed and "2 shards in" in printed
    logs = [path.read_text() for path in (tmp_path / "jobs").rglob("*.out")]
    assert sorted(log.count("1 of 1 videos prepared") for log in logs) == [1, 1]
    assert contents(tmp_path / "dataset") == contents(prepared[0])
    packed = Shards(tmp_path / "shards")
    assert list(packed.clips) == CLIPS
    for name in CLIPS:
        extract(packed, name, tmp_path / "out")
    wanted = {k: v for k, v in contents(prepared[0]).items() if k.split("/")[0] in DATASET_FOLDERS}
    assert contents(tmp_path / "out") == wanted


def test_the_last_step_can_be_done_again_otherwise(
    tmp_path: Path, prepared: tuple[Path, str], phone_videos: Path
) -> None:
    folder = tmp_path / "dataset"
    shutil.copytree(prepared[0], folder)
    texts = tmp_path / "texts.csv"
    texts.write_text(
        "video,start,end,sentence\nturn.mov,0,1.5,She looks aside.\nturn.mov,0,30,Too long.\n"
        "more/step one.mp4,0,1,She steps.\n"
    )
    videos = tmp_path / "videos"
    videos.mkdir()
    shutil.copy2(phone_videos / "turn.mov", videos)  # the other one is gone, its clip stays
    frame = (folder / "fashion_crop/turn_00/003.jpg").stat().st_mtime_ns
    flags = ("--texts", texts, "--test_share", "0", "--consent", "in writing")
    printed, errors = run(videos, folder, *flags, code=2)
    assert "1 videos" in printed and "1 already prepared" in printed
    assert errors[0] == f"error: {texts}:3: the sentence ends at 30, and turn.mov at 2.3 seconds"
    assert (folder / "train/turn_00.txt").read_text() == "0 15 She looks aside.\n"
    assert (folder / "train/more_step_one_00.txt").read_text() == "0 10 She steps.\n"
    assert not list((folder / "test").glob("*"))
    assert f"the sentence at {texts}:3 lies in no clip" in printed
    assert "in writing" in (folder / "README.md").read_text() and "agree?" not in printed
    assert (folder / "fashion_crop/turn_00/003.jpg").stat().st_mtime_ns == frame


def test_settings_of_another_run_are_refused(prepared: tuple[Path, str], phone_videos: Path) -> None:
    _, errors = run(phone_videos, prepared[0], "--fps", "12", code=2)
    assert errors == [
        f"error: {prepared[0]} was prepared with --fps 10.0; give the same, or choose another --output_dir"
    ]
    _, errors = run(phone_videos, SAMPLE, code=2)
    assert "holds another dataset" in errors[0] and not (SAMPLE / ".lock").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"height": 200}, "--height 200 is not a multiple of 16; try --height 192"),
        ({"fps": 0.0}, "--fps 0.0 is out of range; give a number from 1 to 60"),
        ({"min_frames": 300}, "--max_frames 240 is out of range; give a number from 300 to 1000"),
        ({"test_share": 1.0}, "--test_share 1.0 is out of range"),
        ({"keypoints": Path("none")}, "--keypoints none is no folder"),
        ({"texts": Path("none.csv")}, "cannot read --texts none.csv"),
        ({"videos": Path("none")}, "--videos none is no folder"),
        ({"seed": -1}, "--seed -1 must be at least 0"),
        ({"output_dir": Path("none"), "shards": Path("none")}, "--shards none is the dataset's own folder"),
    ],
)
def test_bad_flags_are_refused_before_anything_is_written(
    tmp_path: Path, phone_videos: Path, flags: dict[str, Any], message: str
) -> None:
    config = Config(**{"videos": phone_videos, "output_dir": tmp_path / "new"} | flags)
    with pytest.raises(UserError, match=message):
        main(config)
    assert not (tmp_path / "new").exists()


@pytest.fixture(scope="module")
def bad_videos(tmp_path_factory: pytest.TempPathFactory, turning: np.ndarray) -> Path:
    """Videos that cannot be used, each for its own reason, and one that can."""
    folder = tmp_path_factory.mktemp("bad_videos")
    small = Phone(320, 192, repeats=1)
    film(folder / "good.mp4", list(turning), 10, small)
    content = (folder / "good.mp4").read_bytes()
    (folder / "damaged.mp4").write_bytes(content[: len(content) // 2])
    (folder / "text.mp4").write_text("this is no video")
    film(folder / "black.mp4", [np.zeros((256, 128, 3), np.uint8)] * 30, 10, small)
    film(folder / "legs.mp4", [frame[300:, 60:196] for frame in turning], 10, small)
    film(folder / "short.mp4", list(turning[:12]), 10, small)
    film(folder / "long.mp4", list(turning), 0.25, small)
    with av.open(str(folder / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=44_100)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        sound.sample_rate, sound.time_base, sound.pts = 44_100, Fraction(1, 44_100), 0
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    return folder


def test_what_cannot_be_used_is_named_and_the_rest_is_done(tmp_path: Path, bad_videos: Path) -> None:
    folder = tmp_path / "dataset"
    printed, errors = run(bad_videos, folder, "--max_minutes", "1", code=2)
    named = {Path(line.split()[1]).name: line for line in errors[:-1]}
    assert set(named) == {"damaged.mp4", "text.mp4", "long.mp4", "sound.mp4"}
    assert "damaged or cut off; copy it again, or encode it anew" in named["damaged.mp4"]
    assert "cannot be read as mp4 video" in named["text.mp4"]
    assert "longer than 1 minutes; cut it, or raise --max_minutes" in named["long.mp4"]
    assert "holds no pictures" in named["sound.mp4"]
    assert errors[-1] == "error: 4 of 8 videos could not be prepared, see above; the others are done"
    assert [path.name for path in (folder / "fashion_crop").iterdir()] == ["good_00"]
    assert check_dataset(folder, 24, progress=False).counts["train"].usable_segments == 1
    table = (folder / "prepared.csv").read_text()
    assert "black.mp4,,,0.0,3.0,30,,no,nobody is found" in table
    assert "legs.mp4,,,0.0" in table and "short.mp4,,,0.0,1.2,12,,no,fewer than 24 frames" in table
    assert "sound.mp4" in table and table.count("yes") == 1 == printed.count(" yes")


@pytest.mark.parametrize("place", ["dataset", "."])
def test_the_same_command_goes_on_where_the_dataset_lies_among_its_videos(
    tmp_path: Path, bad_videos: Path, place: str
) -> None:
    shutil.copy2(bad_videos / "good.mp4", tmp_path)
    for prepared in (0, 1):
        printed, errors = run(tmp_path, tmp_path / place)
        assert errors == [] and f"1 videos in {tmp_path}, {prepared} already prepared" in printed


def test_a_users_own_readme_among_the_videos_stays(tmp_path: Path, bad_videos: Path) -> None:
    shutil.copy2(bad_videos / "good.mp4", tmp_path)
    (tmp_path / "README.md").write_text("mine")
    _, (error,) = run(tmp_path, tmp_path, code=2)
    assert "README.md would be replaced" in error
    assert (tmp_path / "README.md").read_text() == "mine"


def test_a_folder_of_which_nothing_is_kept_is_an_error(tmp_path: Path, bad_videos: Path) -> None:
    (tmp_path / "videos").mkdir()
    shutil.copy2(bad_videos / "black.mp4", tmp_path / "videos")
    printed, errors = run(tmp_path / "videos", tmp_path / "dataset", code=2)
    assert "nobody is found" in printed
    assert errors == [f"error: no clip was kept; {tmp_path / 'dataset' / 'prepared.csv'} says why"]


def test_a_full_disk_is_one_line_and_the_same_command_goes_on(tmp_path: Path, bad_videos: Path) -> None:
    resource = pytest.importorskip("resource")
    videos, folder = tmp_path / "videos", tmp_path / "dataset"
    videos.mkdir()
    shutil.copy2(bad_videos / "good.mp4", videos)

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))

    _, errors = run(videos, folder, "--picture_format", "png", code=2, preexec_fn=small_files)
    assert len(errors) == 1 and "cannot write" in errors[0] and "free some space" in errors[0]
    assert not list((folder / "fashion_crop").iterdir())
    printed, errors = run(videos, folder, "--picture_format", "png")
    assert errors == [] and " yes" in printed


def test_a_kill_leaves_nothing_half_written(
    tmp_path: Path, prepared: tuple[Path, str], phone_videos: Path
) -> None:
    folder = tmp_path / "dataset"
    started = subprocess.Popen(
        command(phone_videos, folder, "--test_share", "0.5", "--num_workers", "1"),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while not list(folder.glob("fashion_crop/.*/new/01*.jpg")) and time.monotonic() < deadline:
        time.sleep(0.005)
    started.kill()
    started.wait()
    (folder / ".splits-abc.json").write_text("{")  # as a kill in the last step leaves it
    assert not list(folder.glob("records/*.json")) or not list(folder.glob("t*/*.txt"))
    run(phone_videos, folder, "--test_share", "0.5")
    assert contents(folder) == contents(prepared[0])


@pytest.mark.parametrize("num_workers", ["1", "2"])
def test_sigterm_ends_it_soon_and_leaves_nothing_half_written(
    tmp_path: Path, phone_videos: Path, num_workers: str
) -> None:
    folder = tmp_path / "dataset"
    started = subprocess.Popen(
        command(phone_videos, folder, "--num_workers", num_workers),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while not list(folder.glob("fashion_crop/.*/new/01*.jpg")) and time.monotonic() < deadline:
        time.sleep(0.005)
    started.terminate()
    assert started.wait(30) == 143
    assert [path for path in folder.rglob("*") if path.name[0] == "."] == []


def test_given_joints_take_the_place_of_the_finder(tmp_path: Path, turning: np.ndarray) -> None:
    place = film(tmp_path / "videos/turn.mp4", list(turning), 10, Phone(320, 192, repeats=2))
    truth = np.array(json.loads((SAMPLE / "fashion_poses/test_00000.json").read_text())["keypoints"])
    joints = np.repeat(place.to_fitted(truth), 2, axis=0)
    joints[joints[..., 2] == 0] = 0
    frames = [{"people": [{"pose_keypoints_2d": pose.ravel().tolist()}]} for pose in joints]
    (tmp_path / "joints").mkdir()
    size = {"canvas_height": 320, "canvas_width": 192}
    (tmp_path / "joints/turn.json").write_text(json.dumps([frame | size for frame in frames]))
    folder = tmp_path / "dataset"
    printed, errors = run(tmp_path / "videos", folder, "--keypoints", tmp_path / "joints")
    assert errors == [] and "no masks: the joints were given" in printed
    known = json.loads((folder / "fashion_poses/turn_00.json").read_text())
    found, crop = np.array(known["keypoints"]), known["source"]["crop"]
    assert ((found[..., 2] > 0) == (truth[..., 2] > 0)).all()
    in_video = ((found[..., :2] + 0.5) / (64, 128) * crop[2:] + crop[:2]) * (192, 320) - 0.5
    seen = truth[..., 2] > 0
    assert np.abs(in_video - joints[::2, :, :2])[seen].max() < 0.1
    (tmp_path / "joints/turn.json").write_text(json.dumps([frame | size for frame in frames[:20]]))
    _, errors = run(tmp_path / "videos", tmp_path / "other", "--keypoints", tmp_path / "joints", code=2)
    assert "the joints of turn.mp4 are of 20 frames, the video has about 47" in errors[0]


def test_faces_are_blurred(tmp_path: Path, prepared: tuple[Path, str], phone_videos: Path) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    shutil.copy2(phone_videos / "turn.mov", videos)
    printed, _ = run(videos, tmp_path / "dataset", "--blur_faces")
    assert "No clip is for test: all are of one video, or show the same person." in printed
    x, y, _ = json.loads((tmp_path / "dataset/fashion_poses/turn_00.json").read_text())["keypoints"][0][0]
    face = np.s_[int(y) - 4 : int(y) + 4, int(x) - 3 : int(x) + 4]
    sharp, blurred = (
        cv2.Laplacian(read_image(d / "fashion_crop/turn_00/000.jpg")[face].mean(axis=2), cv2.CV_64F).std()
        for d in (prepared[0], tmp_path / "dataset")
    )
    assert blurred < 0.5 * sharp
    assert "Faces are blurred." in (tmp_path / "dataset/README.md").read_text()


def test_of_several_people_the_one_in_the_middle_is_followed(tmp_path: Path, turning: np.ndarray) -> None:
    other = read_frames(SAMPLE / "fashion_crop/test_00001")
    pair = [
        np.concatenate([a, b, np.full_like(a, 255)[:, :200]], axis=1)
        for a, b in zip(turning, other, strict=True)
    ]
    film(tmp_path / "videos/pair.mp4", pair, 10, Phone(360, 640, share=0.9, repeats=1))
    printed, errors = run(tmp_path / "videos", tmp_path / "dataset")
    assert errors == [] and "another person is beside her; the one nearest to the middle" in printed
    crop = json.loads((tmp_path / "dataset/fashion_poses/pair_00.json").read_text())["source"]["crop"]
    assert 0.35 < crop[0] + crop[2] / 2 < 0.65
