"""The sweep of the guidance scales on a toy model: what it writes, resuming, mistakes."""

import csv
import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import guidance_sweep
from benchmarks.guidance_sweep import Config, Setting, list_settings
from models.pose_finder import SHIPPED_FINDER
from utils.errors import UserError
from utils.files import read_json, write_json
from utils.image import read_image

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def config(tiny_pipeline_dir: Path, tiny_dataset_dir: Path, tmp_path: Path) -> Config:
    """The toy model on the toy dataset with motion labels."""
    for name, motion in (("anna", "turn_left"), ("berta", "step_right")):
        path = tiny_dataset_dir / "fashion_poses" / f"{name}.json"
        write_json(path, read_json(path) | {"motion": motion})
    return Config(
        pretrained_model=tiny_pipeline_dir,
        dataset=tiny_dataset_dir,
        output_dir=tmp_path / "out",
        values=(0.0, 2.0),
        num_inference_steps=1,
        device="cpu",
    )


def test_scales_share_the_neutral_setting(config: Config) -> None:
    settings = list_settings(config)
    assert len({setting.key for setting in settings}) == len(settings) == 1 + 3 * 2 + 3
    assert Setting("pose", 1.0).key == Setting("text", 1.0).key
    assert Setting("pose", 0.5).folder == "image_1_pose_0.5_text_1"
    only_photo = list_settings(dataclasses.replace(config, scales=("image",)))
    assert [setting.value for setting in only_photo] == [0.0, 1.0, 2.0]


