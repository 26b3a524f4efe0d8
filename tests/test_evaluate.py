"""evaluate.py through its command line, on a toy model and on videos that are there already."""

import dataclasses
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import evaluate
from diffusion.pipeline import X2FashionPipeline
from evaluate import Config
from evaluation.clips import list_clips, load_clip
from evaluation.measure import MEASURES
from evaluation.videos import sample_video
from generation.inputs import Inputs
from tests.evaluation.conftest import rendered_dir, write_long_video  # noqa: F401
from tests.toys import SENTENCES
from utils.config import run_script
from utils.errors import UserError
from utils.files import read_json, write_json
from utils.image import read_image, write_png
from utils.pose_drawing import MIRRORED
from utils.video import read_video
from warping.body import FRONT_OF_FACE

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def tiny_config(tiny_pipeline_dir: Path, tiny_dataset_dir: Path, tmp_path: Path) -> Config:
    """The toy model on the toy dataset."""
    return Config(
        pretrained_model=tiny_pipeline_dir,
        dataset=tiny_dataset_dir,
        output_dir=tmp_path / "out",
        num_inference_steps=1,
        device="cpu",
    )


@pytest.fixture
def true_videos(rendered_dir: Path, tmp_path: Path) -> Path:  # noqa: F811
    """The true frames of two rendered test clips, as folders of pictures."""
    for source in list_clips(rendered_dir, "test", "x2fashion", 4)[:2]:
        for index, frame in enumerate(load_clip(rendered_dir, source).frames):
            write_png(tmp_path / "videos" / source.name / f"{index:03d}.png", frame)
    return tmp_path / "videos"


def test_true_videos_are_perfect(rendered_dir: Path, true_videos: Path, tmp_path: Path) -> None:  # noqa: F811
    output = tmp_path / "out"
    command = [
        sys.executable, ROOT / "evaluate.py", "--dataset", rendered_dir, "--videos", true_videos,
        "--num_frames", 4, "--max_clips", 2, "--output_dir", output, "--pretrained_model", tmp_path / "none",
    ]  # fmt: skip
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, cwd=ROOT, timeout=500)
    assert done.returncode == 0, done.stderr
    metrics = read_json(output / "metrics.json")
    for name, perfect in {
        "garment_color_error": 0,
        "motion_ratio": 1,
        "l1": 0,
        "ssim": 1,
        "flicker": 0,
    }.items():
        assert metrics[name] == pytest.approx(
            {"mean": perfect, "ci_low": perfect, "ci_high": perfect, "n": 2}
        )
    assert metrics["silhouette_iou"]["mean"] > 0.92
    assert metrics["silhouette_iou"] == metrics["controls"]["truth"]["silhouette_iou"]
    assert metrics["joint_error"]["mean"] < 4 and metrics["pck"]["mean"] > 0.8
    assert (
        metrics["controls"]["photo_copied"]["l1"]["mean"]
        > metrics["controls"]["photo_warped"]["l1"]["mean"]
        > 0
    )
    assert metrics["controls"]["vae_reconstruction"]["l1"] == "not computed: no VAE; give --vae DIR"
    assert metrics["lpips"].startswith("not computed: no weights; give --lpips_weights")
    assert set(MEASURES) <= set(metrics)
    assert all(read_image(output / f"{sheet}.png").size for sheet in ("best", "median", "worst"))
    table = (output / "metrics.md").read_text()
    for row in ("videos", *metrics["controls"]):
        assert f"| {row} |" in table and f"\n{row},ssim," in (output / "metrics.csv").read_text()
    assert read_json(output / "settings.json")["num_frames"] == 4


