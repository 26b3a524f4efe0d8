"""The network that moves a photo's pixels, and the limbs' maps that it chooses from."""

import dataclasses

import numpy as np
import pytest
import torch
from torch.nn import functional

from diffusion.warped_photo import warp_conditions, warp_draft, warp_with
from models.warper import Draft, WarpConditions, Warper
from tests.toys import randomise
from utils.image import to_signed, to_uint8
from utils.pose_drawing import JOINT
from warping.body import read_body
from warping.limbs import LIMBS, NUM_LIMBS, STATE_SIZE, limb_maps
from warping.warp import FILLED_VALIDITY, warp_by_rules

HEIGHT, WIDTH = 128, 64


def standing(shift: float = 0.0, facing: float = 1.0) -> np.ndarray:
    """(18, 3) joints of somebody who stands upright; `facing` -1 shows the back."""
    places = {
        "nose": (0, 20), "neck": (0, 32), "right_shoulder": (-9, 32), "left_shoulder": (9, 32),
        "right_elbow": (-11, 46), "left_elbow": (11, 46), "right_wrist": (-12, 60), "left_wrist": (12, 60),
        "right_hip": (-6, 62), "left_hip": (6, 62), "right_knee": (-6, 86), "left_knee": (6, 86),
        "right_ankle": (-6, 110), "left_ankle": (6, 110), "right_eye": (-2, 18), "left_eye": (2, 18),
        "right_ear": (-4, 19), "left_ear": (4, 19),
    }  # fmt: skip
    joints = np.ones((18, 3))
    for name, (x, y) in places.items():
        joints[JOINT[name], :2] = 32 + shift + facing * x, y
    if facing < 0:
        joints[[JOINT["nose"], JOINT["right_eye"], JOINT["left_eye"]], 2] = 0
    return joints


