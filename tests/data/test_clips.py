"""Training clips: order and choices are pure functions of the seed; what a clip holds."""

import shutil
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch.utils.data import DataLoader

from data.annotations import Segment
from data.clips import ClipDataset, ClipRequest, ClipSampler, collate_clips
from data.frames import frame_paths, read_frames
from data.latents import write_latent_video
from data.masks import read_person
from data.pose_cache import encode_picture, pack_pictures
from utils.errors import UserError
from utils.image import write_png


def sampler(**changes: int) -> ClipSampler:
    settings = {"num_frames": 8, "short_frames": 4, "short_steps": 0, "seed": 3} | changes
    return ClipSampler(settings.pop("num_segments", 5), 4, 10, **settings)


def test_every_epoch_visits_each_segment_once() -> None:
    drawn = [request.segment for request in chain.from_iterable(sampler())]
    assert len(drawn) == 40
    for epoch in range(8):
        assert sorted(drawn[epoch * 5 : epoch * 5 + 5]) == [0, 1, 2, 3, 4]
    assert drawn[:5] != drawn[5:10] or drawn[:5] != drawn[10:15]


def test_the_order_does_not_depend_on_processes_accumulation_or_where_it_begins() -> None:
    whole = list(sampler())
    assert list(sampler(first_step=6)) == whole[6:]
    for world_size, accumulation in ((2, 1), (1, 2), (2, 2), (4, 1)):
        ranks = [
            list(sampler(rank=rank, world_size=world_size, accumulation=accumulation))
            for rank in range(world_size)
        ]
        for step in range(10):
            parts = [part for rank in ranks for part in rank[step * accumulation : (step + 1) * accumulation]]
            assert list(chain.from_iterable(parts)) == whole[step]
        assert len(sampler(rank=0, world_size=world_size, accumulation=accumulation)) == len(ranks[0])


def test_another_seed_is_another_order() -> None:
    assert list(sampler()) != list(sampler(seed=4))


def test_short_clips_come_first() -> None:
    batches = list(sampler(short_steps=3))
    assert [(b[0].num_frames, b[0].consecutive) for b in batches[2:4]] == [(4, False), (8, True)]


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Two videos of 12 frames: latents and poses carry the frame's number; one is warped from 0 and 3."""
    for name in ("warped", "plain"):
        for frame in range(12):
            write_png(
                tmp_path / "fashion_poses" / name / f"{frame:03d}.png",
                np.full((32, 16, 3), 10 * frame, np.uint8),
            )
        numbers = torch.arange(12).view(12, 1, 1, 1).expand(12, 3, 4, 2)
        tensors = {"latents": numbers.half()}
        if name == "warped":
            tensors["reference_frames"] = torch.tensor([0, 3])
            tensors["warped_latents"] = torch.stack([numbers, numbers + 100]).half()
            tensors["warp_validity"] = torch.ones(2, 12, 1, 4, 2).half()
        write_latent_video(tmp_path / "latents" / f"{name}.safetensors", tensors, {})
    return tmp_path, tmp_path / "latents"


SEGMENTS = [Segment("warped", 0, 12, "a"), Segment("plain", 2, 12, "b")]


def test_a_clip_begins_at_a_warped_frame_and_keeps_together_what_belongs_together(folders) -> None:
    dataset = ClipDataset(*folders, SEGMENTS, 6)
    starts = set()
    for seed in range(20):
        clip = dataset[ClipRequest(0, 6, True, seed)]
        frames = clip["latents"][0, :, 0, 0]
        start = int(frames[0])
        starts.add(start)
        assert frames.tolist() == list(range(start, start + 6))
        assert torch.equal(clip["warped_latents"][0, :, 0, 0], frames + (100 if start == 3 else 0))
        poses = ((clip["pose_images"][0, :, 0, 0] + 1) * 127.5).round()
        assert poses.tolist() == [10 * f for f in frames.tolist()]
    assert starts == {0, 3}


def test_a_frame_that_was_warped_twice_is_taken_both_ways(folders) -> None:
    path = folders[1] / "warped.safetensors"
    tensors = load_file(path) | {"reference_frames": torch.tensor([0, 0])}
    write_latent_video(path, tensors, {})
    dataset = ClipDataset(*folders, SEGMENTS, 6)
    clips = [dataset[ClipRequest(0, 6, True, seed)] for seed in range(20)]
    assert {float(clip["latents"][0, 0, 0, 0]) for clip in clips} == {0}
    assert {float(clip["warped_latents"][0, 0, 0, 0]) for clip in clips} == {0, 100}