def test_a_model_is_measured_and_what_a_dataset_lacks_is_said(
    tiny_config: Config,
) -> None:
    for path in (tiny_config.dataset / "fashion_poses").glob("*.json"):
        path.unlink()  # the skeletons' colours can be read
    evaluate.main(tiny_config)
    metrics = read_json(tiny_config.output_dir / "metrics.json")
    assert metrics["silhouette_iou"] == "not computed: no masks (fashion_masks)"
    assert metrics["garment_color_error"] == "not computed: no masks (fashion_masks)"
    assert metrics["motion_accuracy_with_poses"].startswith("not computed: no motion label")
    # Whether somebody is found in a tiny model's dots, and a joint in its place, depends on the processor.
    assert (
        metrics["joint_error"] == "not computed: nobody was found in the video" or metrics["joint_error"]["n"]
    )
    assert metrics["pck"]["mean"] < 0.1
    assert metrics["psnr"]["n"] == 2 and metrics["psnr"]["ci_low"] <= metrics["psnr"]["mean"]
    assert isinstance(metrics["controls"]["vae_reconstruction"]["psnr"], dict)
    assert len(read_video(tiny_config.output_dir / "videos/anna.mp4")[0]) == 6
    assert metrics["clips"]["anna"]["psnr"] != metrics["clips"]["berta"]["psnr"]

    again = dataclasses.replace(tiny_config, output_dir=tiny_config.output_dir.with_name("again"))
    evaluate.main(again)
    for name in ("metrics.json", "metrics.csv", "videos/anna.mp4"):
        assert (again.output_dir / name).read_bytes() == (tiny_config.output_dir / name).read_bytes()

    other = dataclasses.replace(again, seed=1)
    evaluate.main(other)
    assert read_json(other.output_dir / "metrics.json")["psnr"] != metrics["psnr"]


def test_videos_that_were_made_can_be_measured_again(tiny_config: Config) -> None:
    evaluate.main(tiny_config)
    config = dataclasses.replace(
        tiny_config, videos=tiny_config.output_dir / "videos", output_dir=tiny_config.output_dir / "again"
    )
    evaluate.main(config)
    made, given = (read_json(c.output_dir / "metrics.json")["l1"]["mean"] for c in (tiny_config, config))
    assert given == pytest.approx(made, rel=0.1)


@pytest.fixture
def labelled_config(tiny_config: Config) -> Config:
    """The toy dataset with motion labels."""
    for name, motion in (("anna", "turn_left"), ("berta", "step_right")):
        path = tiny_config.dataset / "fashion_poses" / f"{name}.json"
        write_json(path, read_json(path) | {"motion": motion})
    return tiny_config


def test_videos_are_also_made_from_the_sentence_alone_and_from_a_wrong_one(labelled_config: Config) -> None:
    evaluate.main(labelled_config)
    metrics = read_json(labelled_config.output_dir / "metrics.json")
    for name in ("with_poses", "text_only"):
        assert metrics[f"motion_accuracy_{name}"]["n"] == 2
    for name in ("poses", "text"):
        assert metrics[f"motion_conflict_follows_{name}"]["n"] == 2
    assert metrics["pck"]["n"] == 2
    assert metrics["clips"]["anna"]["wrong_clip"] == "berta"
    assert metrics["motion_rules_on_true_joints"]["mean"] == 0
    with_poses, text_only, conflict = (
        read_video(labelled_config.output_dir / folder / "anna.mp4")[0].astype(float)
        for folder in ("videos", "videos_text_only", "videos_conflict")
    )
    assert np.abs(with_poses - text_only).max() > 8
    assert conflict.shape == with_poses.shape


def test_a_model_that_sentences_do_not_move_says_so(labelled_config: Config, tmp_path: Path) -> None:
    model = shutil.copytree(labelled_config.pretrained_model, tmp_path / "without")
    shutil.rmtree(model / "text_to_poses")
    config = dataclasses.replace(
        labelled_config, pretrained_model=model, conditions=("poses", "text"), max_clips=1
    )
    evaluate.main(config)
    metrics = read_json(config.output_dir / "metrics.json")
    assert metrics["motion_accuracy_text_only"].startswith(f"not computed: {model} holds no text-to-poses")


