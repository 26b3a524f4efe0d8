"""What is done with a denoiser: latents, loss, sampling."""