@pytest.fixture
def tiny() -> Warper:
    """A small warper as training begins it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Warper(HEIGHT, NUM_LIMBS, STATE_SIZE, channels=(8, 8, 16, 16), heads=2).eval()


def test_in_pure_bfloat16_it_moves_alike(tiny: Warper) -> None:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in tiny.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
    photo = functional.interpolate(torch.rand(1, 3, 8, 4, generator=generator), (HEIGHT, WIDTH))[0] * 2 - 1
    expected = warp_with(tiny, photo, standing(), standing(3)[None])
    rounded = warp_with(tiny.to(torch.bfloat16), photo, standing(), standing(3)[None])
    for part, other in zip(expected, rounded, strict=True):
        assert other.dtype == torch.float32
        assert (part - other).abs().mean() < 0.05


def draft_of(photo: torch.Tensor, targets: list[np.ndarray]) -> Draft:
    """What the rules make of a photo (3, H, W) of somebody who stands."""
    return warp_draft(warp_by_rules(to_uint8(photo[None])[0], standing(), np.stack(targets)))


def carried(maps: np.ndarray, limb: str, place: tuple[float, float]) -> np.ndarray:
    return maps[LIMBS.index(limb)] @ (*place, 1.0)


def test_limbs_stay_where_the_pose_is_the_photos() -> None:
    body = read_body(standing())
    limbs = limb_maps(body, [body])
    np.testing.assert_allclose(limbs.maps[0], np.tile(np.eye(3)[:2], (NUM_LIMBS, 1, 1)), atol=1e-5)
    assert limbs.state.shape == (1, STATE_SIZE)


def test_limbs_move_with_the_body_and_mirror_with_its_turn() -> None:
    front, back = read_body(standing()), read_body(standing(shift=10, facing=-1))
    maps = limb_maps(front, [read_body(standing(shift=10)), back]).maps
    for limb in LIMBS[1:]:
        np.testing.assert_allclose(carried(maps[0], limb, (30, 70)), (20, 70), atol=1e-4)
    np.testing.assert_allclose(carried(maps[1], "turned trunk", (42 + 5, 50)), (32 - 5, 50), atol=1e-4)
    np.testing.assert_allclose(carried(maps[1], "trunk", (42 + 5, 50)), (32 + 5, 50), atol=1e-4)
    # Her left forearm, seen on the left from behind, comes from the right side of the photo.
    np.testing.assert_allclose(carried(maps[1], "left forearm", (31, 46)), (43, 46), atol=1e-4)
    np.testing.assert_allclose(carried(maps[1], "background", (5, 6)), (5, 6))


def test_an_untrained_warper_moves_the_photo_as_its_limbs_do(tiny: Warper) -> None:
    photo = torch.rand(3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0)) * 2 - 1
    conditions = warp_conditions(read_body(standing()), [read_body(standing())], HEIGHT)
    warp = tiny(photo[None], conditions, draft_of(photo, [standing()]))
    np.testing.assert_allclose(warp.moved.detach()[0], photo, atol=1e-3)
    assert warp.parts.shape == (1, 12, HEIGHT // 4, WIDTH // 4)


def test_every_parameter_is_trained(tiny: Warper) -> None:
    randomise(tiny)
    targets, photo = [standing(5), standing(0, -1)], torch.rand(3, HEIGHT, WIDTH)
    conditions = warp_conditions(read_body(standing()), [read_body(pose) for pose in targets], HEIGHT)
    warp = tiny(photo[None], conditions, draft_of(photo, targets))
    sum(part.square().sum() for part in (warp.picture, warp.flow, warp.person, warp.parts)).backward()
    missing = [name for name, p in tiny.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not missing


def test_frames_do_not_depend_on_each_other(tiny: Warper) -> None:
    randomise(tiny)
    photo = torch.rand(3, HEIGHT, WIDTH) * 2 - 1
    targets = np.stack([standing(shift) for shift in (0, 3, -4)])
    together = warp_with(tiny, photo, standing(), targets)
    alone = [warp_with(tiny, photo, standing(), pose[None]) for pose in targets]
    for part, parts in zip(together, zip(*alone, strict=True), strict=True):
        torch.testing.assert_close(part, torch.cat(parts), atol=2e-3, rtol=0)


def test_a_photo_of_another_size_is_moved_at_its_own(tiny: Warper) -> None:
    photo = torch.rand(3, 2 * HEIGHT, 2 * WIDTH) * 2 - 1
    twice = standing() * (2, 2, 1)
    pictures, validity = warp_with(tiny, photo, twice, twice[None])
    assert pictures.shape == (1, *photo.shape)
    assert validity.shape == (1, 1, 2 * HEIGHT, 2 * WIDTH)
    assert torch.isfinite(pictures).all()


def test_without_a_body_the_photo_stays(tiny: Warper) -> None:
    photo = torch.rand(3, HEIGHT, WIDTH) * 2 - 1
    nobody = np.zeros((18, 3))
    pictures, validity = warp_with(tiny, photo, standing(), np.stack([standing(), nobody]))
    torch.testing.assert_close(pictures[1], photo, atol=0.005, rtol=0)
    assert not validity[1].any()
    assert validity[0].any()
    pictures, validity = warp_with(tiny, photo, nobody, standing()[None])
    torch.testing.assert_close(pictures[0], photo, atol=0.005, rtol=0)
    assert not validity.any()


def test_saved_and_loaded_it_moves_alike(tiny: Warper, tmp_path) -> None:
    randomise(tiny)
    tiny.save_pretrained(tmp_path)
    photo, pose = torch.rand(3, HEIGHT, WIDTH), standing()
    loaded = Warper.from_pretrained(tmp_path)
    torch.testing.assert_close(
        warp_with(loaded, photo, pose, standing(3)[None])[0],
        warp_with(tiny, photo, pose, standing(3)[None])[0],
        atol=1e-3,
        rtol=0,
    )


SOURCES = ("moved", "paint", "draft", "background")


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("scale", [1, 2])
def test_each_pixel_is_of_the_source_that_is_chosen(tiny: Warper, source: str, scale: int) -> None:
    """At the warper's own size and at another."""
    generator = torch.Generator().manual_seed(0)
    photo = functional.interpolate(torch.rand(1, 3, 8, 4, generator=generator), (HEIGHT, WIDTH))[0]
    photo = functional.interpolate(photo[None], scale_factor=scale)[0] * 2 - 1
    here, there = (pose * (scale, scale, 1) for pose in (standing(), standing(4)))
    with torch.no_grad():
        tiny.show.weight.zero_()
        tiny.show.bias.zero_()
        number = 2 + SOURCES.index(source)  # the logits of what is visible and of the person come before
        tiny.show.bias.unflatten(0, (6, -1))[number] = 30
        tiny.label.weight.zero_()
        tiny.label.bias.zero_()
        tiny.show.bias.unflatten(0, (6, -1))[0] = 1  # visible
    pictures, trust = warp_with(tiny, photo, here, there[None])
    rules = warp_by_rules(to_uint8(photo[None])[0], here, there[None])
    background = to_signed(rules.background)
    expected = {
        "moved": torch.full((HEIGHT * scale, WIDTH * scale), 1.0).sigmoid(),
        "paint": torch.zeros(HEIGHT * scale, WIDTH * scale),
        "draft": torch.from_numpy(rules.validity[0]),
        "background": torch.from_numpy(1 - (1 - FILLED_VALIDITY) * rules.photo_person),
    }
    torch.testing.assert_close(trust[0, 0], expected[source], atol=1e-3, rtol=0)
    if source == "draft":
        torch.testing.assert_close(pictures[0], to_signed(rules.pictures[0]), atol=1e-3, rtol=0)
    elif source == "background":
        torch.testing.assert_close(pictures[0], background, atol=1e-3, rtol=0)
    elif source == "paint":  # colours of an untrained network: the background's, four times coarser
        assert (pictures[0] - background).abs().mean() < 0.1
    else:
        assert (pictures[0] - to_signed(rules.pictures[0])).abs().mean() > 0.02
        assert (pictures[0] - background).abs().mean() > 0.05