def test_a_dataset_without_labels_is_measured_but_for_the_sentence(labelled_config: Config) -> None:
    for name in ("anna", "berta"):
        path = labelled_config.dataset / "fashion_poses" / f"{name}.json"
        write_json(path, {k: v for k, v in read_json(path).items() if k != "motion"})
    evaluate.main(labelled_config)
    metrics = read_json(labelled_config.output_dir / "metrics.json")
    for name in ("motion_accuracy_with_poses", "motion_accuracy_text_only", "motion_rules_on_true_joints"):
        assert metrics[name] == "not computed: no motion label (fashion_poses/NAME.json)"
    assert metrics["pck"]["n"] == 2
    assert not (labelled_config.output_dir / "videos_text_only").exists()


def test_joints_by_another_estimator_are_measured_beside_ours(labelled_config: Config) -> None:
    joints = labelled_config.dataset / "fashion_poses"
    config = dataclasses.replace(labelled_config, conditions=("poses",), estimated_joints=joints)
    evaluate.main(config)
    metrics = read_json(config.output_dir / "metrics.json")
    perfect = {"joint_error_external": 0, "pck_external": 1}
    for name, value in perfect.items():
        expected = {"mean": value, "ci_low": value, "ci_high": value, "n": 2}
        assert metrics[name] == pytest.approx(expected, abs=1e-4)
        assert metrics["controls"]["truth"][name].startswith("not computed: no joints by another estimator")


def test_humanvid24_makes_and_measures_24_frames_of_a_clip_of_70(tiny_config: Config, tmp_path: Path) -> None:
    write_long_video(tmp_path / "long", 70, f"0 70 {SENTENCES[0]}\n")
    config = dataclasses.replace(tiny_config, dataset=tmp_path / "long", protocol="humanvid24")
    evaluate.main(config)
    metrics = read_json(config.output_dir / "metrics.json")
    assert (metrics["protocol"], metrics["num_clips"]) == ("humanvid24", 1)
    assert metrics["l1"]["n"] == metrics["warping_error"]["n"] == metrics["flicker"]["n"] == 1
    assert metrics["controls"]["truth"]["l1"]["mean"] == 0
    assert metrics["controls"]["photo_copied"]["l1"]["mean"] > 0
    assert len(read_video(config.output_dir / "videos/dora.mp4")[0]) == 24


def test_the_sentence_alone_is_measured_without_sheets(labelled_config: Config) -> None:
    evaluate.main(dataclasses.replace(labelled_config, conditions=("text",)))
    assert read_json(labelled_config.output_dir / "metrics.json")["psnr"].startswith("not computed")
    assert not (labelled_config.output_dir / "best.png").exists()


def test_conditions_that_are_not_wanted_are_not_made(labelled_config: Config) -> None:
    config = dataclasses.replace(labelled_config, conditions=("poses",))
    evaluate.main(config)
    metrics = read_json(config.output_dir / "metrics.json")
    assert metrics["motion_accuracy_text_only"].startswith(
        "not computed: no such videos; give --videos_text_only"
    )
    assert not (config.output_dir / "videos_text_only").exists()


def test_the_photo_may_be_another_frame_and_any_number_of_frames_is_made(
    tiny_config: Config, make_tiny_pipeline: Callable[..., X2FashionPipeline]
) -> None:
    pipeline = make_tiny_pipeline("dpmsolver++", temporal_downsample=(False, True))
    assert pipeline.denoiser.frame_multiple == 2
    source = list_clips(tiny_config.dataset, "test", "x2fashion", 5)[0]
    first, middle = (
        load_clip(tiny_config.dataset, s) for s in (source, dataclasses.replace(source, photo_index=3))
    )
    videos = [sample_video(tiny_config, pipeline, clip, "She turns.") for clip in (first, middle)]
    assert all(video.shape == first.frames.shape for video in videos)
    assert not np.array_equal(*videos)