def test_short_clips_are_sorted_random_frames_of_the_segment(folders) -> None:
    dataset = ClipDataset(*folders, SEGMENTS, 6)
    seen = set()
    for seed in range(30):
        frames = dataset[ClipRequest(1, 4, False, seed)]["latents"][0, :, 0, 0].tolist()
        assert frames == sorted(set(frames))
        assert 2 <= frames[0] <= 8
        assert frames[-1] < 12
        seen |= set(frames)
    assert seen == set(range(2, 12))


def test_a_video_without_warps_has_zeros(folders) -> None:
    clips = [ClipDataset(*folders, SEGMENTS, 6)[ClipRequest(i, 6, True, 0)] for i in (0, 1)]
    batch = collate_clips(clips)
    assert batch["warp_validity"].flatten(1).sum(1).tolist() == [6 * 8, 0]
    assert not batch["warped_latents"][1].any()
    assert batch["text"] == ["a", "b"]
    assert (
        "warped_latents"
        not in ClipDataset(*folders, SEGMENTS, 6, use_warps=False)[ClipRequest(0, 6, True, 0)]
    )


def test_poses_of_another_size_are_resized_to_eight_times_the_latents(folders) -> None:
    for frame in range(12):
        picture = np.zeros((64, 32, 3), np.uint8)
        write_png(folders[0] / "fashion_poses" / "plain" / f"{frame:03d}.png", picture)
    clip = ClipDataset(*folders, SEGMENTS, 6)[ClipRequest(1, 6, True, 0)]
    assert clip["pose_images"].shape == (3, 6, 32, 16)


def test_poses_and_masks_of_another_shape_get_the_border_of_the_latents(folders) -> None:
    """Square pictures lie in the middle of latents that are twice as high as wide."""
    dataset, _ = folders
    (dataset / "fashion_masks" / "plain").mkdir(parents=True)
    for frame in range(12):
        picture = np.full((64, 64, 3), 200, np.uint8)
        picture[16:48, 16:48] = 0
        write_png(dataset / "fashion_poses" / "plain" / f"{frame:03d}.png", picture)
        mask = np.zeros((64, 64), np.uint8)
        mask[:16] = 7
        Image.fromarray(mask, "P").save(dataset / "fashion_masks" / "plain" / f"{frame:03d}.png")
    plain = [segment for segment in SEGMENTS if segment.name == "plain"]
    clip = ClipDataset(*folders, plain, 6, person_weight=3.0)[ClipRequest(0, 6, True, 0)]
    column = clip["pose_images"][0, 0, :, 8]
    assert clip["pose_images"].shape == (3, 6, 32, 16)
    assert (column[:10] > 0).all() and (column[13:19] < 0).all() and (column[22:] > 0).all()
    assert (clip["loss_weight"][0] == torch.tensor([3, 3, 3, 1])[:, None]).all()


def add_masks(dataset: Path) -> None:
    for name in ("warped", "plain"):
        (dataset / "fashion_masks" / name).mkdir(parents=True)
        for frame in range(12):
            mask = np.zeros((32, 16), np.uint8)
            mask[frame, frame] = 7
            Image.fromarray(mask, "P").save(dataset / "fashion_masks" / name / f"{frame:03d}.png")


def cache_pictures(dataset: Path, latents: Path, name: str) -> None:
    """Put a video's poses and masks beside its latents."""
    tensors = load_file(latents / f"{name}.safetensors")
    pictures = read_frames(dataset / "fashion_poses" / name)
    data, offsets = pack_pictures([encode_picture(picture) for picture in pictures])
    person = read_person(frame_paths(dataset / "fashion_masks" / name), 4, 2)
    tensors |= {"pose_bytes": data, "pose_offsets": offsets, "person": person}
    write_latent_video(latents / f"{name}.safetensors", tensors, {})


REQUESTS = [ClipRequest(0, 6, True, 5), ClipRequest(1, 6, True, 6), ClipRequest(1, 4, False, 7)]


def test_poses_beside_the_latents_give_the_same_clips_and_need_no_pictures(folders) -> None:
    dataset, latents = folders
    add_masks(dataset)
    from_pictures = [ClipDataset(*folders, SEGMENTS, 6, person_weight=3.0)[r] for r in REQUESTS]
    cache_pictures(dataset, latents, "warped")
    mixed = [ClipDataset(*folders, SEGMENTS, 6, person_weight=3.0)[r] for r in REQUESTS]
    cache_pictures(dataset, latents, "plain")
    shutil.rmtree(dataset / "fashion_poses")
    shutil.rmtree(dataset / "fashion_masks")
    clips = ClipDataset(*folders, SEGMENTS, 6, person_weight=3.0)
    for others in (mixed, [clips[request] for request in REQUESTS]):
        for clip, other in zip(from_pictures, others, strict=True):
            assert clip.keys() == other.keys()
            for key, value in clip.items():
                assert (
                    torch.equal(value, other[key]) if isinstance(value, torch.Tensor) else value == other[key]
                )


