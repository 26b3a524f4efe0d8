"""The VAE whose decoder sees the warped photo."""

from pathlib import Path

import pytest
import torch

from diffusion.latents import decode_latents, load_vae, spatial_factor
from models.autoencoder import TINY_VAE_CONFIG, ReferenceAutoencoderKL, SpaceToDepthAutoencoderKL


def seeded(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(len(shape))) * 2 - 1


@pytest.fixture
def vae() -> ReferenceAutoencoderKL:
    """One that uses what it sees: new ones ignore the photo but for their gate."""
    torch.manual_seed(0)
    vae = ReferenceAutoencoderKL(**TINY_VAE_CONFIG).eval().requires_grad_(False)
    for conv in (vae.photo_encoder.fine_out, vae.photo_encoder.coarse_out, vae.gate_out):
        torch.nn.init.normal_(conv.weight, std=0.1)
    return vae


def test_a_photo_that_is_valid_nowhere_is_no_photo(vae: ReferenceAutoencoderKL) -> None:
    z, warped = seeded(2, 8, 4, 2), seeded(2, 3, 32, 16)
    without = vae.decode(z).sample
    unknown = vae.decode(z, warped=warped, validity=torch.zeros(2, 1, 32, 16)).sample
    torch.testing.assert_close(unknown, without, rtol=0, atol=1e-5)
    known = vae.decode(z, warped=warped, validity=torch.ones(2, 1, 32, 16)).sample
    assert (known - without).abs().mean() > 0.1


def test_an_open_gate_copies_the_photo_where_it_is_valid(vae: ReferenceAutoencoderKL) -> None:
    torch.nn.init.constant_(vae.gate_out.bias, 50.0)
    warped, validity = seeded(1, 3, 32, 16), torch.zeros(1, 1, 32, 16)
    validity[..., :8] = 0.3
    decoded = vae.decode(seeded(1, 8, 4, 2), warped=warped, validity=validity).sample
    torch.testing.assert_close(decoded[..., :8], warped[..., :8], rtol=0, atol=1e-5)
    assert (decoded[..., 8:] - warped[..., 8:]).abs().mean() > 0.1


def test_with_three_levels_every_grid_sees_the_photo() -> None:
    torch.manual_seed(0)
    config = {
        **TINY_VAE_CONFIG,
        "block_out_channels": [8, 8, 16],
        "down_block_types": ["DownEncoderBlock2D"] * 3,
        "up_block_types": ["UpDecoderBlock2D"] * 3,
    }
    vae = ReferenceAutoencoderKL(**config)
    z, warped, validity = seeded(1, 8, 2, 1), seeded(1, 3, 32, 16), torch.ones(1, 1, 32, 16)
    assert spatial_factor(vae) == 16
    photo = vae.photo_encoder
    for conv in (photo.fine_out, photo.coarse_out, photo.deeper[0]["out"]):
        torch.nn.init.normal_(conv.weight, std=0.1)
    vae.decode(z, warped=warped, validity=validity).sample.square().sum().backward()
    missing = [name for name, p in photo.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not missing


def test_samples_of_a_batch_do_not_touch_each_other(vae: ReferenceAutoencoderKL) -> None:
    z, warped, validity = seeded(2, 8, 4, 2), seeded(2, 3, 32, 16), torch.ones(2, 1, 32, 16)
    validity[1] = 0
    both = vae.decode(z, warped=warped, validity=validity).sample
    for i in range(2):
        alone = vae.decode(z[i : i + 1], warped=warped[i : i + 1], validity=validity[i : i + 1]).sample
        torch.testing.assert_close(both[i : i + 1], alone, rtol=1e-4, atol=1e-5)


def test_it_is_saved_and_loaded_by_its_name(vae: ReferenceAutoencoderKL, tmp_path: Path) -> None:
    vae.save_pretrained(tmp_path)
    loaded = load_vae(tmp_path)
    assert type(loaded) is ReferenceAutoencoderKL
    latents, warped, validity = seeded(3, 8, 4, 2), seeded(3, 3, 32, 16), torch.ones(3, 1, 32, 16)
    whole = decode_latents(loaded, latents, warped=warped, validity=validity)
    chunked = decode_latents(loaded, latents, 2, warped, validity)
    torch.testing.assert_close(whole, chunked, rtol=1e-4, atol=1e-5)
    assert (whole - decode_latents(loaded, latents)).abs().mean() > 0.05


def test_other_vaes_do_not_look_at_the_photo() -> None:
    torch.manual_seed(0)
    plain = SpaceToDepthAutoencoderKL(**TINY_VAE_CONFIG).eval().requires_grad_(False)
    latents, warped, validity = seeded(1, 8, 4, 2), seeded(1, 3, 32, 16), torch.ones(1, 1, 32, 16)
    assert torch.equal(decode_latents(plain, latents), decode_latents(plain, latents, 8, warped, validity))


def test_slices_take_their_own_photo(vae: ReferenceAutoencoderKL) -> None:
    z, warped, validity = seeded(2, 8, 4, 2), seeded(2, 3, 32, 16), torch.ones(2, 1, 32, 16)
    whole = vae.decode(z, warped=warped, validity=validity).sample
    vae.enable_slicing()
    sliced = vae.decode(z, warped=warped, validity=validity).sample
    torch.testing.assert_close(sliced, whole, rtol=1e-4, atol=1e-5)


def test_tiles_are_of_512_pixels_and_see_their_part_of_the_photo(vae: ReferenceAutoencoderKL) -> None:
    assert vae.tile_sample_min_size * vae.stem_factor == vae.tile_latent_min_size * 8 == 512
    z, warped, validity = seeded(1, 8, 12, 4), seeded(1, 3, 96, 32), torch.ones(1, 1, 96, 32)
    whole = vae.decode(z, warped=warped, validity=validity).sample
    vae.enable_tiling()
    assert torch.equal(vae.decode(z, warped=warped, validity=validity).sample, whole)  # one tile
    vae.tile_latent_min_size = 8
    tiled = vae.decode(z, warped=warped, validity=validity).sample
    # Normalisations see one tile at a time, and the weights and latents here are noise.
    assert tiled.shape == whole.shape and 0 < (tiled - whole).norm() / whole.norm() < 0.4
    torch.nn.init.constant_(vae.gate_out.bias, 50.0)
    copied = vae.decode(z, warped=warped, validity=validity).sample
    torch.testing.assert_close(copied, warped, rtol=0, atol=1e-5)
