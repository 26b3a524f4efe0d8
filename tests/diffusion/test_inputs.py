"""What callers may hand to the pipeline."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from diffusers.image_processor import VaeImageProcessor

from diffusion.inputs import check_multiple, clip_tensor, joints_array, photo_tensor
from utils.errors import UserError
from utils.image import ORIENTATION, read_image, to_signed, to_uint8

PIXELS = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 4, 3), np.uint8)


def test_all_bytes_survive_the_round_trip() -> None:
    every = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, -1)
    signed = to_signed(every)
    assert signed.min() == -1 and signed.max() == 1
    np.testing.assert_array_equal(to_uint8(signed), every)


def test_every_form_of_a_photo_is_the_same_photo() -> None:
    photo = PIXELS[0, 0]
    expected = to_signed(photo)[None]
    for form in (photo, photo[None], PIL.Image.fromarray(photo), [photo], expected, expected[0]):
        torch.testing.assert_close(photo_tensor(form), expected)


@pytest.mark.parametrize("kind", ["cut out", "turned", "16 bit"])
def test_a_pillow_picture_is_read_as_its_file_is(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    picture = PIL.Image.fromarray(np.random.default_rng(1).integers(0, 256, (32, 16, 3), np.uint8))
    exif = picture.getexif()
    if kind == "cut out":
        picture.putalpha(PIL.Image.new("L", picture.size, 40))
    elif kind == "turned":
        exif[ORIENTATION] = 6
    else:
        picture = PIL.Image.fromarray(np.linspace(0, 65535, 512).reshape(32, 16).astype(np.uint16))
    picture.save(path, exif=exif)
    torch.testing.assert_close(photo_tensor(PIL.Image.open(path)), to_signed(read_image(path))[None])


def test_every_form_of_a_clip_is_the_same_clip() -> None:
    clip = PIXELS[0]
    expected = to_signed(clip).transpose(0, 1)[None]
    for form in (clip, clip[None], [PIL.Image.fromarray(p) for p in clip], list(clip), expected, expected[0]):
        torch.testing.assert_close(clip_tensor(form), expected)
    assert clip_tensor([list(PIXELS[0]), list(PIXELS[1])]).shape == (2, 3, 3, 8, 4)


def test_floats_are_read_as_diffusers_reads_them() -> None:
    processor = VaeImageProcessor(do_resize=False)
    photo = PIXELS[0, 0]
    shares = photo.astype(np.float32) / 255
    tensor = torch.from_numpy(shares).movedim(-1, 0)
    for form in (shares, shares.astype(np.float64), tensor, tensor.half().float(), [tensor], 2 * tensor - 1):
        expected = processor.preprocess(form[0] if isinstance(form, list) else form).float()
        torch.testing.assert_close(photo_tensor(form), expected, atol=1e-6, rtol=0)
        torch.testing.assert_close(photo_tensor(form), photo_tensor(photo), atol=1e-3, rtol=0)

    clip = torch.from_numpy(PIXELS[:1].astype(np.float32) / 255).movedim(-1, -3)  # (1, 3 frames, 3, H, W)
    clip = torch.cat([clip, clip[:, :1]], dim=1)
    bytes_clip = np.concatenate([PIXELS[0], PIXELS[0][:1]])
    for form in (clip, clip[0], clip.transpose(1, 2), list(clip[0]), [clip[0]], bytes_clip / 255):
        torch.testing.assert_close(clip_tensor(form), clip_tensor(bytes_clip), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("function", "value", "message"),
    [
        (photo_tensor, PIXELS[0, 0].astype(float), "floats from 0 to 2"),
        (photo_tensor, torch.full((3, 8, 4), torch.nan), "floats from nan"),
        (photo_tensor, [PIXELS[0, 0], torch.zeros(3, 8, 4)], "among floats"),
        (clip_tensor, torch.zeros(8, 4, 3), "tensor"),
        (photo_tensor, PIXELS[0, 0, :, :, :1], "channels last"),
        (photo_tensor, PIXELS, "one picture"),
        (photo_tensor, "photo.png", "is str"),
        (photo_tensor, [], "is list"),
        (photo_tensor, torch.zeros(1, 3, 8, 4, dtype=torch.uint8), "uint8 tensor"),
        (clip_tensor, PIXELS[0, 0], "give a clip"),
        (clip_tensor, [PIXELS[0, 0], PIXELS[0, 0, :4]], "different sizes"),
        (clip_tensor, torch.zeros(3, 8, 4), "give a clip"),
    ],
)
def test_other_forms_are_refused(function, value, message: str) -> None:
    with pytest.raises(UserError, match=message):
        function(value)


def test_joints_are_batched_and_cut_to_the_frames() -> None:
    joints = np.arange(5 * 18 * 3).reshape(5, 18, 3)
    batched = joints_array(joints, (2, 4), "joints")
    assert batched.shape == (2, 4, 18, 3) and batched.dtype == np.float32
    np.testing.assert_array_equal(batched[1], joints[:4])
    assert joints_array(joints[0], (2,), "image_joints").shape == (2, 18, 3)
    assert joints_array(None, (2,), "image_joints") is None
    for wrong in (joints[:3], joints[:, :17], joints[..., :2], joints[0]):
        with pytest.raises(UserError, match="joints have shape"):
            joints_array(wrong, (2, 4), "joints")


def test_the_nearest_sizes_are_named() -> None:
    check_multiple("frames", 24, 2)
    with pytest.raises(UserError, match=r"25 frames .* take 24 or 26"):
        check_multiple("frames", 25, 2)
    with pytest.raises(UserError, match=r"take 2$"):
        check_multiple("frames", 0, 2)
    with pytest.raises(UserError, match=r"take 32$"):
        check_multiple("pixels of height", 7, 32)
