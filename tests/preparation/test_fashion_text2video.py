"""The Fashion-Text2Video download, made up small in its layout, becomes a dataset that can be trained on."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from data.annotations import load_annotations
from data.check import check_dataset
from data.frames import read_frames
from preparation.fashion_text2video import meaning, read_download
from utils.errors import UserError
from utils.image import write_png

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "fashion_dataset" / "fashion_crop"
VIDEOS = {"A1F1j+kNaDS": "test_00000", "81FyMPk-WIS": "test_00001"}
TEMPLATES = {
    "gender": ["The lady", "The girl"],
    "3": ["<Gender> turns left and comes back.", "<gender> is turning to the left.".replace("<g", "<G")],
    "7": ["<Gender> moves to the right."],
}


def unpack(folder: Path, frames: bool = True, texts: bool = False) -> Path:
    """Two videos of 24 frames in the download's layout."""
    for name, clip in VIDEOS.items() if frames else ():
        for number, frame in enumerate(read_frames(SAMPLE / clip)):
            write_png(folder / f"FashionDataset_frames_crop/{name}/{number:03d}.png", frame)
    labels = {"A1F1j+kNaDS": "0 23 3\n", "81FyMPk-WIS": "0 11 22\n\n0 23 7\n"}
    spoken = {"A1F1j+kNaDS": "0 23 She  turns to the left.\n", "81FyMPk-WIS": "0 23 She steps right.\n"}
    for part, lines in (("action_label", labels), ("motion_texts", spoken if texts else {})):
        for name, content in lines.items():
            (folder / "labels" / part).mkdir(parents=True, exist_ok=True)
            (folder / "labels" / part / f"{name}.txt").write_text(content)
    (folder / "caption_motion_template.json").write_text(json.dumps(TEMPLATES))
    (folder / "captions_app.json").write_text(json.dumps({"A1F1j+kNaDS": "A dress."}))
    (folder / "moving_frames.npy").write_bytes(b"\x80\x04cos\nsystem\n(S'touch opened'\ntR.")
    (folder / "train_frame_num.txt").write_text("A1F1j+kNaDS 24\n")
    (folder / "test_frame_num.txt").write_text("81FyMPk-WIS 24\n")
    return folder