def test_a_face_that_her_head_hides_is_in_no_skeleton(
    tiny_config: Config, make_tiny_pipeline: Callable[..., X2FashionPipeline], monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = load_clip(tiny_config.dataset, list_clips(tiny_config.dataset, "test", "x2fashion", 5)[0])
    assert clip.joints is not None and clip.joints[:3, FRONT_OF_FACE, 2].all()
    behind = clip.joints.copy()
    behind[2] = behind[2, MIRRORED]  # as estimators name her from behind
    seen: list[Inputs] = []

    def made(config: Config, pipeline: object, place: object, inputs: Inputs, count: int) -> np.ndarray:
        seen.append(inputs)
        return np.repeat(inputs.photo[None], count, 0)

    monkeypatch.setattr("evaluation.videos.make_video", made)
    for joints in (clip.joints, behind):
        sample_video(
            tiny_config, make_tiny_pipeline(), dataclasses.replace(clip, joints=joints), "She turns."
        )
    as_given, without = seen
    assert as_given.joints is not None and np.array_equal(as_given.joints[:5], clip.joints[:5])
    assert without.joints is not None and not without.joints[2, FRONT_OF_FACE].any()
    assert without.poses is not None and not np.array_equal(without.poses[2], clip.poses[2])
    assert np.array_equal(without.poses[[0, 1, 3]], clip.poses[[0, 1, 3]])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_frames": 2}, "--num_frames 2"),
        ({"max_clips": 0}, "--max_clips 0"),
        ({"sheet_measure": "beauty"}, "--sheet_measure beauty"),
        ({"height": 64}, "--height and --width"),
        ({"pose_finder": Path("none")}, "weights none/pose_landmark_full.tflite cannot be read"),
        ({"protocol": "humanvid24"}, "needs segments of 70 frames"),
        ({"videos": Path("nowhere")}, "holds no video for clip anna"),
        ({"lpips_weights": Path("none.pt")}, "not a TorchScript file"),
    ],
)
def test_mistakes_are_one_line(tiny_config: Config, changes: dict, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        evaluate.main(dataclasses.replace(tiny_config, **changes))
    assert "\n" not in str(caught.value)


def test_a_failed_run_leaves_settings_and_metrics_of_the_run_before(tiny_config: Config) -> None:
    tiny_config.output_dir.mkdir()
    (tiny_config.output_dir / "settings.json").write_text("of before")
    with pytest.raises(UserError, match="holds no video for clip anna"):
        evaluate.main(dataclasses.replace(tiny_config, videos=Path("nowhere")))
    assert (tiny_config.output_dir / "settings.json").read_text() == "of before"


def test_a_mistake_exits_with_status_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(sys, "argv", ["evaluate.py", "--dataset", str(tmp_path), "--videos", str(tmp_path)])
    with pytest.raises(SystemExit) as stopped:
        run_script(evaluate.main, Config, evaluate.__doc__)
    assert stopped.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ") and message.count("\n") == 1


def test_a_photo_of_her_back_is_given_and_not_measured(rendered_dir: Path, tiny_config: Config) -> None:  # noqa: F811
    short = {"num_frames": 8, "max_clips": 1, "conditions": ("poses",), "height": 64, "width": 32}
    settings = dataclasses.replace(tiny_config, dataset=rendered_dir, **short)
    means = []
    for number, back_photo in enumerate((False, True)):
        output = tiny_config.output_dir / str(number)
        evaluate.main(dataclasses.replace(settings, back_photo=back_photo, output_dir=output))
        means.append(read_json(output / "metrics.json")["psnr"]["mean"])
    first, second = (read_video(tiny_config.output_dir / n / "videos/test_00000.mp4")[0] for n in "01")
    assert not np.array_equal(first[-1], second[-1]) and means[0] != means[1]
