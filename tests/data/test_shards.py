"""Shards: what is read of them is what was packed, whichever part is asked for."""

import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from data import pack
from data.annotations import load_annotations
from data.latents import Facts, Latents, LatentVideo
from data.pack import clip_files, extract, local_path, pack_dataset
from data.ranges import RangedTensors
from data.shards import Shards, address_of, is_sharded, write_shard
from utils.errors import UserError


@pytest.fixture
def packed(tiny_dataset_dir: Path, tmp_path: Path) -> Path:
    assert pack_dataset(tiny_dataset_dir, tmp_path / "shards", 2) == (2, 2)
    return tmp_path / "shards"


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_clip_comes_out_as_it_went_in(tiny_dataset_dir: Path, packed: Path, tmp_path: Path) -> None:
    shards = Shards(packed)
    assert list(shards.clips) == ["anna", "berta", "clara"] and len(shards.made_from) == 2
    for name in shards.clips:
        extract(shards, name, tmp_path / "out")
    assert contents(tmp_path / "out") == contents(tiny_dataset_dir)
    assert is_sharded(packed) and not is_sharded(tiny_dataset_dir) and is_sharded("s3://bucket/set")
    for split in ("train", "test"):
        assert load_annotations(packed, split) == load_annotations(tiny_dataset_dir, split)


def test_webdataset_reads_the_tars(packed: Path, tiny_dataset_dir: Path) -> None:
    wds = pytest.importorskip("webdataset", reason="pip install -r requirements-dev.txt")
    tars = sorted(str(path) for path in packed.glob("*.tar"))
    samples = list(wds.WebDataset(tars, shardshuffle=False))
    assert [sample["__key__"] for sample in samples] == ["anna", "berta", "clara"]
    frame = tiny_dataset_dir / "fashion_crop/anna/003.png"
    assert samples[0]["frame.003.png"] == frame.read_bytes()


def test_what_has_not_changed_is_not_written_again(tiny_dataset_dir: Path, packed: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in packed.iterdir()}
    bytes_before = contents(packed)
    assert pack_dataset(tiny_dataset_dir, packed, 2) == (2, 0)
    assert {path.name: path.stat().st_mtime_ns for path in packed.iterdir()} == before
    (tiny_dataset_dir / "train/clara.txt").write_text("0 5 She turns.\n")
    assert pack_dataset(tiny_dataset_dir, packed, 2) == (2, 1)
    assert load_annotations(packed, "train")[0].text == "She turns."
    assert (packed / "shard-00000.tar").read_bytes() == bytes_before["shard-00000.tar"]
    (packed / ".shard-00000-abc.tar").write_bytes(b"half")  # of a run that was killed
    assert pack_dataset(tiny_dataset_dir, packed, 3) == (1, 1)
    assert sorted(path.name for path in packed.iterdir()) == ["shard-00000.json", "shard-00000.tar"]


def test_shards_of_something_else_are_not_replaced(
    tiny_dataset_dir: Path, packed: Path, tmp_path: Path
) -> None:
    before = contents(packed)
    other = tmp_path / "other"
    shutil.copytree(tiny_dataset_dir / "fashion_crop/anna", other / "fashion_crop/dora")
    with pytest.raises(UserError, match="holds the shards of another dataset"):
        pack_dataset(other, packed, 2)
    assert contents(packed) == before
    latents, video = tmp_path / "latents", tmp_path / "anna.safetensors"
    save_file({"latents": torch.zeros(1, 4, 8, 4)}, video)
    write_shard(latents, "shard-00000", {"anna": {"safetensors": video}}, {"anna": {}}, "")
    before = contents(latents)
    with pytest.raises(UserError, match="holds the shards of projected videos"):
        pack_dataset(tiny_dataset_dir, latents, 2)
    assert contents(latents) == before


def test_mistakes_are_named(tiny_dataset_dir: Path, packed: Path) -> None:
    with pytest.raises(UserError, match="holds no shards"):
        Shards(tiny_dataset_dir)
    with pytest.raises(UserError, match=r"there is no .*none"):
        Shards(packed / "none")
    with pytest.raises(UserError, match=r"cannot be reached|cannot be read"):
        Shards("nosuch://bucket/set")
    (tiny_dataset_dir / "fashion_crop/a.b").mkdir()
    with pytest.raises(UserError, match="holds no frames"):
        pack_dataset(tiny_dataset_dir, packed, 8)
    with pytest.raises(UserError, match=r"a\.b has a dot in its name"):
        write_shard(packed, "shard-00009", {"a.b": {}}, {"a.b": {}}, "")
    (packed / "shard-00001.tar").write_bytes((packed / "shard-00001.tar").read_bytes()[:600])
    with pytest.raises(UserError, match=r"shard-00001\.tar is cut off; write or copy the shard anew"):
        Shards(packed).read_clip("clara")
    (packed / "shard-00002.json").write_bytes((packed / "shard-00000.json").read_bytes())
    with pytest.raises(UserError, match="has anna in shard-00000 and in shard-00002, so it is half written"):
        Shards(packed)
    (packed / "shard-00002.json").write_text('{"format": 1}')
    with pytest.raises(UserError, match=r"shard-00002\.json is no description of a shard"):
        Shards(packed)