def run(script: str, *flags: object, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, str(ROOT / script), *map(str, flags)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    root = tmp_path_factory.mktemp("download")
    unpack(root / "download")
    flags = (
        "--format",
        "fashion_text2video",
        "--videos",
        root / "download",
        "--output_dir",
        root / "dataset",
    )
    printed = run(
        "prepare_dataset.py",
        *flags,
        "--fps",
        30,
        "--height",
        128,
        "--picture_format",
        "png",
        "--num_workers",
        1,
    )
    return root / "dataset", printed


def test_the_download_becomes_a_dataset(prepared: tuple[Path, str]) -> None:
    folder, _ = prepared
    report = check_dataset(folder, 24, progress=False)
    assert report.problems == [], report.text()
    (train,), (test,) = load_annotations(folder, "train"), load_annotations(folder, "test")
    assert (train.name, train.start, train.end) == ("A1F1j_kNaDS_00", 0, 24)
    assert "left" in train.text and train.text.startswith("The ") and "<" not in train.text
    assert (test.name, test.start, test.end) == ("81FyMPk-WIS_00", 0, 24)
    assert test.text in ("The lady moves to the right.", "The girl moves to the right.")
    whole = read_frames(SAMPLE / "test_00000").astype(np.float64)
    small = whole.reshape(24, 128, 4, 64, 4, 3).mean(axis=(2, 4))
    assert np.abs(read_frames(folder / "fashion_crop" / train.name) - small).max() <= 1
    assert "non-commercial research alone" in (folder / "README.md").read_text()
    assert "the lists that came with the videos" in (folder / "splits.json").read_text()


def test_labels_are_mapped_and_compared_with_the_joints(prepared: tuple[Path, str]) -> None:
    known = json.loads((prepared[0] / "labels.json").read_text())
    assert {label: row["motion"] for label, row in known["labels"].items()} == {
        "3": "turn_left",
        "7": "step_right",
        "22": "",
    }
    assert known["labels"]["3"]["read_in_the_joints"] == {"turn_left": 1}
    assert known["labels"]["7"]["read_in_the_joints"] == {"step_right": 1}
    assert known["clips"]["A1F1j_kNaDS_00"] == [{"start": 0, "end": 24, "label": 3, "motion": "turn_left"}]


def test_it_can_be_trained_on(prepared: tuple[Path, str], tiny_pipeline_dir: Path, tmp_path: Path) -> None:
    models = ("--vae", tiny_pipeline_dir / "vae", "--warper", None)
    flags = ("--dataset", prepared[0], "--output_dir", tmp_path / "latents", *models)
    assert "projected 2 videos" in run("project_latent_space.py", *flags)
    settings = {"max_train_steps": 2, "train_batch_size": 1, "preset": "tiny", "num_samples": 0}
    run(
        "train.py", "--dataset", prepared[0], "--latents", tmp_path / "latents", *models,
        "--text_encoder", tiny_pipeline_dir / "text_encoder", "--output_dir", tmp_path / "run",
        *(x for key, value in settings.items() for x in (f"--{key}", value)),
    )  # fmt: skip
    lines = [json.loads(line) for line in (tmp_path / "run/losses.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [1, 2]
    assert [line["step"] for line in lines if "validation_loss" in line] == [2]


def test_motion_texts_come_before_templates(tmp_path: Path) -> None:
    download = read_download(unpack(tmp_path, texts=True), seed=0)
    assert {text.sentence for text in download.texts} == {"She turns to the left.", "She steps right."}
    assert {(text.start, text.end) for text in download.texts} == {(0, 24)}
    assert sorted(part.label for part in download.labels) == [3, 7, 22]
    assert download.sides == {
        "FashionDataset_frames_crop/A1F1j+kNaDS": "train",
        "FashionDataset_frames_crop/81FyMPk-WIS": "test",
    }


@pytest.mark.parametrize(
    ("sentences", "label"),
    [
        (["The lady turns right from the front to the side."], "turn_right"),
        (["The person is moving to the center from the right."], "step_left"),
        (["The girl moves to the left.", "A lady steps to the left side."], "step_left"),
        (["She turns around and shows her back."], "turn_around"),
        (["She walks toward the camera."], "walk_forward"),
        (["The woman raises her left hand."], "raise_left_arm"),
        (["She puts both hands on her hips."], "hands_on_hips"),
        (["She puts her right hand on the hip."], "right_hand_on_hip"),
        (["She stands still."], "stand_sway"),
        (["She touches her hair."], ""),
        (["She turns left.", "She steps left."], ""),
        ([], ""),
    ],
)
def test_sentences_have_our_labels(sentences: list[str], label: str) -> None:
    assert meaning(sentences) == label


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none is no folder; unpack the Fashion-Text2Video download"):
        read_download(tmp_path / "none", 0)
    folder = unpack(tmp_path / "texts", frames=False)
    with pytest.raises(UserError, match=r"holds no folders of 000\.png"):
        read_download(folder, 0)
    folder = unpack(tmp_path / "whole")
    (folder / "labels/action_label/81FyMPk-WIS.txt").write_text("0 11 22\n5 2 3\n")
    with pytest.raises(UserError, match=r"81FyMPk-WIS\.txt:2: '5 2 3' is not `start end text`"):
        read_download(folder, 0)
    (folder / "labels/action_label/81FyMPk-WIS.txt").write_text("0 11 22\n")
    (folder / "caption_motion_template.json").unlink()
    with pytest.raises(UserError, match="has frames, but no sentences for them"):
        read_download(folder, 0)
    flags = ("--format", "fashion_text2video", "--videos", folder, "--output_dir", tmp_path / "new")
    assert "leave --texts out" in run("prepare_dataset.py", *flags, "--texts", "some.csv", code=2)
    assert not (tmp_path / "new").exists()