def test_a_sweep_writes_curves_table_and_figure(config: Config) -> None:
    command = [
        sys.executable, "-m", "benchmarks.guidance_sweep", "--pretrained_model", config.pretrained_model,
        "--dataset", config.dataset, "--output_dir", config.output_dir, "--values", 0, 2,
        "--num_inference_steps", 1, "--pose_finder", SHIPPED_FINDER, "--device", "cpu",
    ]  # fmt: skip
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "guidance: 100%" in done.stderr

    document = read_json(config.output_dir / "guidance.json")
    assert document["num_clips"] == 2
    curves = document["curves"]
    assert list(curves) == ["image", "pose", "text"]
    for scale, measures in curves.items():
        points = measures["flicker"]
        assert [point["value"] for point in points] == [0, 1, 2]
        assert points[1] == curves["image"]["flicker"][1], "the neutral setting is the same for all scales"
        assert points[1]["change"]["mean"] == 0 and points[1]["n"] == 2
        assert points[2]["mean"] != points[1]["mean"], f"the scale of the {scale} changes nothing"
        assert points[2]["change"]["mean"] == pytest.approx(points[2]["mean"] - points[1]["mean"])
        assert measures["garment_color_error"][0]["note"] == "not computed: no masks (fashion_masks)"
        assert measures["pck"][0]["n"] == 2
    for name in ("accuracy_attention_only", "conflict_follows_text", "conflict_follows_poses"):
        assert [point["n"] for point in curves["text"][f"motion_{name}"]] == [2, 2, 2]
        assert f"motion_{name}" not in curves["image"]

    with (config.output_dir / "guidance.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * sum(len(measures) for measures in curves.values())
    row = next(r for r in rows if (r["scale"], r["value"], r["measure"]) == ("pose", "2.0", "flicker"))
    assert float(row["mean"]) == curves["pose"]["flicker"][2]["mean"]
    assert float(row["change_low"]) == curves["pose"]["flicker"][2]["change"]["ci_low"]
    height, width = read_image(config.output_dir / "guidance.png").shape[:2]
    assert height > 800 and width > 800
    for folder, condition in (
        ("image_2_pose_1_text_1", "videos"),
        ("image_1_pose_1_text_0", "videos_conflict"),
    ):
        assert (config.output_dir / folder / condition / "berta.mp4").is_file()
    assert not (config.output_dir / "image_2_pose_1_text_1" / "videos_conflict").exists()


def test_only_what_is_missing_is_measured(config: Config, tmp_path: Path) -> None:
    first = dataclasses.replace(config, scales=("image",), max_clips=1)
    guidance_sweep.main(first)
    path = config.output_dir / "guidance.json"
    document = read_json(path)
    kept = document["clips"]["anna"][Setting("image", 2.0).key]
    kept["flicker"] = -1.0
    write_json(path, document)

    more = dataclasses.replace(config, scales=("image", "pose"), values=(0.5, 2.0))
    guidance_sweep.main(more)
    document = read_json(path)
    assert document["clips"]["anna"][Setting("image", 2.0).key]["flicker"] == -1.0
    assert {Setting("image", 0.0).key, Setting("image", 0.5).key} <= set(document["clips"]["anna"])
    assert set(document["clips"]["berta"]) == {setting.key for setting in list_settings(more)}
    assert [point["value"] for point in document["curves"]["image"]["flicker"]] == [0.5, 1, 2]

    video = config.output_dir / Setting("pose", 2.0).folder / "videos" / "anna.mp4"
    written = video.stat().st_mtime_ns
    before = path.read_bytes()
    elsewhere = shutil.copytree(SHIPPED_FINDER, tmp_path / "finder")
    guidance_sweep.main(dataclasses.replace(more, pose_finder=elsewhere))
    assert video.stat().st_mtime_ns == written and path.read_bytes() == before


def test_a_straight_sweep_and_a_resumed_one_agree(config: Config) -> None:
    resumed = dataclasses.replace(config, scales=("text",), output_dir=config.output_dir / "resumed")
    for max_clips in (1, 2):
        guidance_sweep.main(dataclasses.replace(resumed, max_clips=max_clips))
    straight = dataclasses.replace(resumed, output_dir=config.output_dir / "straight")
    guidance_sweep.main(straight)
    for name in ("guidance.json", "guidance.csv", "guidance.png"):
        assert (resumed.output_dir / name).read_bytes() == (straight.output_dir / name).read_bytes(), name


def test_measurements_of_another_model_or_with_other_settings_are_not_mixed(config: Config) -> None:
    config = dataclasses.replace(config, scales=("image",), max_clips=1)
    guidance_sweep.main(config)
    with pytest.raises(UserError, match=r"num_inference_steps was 1 and is 2; give another --output_dir"):
        guidance_sweep.main(dataclasses.replace(config, num_inference_steps=2))
    path = config.output_dir / "guidance.json"
    document = read_json(path)
    document["settings"]["pose_finder_sha256"] = "0" * 64
    write_json(path, document)
    with pytest.raises(UserError, match="pose_finder_sha256 was"):
        guidance_sweep.main(config)
    write_json(path, [])
    with pytest.raises(UserError, match="was not written by a sweep"):
        guidance_sweep.main(config)


def test_what_cannot_be_read_says_why_and_is_not_made(config: Config) -> None:
    for name in ("anna", "berta"):
        path = config.dataset / "fashion_poses" / f"{name}.json"
        write_json(path, {key: value for key, value in read_json(path).items() if key != "motion"})
    guidance_sweep.main(dataclasses.replace(config, scales=("text",), max_clips=1))
    curves = read_json(config.output_dir / "guidance.json")["curves"]["text"]
    for name, reason in (
        ("motion_conflict_follows_text", "no clip of another motion"),
        ("motion_accuracy_attention_only", "no motion label"),
    ):
        for point in curves[name]:
            assert point["note"].startswith(f"not computed: {reason}"), name
    assert curves["flicker"][0]["n"] == 1
    assert not (config.output_dir / Setting().folder / "videos_conflict").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"values": (1.0,)}, "--values holds nothing but 1"),
        ({"values": ()}, "--values holds nothing but 1"),
        ({"values": (0.0, -1.0)}, "--values 0 -1: a scale is a number from 0"),
        ({"values": (float("nan"), 2.0)}, "--values nan 2"),
        ({"scales": ()}, "--scales is empty"),
        ({"max_clips": 0}, "--max_clips 0"),
        ({"num_frames": 2}, "--num_frames 2"),
        ({"width": 32}, "--height and --width"),
        ({"dataset": Path("nowhere")}, "nowhere"),
        ({"pretrained_model": Path("nowhere")}, "nowhere"),
        ({"pose_finder": Path("nowhere")}, "weights nowhere/pose_landmark_full.tflite cannot be read"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(config: Config, changes: dict, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        guidance_sweep.main(dataclasses.replace(config, **changes))
    assert "\n" not in str(caught.value)
    assert not config.output_dir.exists()
