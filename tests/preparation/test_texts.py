"""A user's sentences are read with their mistakes named, and laid onto the clips."""

import json
import unicodedata
from pathlib import Path

import pytest

from data.synthetic.wordings import WORDINGS
from preparation.readings import Reading
from preparation.texts import Text, Unit, check_ends, place_texts, read_texts, write_sentences
from preparation.videos import Video
from utils.errors import UserError

VIDEOS = [Video("a", Path("a.mp4"), "a.mp4"), Video("in_b", Path("in/b.mov"), "in/b.mov")]


def csv_file(folder: Path, *lines: str) -> Path:
    path = folder / "texts.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_csv_and_jsonl_say_the_same(tmp_path: Path) -> None:
    table = csv_file(
        tmp_path, "video,start,end,sentence", 'a.mp4,0,2.4,"She turns, slowly."', "in/b,1,3,She walks."
    )
    lines = tmp_path / "texts.jsonl"
    rows = [("a", 0, 2.4, "She turns, slowly."), ("in/b.mov", "1", "3", "She walks.")]
    lines.write_text(
        "\n\n".join(
            json.dumps(dict(zip(("video", "start", "end", "sentence"), row, strict=True))) for row in rows
        )
    )
    ours, theirs = read_texts(table, VIDEOS), read_texts(lines, VIDEOS)
    assert [(t.video, t.start, t.end, t.sentence) for t in ours] == [
        ("a.mp4", 0.0, 2.4, "She turns, slowly."),
        ("in/b.mov", 1.0, 3.0, "She walks."),
    ]
    assert [t.sentence for t in ours] == [t.sentence for t in theirs]
    assert ours[1].place == f"{table}:3" and theirs[1].place == f"{lines}:3"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["video,start,sentence"], r"texts\.csv:1: no column end; the first line is"),
        (["video,start,end,sentence", "a,0,2,She stands, still"], r"texts\.csv:2: more values than columns"),
        (["video,start,end,sentence", "c,0,2,She stands"], r"texts\.csv:2: there is no video 'c'"),
        (["video,start,end,sentence", "a,0,two,She stands"], r"texts\.csv:2: start '0' and end 'two'"),
        (["video,start,end,sentence", "a,2,1,She stands"], r"texts\.csv:2: start 2 and end 1; give 0 <="),
        (["video,start,end,sentence", "a,0,nan,She stands"], r"texts\.csv:2: start 0 and end nan"),
        (["video,start,end,sentence", "a,0,1,"], r"texts\.csv:2: no sentence"),
        (
            ["video,start,end,sentence", 'a,0,1,"She walks', "a,1,2,x"],
            r"texts\.csv:2: not csv \(unexpected end",
        ),
        (["video,start,end,sentence"], r"texts\.csv holds no sentence"),
        (["video;start;end;sentence"], r"texts\.csv:1: no column video.*with commas between"),
        (["video,start,end,sentence", "a,0"], r"texts\.csv:2: start '0' and end None"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_texts(csv_file(tmp_path, *lines), VIDEOS)


def test_a_bad_line_of_json_is_named(tmp_path: Path) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_text('{"video": "a", "start": 0, "end": 1}\n')
    with pytest.raises(UserError, match=r"texts\.jsonl:1: no sentence; give video"):
        read_texts(path, VIDEOS)
    path.write_text(f'{{"video": "a", "start": 0, "end": 1{"0" * 400}, "sentence": "x"}}\n')
    with pytest.raises(UserError, match=r"texts\.jsonl:1: start 0 and end 1000"):
        read_texts(path, VIDEOS)
    path.write_text("She walks\n")
    with pytest.raises(UserError, match=r"texts\.jsonl:1: not JSON"):
        read_texts(path, VIDEOS)
    with pytest.raises(UserError, match=r"neither \.csv nor \.jsonl"):
        read_texts(tmp_path / "texts.txt", VIDEOS)


def test_what_spreadsheets_write_is_read(tmp_path: Path) -> None:
    lines = ['a.mp4,0,1,"She says ""no"",', 'and turns"', ",,,", "in\\b,1,2,Größe\u2028bleibt"]
    path = tmp_path / "texts.csv"
    path.write_bytes(("\ufeff" + "\r\n".join(["video,start,end,sentence", *lines])).encode())
    texts = read_texts(path, VIDEOS)
    assert [(text.place, text.sentence) for text in texts] == [
        (f"{path}:2", 'She says "no", and turns'),
        (f"{path}:5", "Größe bleibt"),
    ]


def test_letters_with_accents_are_one_however_they_are_stored(tmp_path: Path) -> None:
    stored = unicodedata.normalize("NFD", "größe.mp4")
    table = csv_file(tmp_path, "video,start,end,sentence", "größe,0,1,She walks.")
    assert read_texts(table, [Video("gr_e", Path(stored), stored)])[0].video == stored


def test_sentences_are_laid_onto_a_clip_by_seconds_or_frames() -> None:
    times, numbers = [1 + frame / 10 for frame in range(40)], [30 + 3 * frame for frame in range(40)]
    texts = [
        Text("", "a", 1.5, 3.0, "inside"),
        Text("", "a", 0.0, 1.2, "before"),
        Text("", "a", 4.5, 5.2, "ends a little after the clip"),
        Text("", "a", 4.5, 9.0, "ends long after the clip"),
    ]
    expected = [(5, 20, "inside"), (35, 40, "ends a little after the clip")]
    texts[2] = Text("", "a", 4.5, 5.1, texts[2].sentence)
    assert _said(texts, "seconds", times, numbers) == expected
    frames = [Text("", "a", text.start * 30, text.end * 30, text.sentence) for text in texts]
    assert _said(frames, "frames", times, numbers) == expected


def _said(
    texts: list[Text], unit: Unit, times: list[float], numbers: list[int]
) -> list[tuple[int, int, str]]:
    return [(start, end, text.sentence) for start, end, text in place_texts(texts, unit, times, numbers)]


def test_sentences_past_the_end_of_a_video_are_named() -> None:
    texts = [Text("texts.csv:2", "a.mp4", 0, 11.8, "x"), Text("texts.csv:3", "a.mp4", 0, 20, "x")]
    assert check_ends(texts, "seconds", 11.5, 345) == [
        "texts.csv:3: the sentence ends at 20, and a.mp4 at 11.5 seconds"
    ]
    assert len(check_ends([Text("", "a.mp4", 0, 361, "x")], "frames", 11.5, 345)) == 1


@pytest.mark.parametrize("split", ["train", "test"])
def test_what_was_read_is_worded_as_the_split_words_it(split: str) -> None:
    readings = [Reading(0, 24, ("turn_left",), 1.0), Reading(30, 54, ("walk_forward",), 1.0)]
    sentences = write_sentences(readings, split, "either", 0, "clip")
    assert [(start, stop) for start, stop, _ in sentences] == [(0, 24), (30, 54)]
    for (_, _, sentence), label in zip(sentences, ("turn_left", "walk_forward"), strict=True):
        wordings = [w.replace("{p}", "their") for w in WORDINGS[label][split == "test"]]
        assert any(wording in sentence for wording in wordings)
    assert sentences == write_sentences(readings, split, "either", 0, "clip")
    others = {write_sentences(readings, split, "woman", seed, "clip")[0][2] for seed in range(9)}
    assert len(others) > 3
