import time

import pytest

from data.annotations import Segment, load_annotations, read_annotation_file
from utils.errors import UserError


def make_dataset(root, num_frames=30, **files):
    """Annotations of the train split and empty frame files, which only their names matter of."""
    for name, text in files.items():
        (root / "train").mkdir(parents=True, exist_ok=True)
        (root / "train" / f"{name}.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
        (root / "fashion_crop" / name).mkdir(parents=True, exist_ok=True)
        for i in range(num_frames):
            (root / "fashion_crop" / name / f"{i:03d}.png").touch()
    return root


def test_segments_are_sorted_and_blank_lines_and_windows_line_ends_are_fine(tmp_path):
    root = make_dataset(
        tmp_path,
        b="\n24 30 Then she stands.\r\n\r\n0 24  This lady moves toward the right side.  \r\n",
        a="\ufeff0\t24\tDiese Dame dreht sich für uns um.",
    )
    assert load_annotations(root, "train") == [
        Segment("a", 0, 24, "Diese Dame dreht sich für uns um."),
        Segment("b", 0, 24, "This lady moves toward the right side."),
        Segment("b", 24, 30, "Then she stands."),
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("0 24", "`start end text`"),
        ("This lady moves.", "`start end text`"),
        ("0 x This lady", "`start end text`"),
        ("-3 24 This lady", "`start end text`"),
        ("0.5 24 This lady", "`start end text`"),
        ("٣ 24 This lady", "`start end text`"),
        ("0 " + "9" * 5000 + " This lady", "`start end text`"),
        ("24 24 This lady", "must end after its start"),
        ("24 3 This lady", "must end after its start"),
        ("0 31 This lady", "the video has 30 frames"),
    ],
)
def test_a_bad_line_is_named_by_file_and_number(tmp_path, line, reason):
    root = make_dataset(tmp_path, x=f"0 24 Good.\n\n{line}\n")
    with pytest.raises(UserError) as error:
        load_annotations(root, "train")
    message = str(error.value)
    assert "train/x.txt:3: " in message and reason in message and "\n" not in message and len(message) < 400


def test_the_end_may_be_the_number_of_frames_and_frames_need_not_be_there(tmp_path):
    root = make_dataset(tmp_path, x="0 30 Good.")
    assert len(load_annotations(root, "train")) == 1
    (root / "train" / "y.txt").write_text("0 500 Not projected yet.")
    assert len(load_annotations(root, "train", check_frames=False)) == 2
    with pytest.raises(UserError, match="fashion_crop/y"):
        load_annotations(root, "train")


def test_missing_and_empty_splits_and_other_encodings(tmp_path):
    with pytest.raises(UserError, match=r"no folder .*train"):
        load_annotations(tmp_path, "train")
    (tmp_path / "train").mkdir()
    with pytest.raises(UserError, match=r"no \.txt"):
        load_annotations(tmp_path, "train")
    make_dataset(tmp_path, x="0 24 für".encode("latin-1"))
    with pytest.raises(UserError, match="UTF-8"):
        load_annotations(tmp_path, "train")


def test_ten_thousand_lines_take_under_a_second(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("".join(f"{i} {i + 24} This lady moves toward the right side.\n" for i in range(10_000)))
    started = time.perf_counter()
    assert len(read_annotation_file(path, 20_000)) == 10_000
    assert time.perf_counter() - started < 1