def test_pictures_are_asked_for_where_one_video_has_them_not_beside_its_latents(folders) -> None:
    dataset, latents = folders
    add_masks(dataset)
    cache_pictures(dataset, latents, "warped")
    shutil.rmtree(dataset / "fashion_masks")
    with pytest.raises(UserError, match=r"does not hold plain, .* --person_weight 1"):
        ClipDataset(*folders, SEGMENTS, 6, person_weight=3.0)
    shutil.rmtree(dataset / "fashion_poses")
    with pytest.raises(UserError, match=r"no folder of frames .*fashion_poses.plain"):
        ClipDataset(*folders, SEGMENTS, 6)
    assert len(ClipDataset(*folders, SEGMENTS[:1], 6, person_weight=3.0)) == 1


def test_worker_processes_read_the_same_clips(folders) -> None:
    add_masks(folders[0])
    cache_pictures(*folders, "warped")
    dataset = ClipDataset(*folders, SEGMENTS, 6, person_weight=3.0)
    expected = [dataset[request] for request in REQUESTS]
    loader = DataLoader(
        dataset, batch_sampler=[[r] for r in REQUESTS], num_workers=2, collate_fn=collate_clips
    )
    for clip, batch in zip(expected, loader, strict=True):
        for key in ("latents", "pose_images", "loss_weight"):
            assert torch.equal(batch[key][0], clip[key])


def test_masks_that_cannot_be_read_are_named(folders) -> None:
    dataset, _ = folders
    add_masks(dataset)
    paths = frame_paths(dataset / "fashion_masks" / "plain")
    write_png(paths[1], np.zeros((32, 16, 3), np.uint8))
    paths[2].write_bytes(paths[2].read_bytes()[:60])
    for path, reason in ((paths[1], r"001.png has 3 channels"), (paths[2], r"002.png is no mask")):
        with pytest.raises(UserError, match=reason):
            read_person([paths[0], path], 4, 2)


def test_the_same_seed_gives_the_same_clip(folders) -> None:
    dataset = ClipDataset(*folders, SEGMENTS, 6)
    a, b = (dataset[ClipRequest(0, 4, False, 9)] for _ in range(2))
    assert torch.equal(a["latents"], b["latents"])


def test_segments_too_short_and_videos_not_projected_are_named(folders) -> None:
    with pytest.raises(UserError, match=r"no segment of .* has 13 frames .* has 12"):
        ClipDataset(*folders, SEGMENTS, 13)
    with pytest.raises(UserError, match=r"the first: other\); run: python project_latent_space.py"):
        ClipDataset(*folders, [*SEGMENTS, Segment("other", 0, 12, "")], 6)


def test_latents_of_two_vaes_and_unequal_poses_are_refused(folders) -> None:
    dataset_dir, latents_dir = folders
    names = sorted({segment.name for segment in SEGMENTS})
    assert ClipDataset(*folders, SEGMENTS, 6).vae_sha256 == ""
    for name, vae in zip(names, "ab", strict=False):
        path = latents_dir / f"{name}.safetensors"
        write_latent_video(path, load_file(path), {"vae_sha256": vae})
    with pytest.raises(UserError, match=r"were made by different VAEs; run project_latent_space.py"):
        ClipDataset(*folders, SEGMENTS, 6)
    (dataset_dir / "fashion_poses" / names[0] / "011.png").unlink()
    with pytest.raises(UserError, match=rf"{names[0]} has 11 poses, .*{names[0]}.safetensors 12 frames"):
        ClipDataset(*folders, SEGMENTS, 6)


def test_a_weight_for_the_person_lies_on_it_and_one_latent_around(folders: tuple[Path, Path]) -> None:
    dataset, latents = folders
    segments = [Segment("warped", 0, 12, "Turn.")]
    with pytest.raises(UserError, match="person_weight 1"):
        ClipDataset(dataset, latents, segments, 8, person_weight=3.0)
    masks = dataset / "fashion_masks" / "warped"
    size = load_file(latents / "warped.safetensors")["latents"].shape[-2:]
    masks.mkdir(parents=True)
    for frame in range(12):
        mask = np.zeros((8 * size[0], 8 * size[1]), np.uint8)
        mask[0, 0] = frame % 2
        Image.fromarray(mask, "P").save(masks / f"{frame:03d}.png")
    clip = ClipDataset(dataset, latents, segments, 8, person_weight=3.0)[ClipRequest(0, 8, True, 1)]
    weight = clip["loss_weight"]
    assert weight.shape == (1, 8, *size)
    heavy = (weight == 3).sum((0, 2, 3)).tolist()
    assert sorted(set(heavy)) == [0, min(2, size[0]) * min(2, size[1])]
    assert "loss_weight" not in ClipDataset(dataset, latents, segments, 8)[ClipRequest(0, 8, True, 1)]