def test_it_can_be_told_to_prefer_the_rules(tiny: Warper) -> None:
    photo, there = torch.rand(3, HEIGHT, WIDTH) * 2 - 1, standing(4)[None]
    rules = to_signed(warp_by_rules(to_uint8(photo[None])[0], standing(), there).pictures)
    distances = []
    for logit in (0, 2, 30):
        tiny.register_to_config(rules_logit=logit)
        distances.append(float((warp_with(tiny, photo, standing(), there)[0] - rules).abs().mean()))
    assert distances[0] > distances[1] > distances[2]
    assert distances[2] < 0.01


def test_photos_of_several_clips_are_moved_as_each_alone(tiny: Warper) -> None:
    """Each frame takes its own clip's photo, person and background."""
    randomise(tiny)
    targets, photos = [standing(3), standing(-2)], torch.rand(2, 3, HEIGHT, WIDTH) * 2 - 1
    conditions = [warp_conditions(read_body(standing()), [read_body(pose)], HEIGHT) for pose in targets]
    drafts = [draft_of(photo, [pose]) for photo, pose in zip(photos, targets, strict=True)]

    def joined(parts: list) -> dict:
        fields = [f.name for f in dataclasses.fields(parts[0])]
        return {name: torch.cat([getattr(part, name) for part in parts]) for name in fields}

    both = WarpConditions(**joined(conditions) | {"photo_index": torch.arange(2)})
    with torch.no_grad():
        together = tiny(photos, both, Draft(**joined(drafts)))
        for number in range(2):
            alone = tiny(photos[number, None], conditions[number], drafts[number])
            torch.testing.assert_close(together.picture[number], alone.picture[0], atol=2e-3, rtol=0)