@pytest.mark.parametrize(
    ("name", "file"),
    [("..", "frame.000.png"), ("a", "frame.../../x.png"), ("a/b", "frame.000.png"), ("a", "evil.pyd")],
)
def test_a_shard_writes_nothing_outside_its_folder(name: str, file: str) -> None:
    with pytest.raises(UserError):
        local_path(name, file)


def test_an_address_survives_a_path() -> None:
    assert address_of(Path("s3://bucket/a/b")) == "s3://bucket/a/b" == address_of("s3://bucket/a/b")
    assert address_of("relative/s3") is None and address_of("/data/s3") is None and address_of("C:/x") is None


def tensors(num_frames: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    sizes = torch.randint(3, 9, (num_frames,), generator=generator)
    return {
        "latents": torch.randn(num_frames, 4, 8, 4, generator=generator).half(),
        "reference_frames": torch.tensor([0, 7]),
        "warped_latents": torch.randn(2, num_frames, 4, 8, 4, generator=generator).half(),
        "warp_validity": torch.rand(2, num_frames, 1, 8, 4, generator=generator).half(),
        "person": torch.rand(num_frames, 8, 4, generator=generator) > 0.5,
        "pose_bytes": torch.zeros(int(sizes.sum()), dtype=torch.uint8),
        "pose_offsets": torch.cat([torch.zeros(1, dtype=torch.int64), sizes.cumsum(0)]),
    }


@pytest.mark.parametrize("num_frames", [9, 6000])
def test_any_frames_of_a_video_in_a_shard_are_those_of_its_file(tmp_path: Path, num_frames: int) -> None:
    path = tmp_path / "a.safetensors"
    save_file(tensors(num_frames), path, metadata={"vae_sha256": "x"})
    one = LatentVideo(path)
    about = {"a": {**vars(Facts.of(one)), "place": "here"}}
    write_shard(tmp_path / "shards", "shard-00000", {"a": {"safetensors": path}}, about, "")
    latents = Latents(tmp_path / "shards")
    other = latents.open("a")
    assert "a" in latents and "b" not in latents
    assert latents.facts("a") == Facts("here", num_frames, "x", True, True)
    assert other.metadata == one.metadata and other.num_frames == num_frames
    for frames in ([0, 1, 2], [num_frames - 1], [0, num_frames - 1, 4], np.arange(3, 9)):
        assert torch.equal(one.latents(frames), other.latents(frames))
        assert torch.equal(one.person(frames), other.person(frames))
        for a, b in zip(one.warp(1, frames), other.warp(1, frames), strict=True):
            assert torch.equal(a, b)
    assert (
        other._file.get_slice("pose_offsets")[2:6].tolist()
        == tensors(num_frames)["pose_offsets"][2:6].tolist()
    )
    assert other._file.get_slice("latents")[5:5].shape == (0, 4, 8, 4)


def test_of_a_long_video_only_what_is_needed_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"latents": torch.randn(1000, 4, 8, 4).half()}, path)
    content, asked = path.read_bytes(), []

    def read(start: int, stop: int) -> bytes:
        asked.append(stop - start)
        return content[start:stop]

    video = LatentVideo("here", RangedTensors("here", len(content), read))
    asked.clear()
    video.latents([500, 501])
    assert asked == [2 * 4 * 8 * 4 * 2]


@pytest.mark.parametrize(
    "content", [b"", b"short", b"\xff" * 64, (8).to_bytes(8, "little") + b'{"a":1}  ' * 9]
)
def test_what_is_no_safetensors_file_is_refused(content: bytes) -> None:
    with pytest.raises(UserError, match="here is no projected video"):
        RangedTensors("here", len(content), lambda start, stop: content[start:stop])


def test_the_shards_of_a_dataset_are_no_latents(packed: Path) -> None:
    latents = Latents(packed)
    with pytest.raises(UserError, match="holds no projected videos"):
        latents.facts("anna")
    with pytest.raises(UserError, match="holds no projected videos"):
        latents.open("anna")


def test_the_tar_is_the_same_for_the_same_files(tiny_dataset_dir: Path, packed: Path, tmp_path: Path) -> None:
    pack_dataset(tiny_dataset_dir, tmp_path / "again", 2)
    assert contents(tmp_path / "again") == contents(packed)
    with tarfile.open(packed / "shard-00000.tar") as tar:
        names = tar.getnames()
    assert names[:2] == ["anna.frame.000.png", "anna.frame.001.png"] and "berta.test.txt" in names
    places = json.loads((packed / "shard-00000.json").read_text())["clips"]["anna"]["files"]
    assert places.keys() == clip_files(tiny_dataset_dir, "anna").keys()


def test_a_dataset_is_not_packed_into_itself(tiny_dataset_dir: Path) -> None:
    before = contents(tiny_dataset_dir)
    place = tiny_dataset_dir / ".." / tiny_dataset_dir.name
    with pytest.raises(UserError, match="is the dataset itself"):
        pack.main(pack.Config(dataset=tiny_dataset_dir, output_dir=place))
    assert contents(tiny_dataset_dir) == before
