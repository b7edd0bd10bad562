"""Stages of the `scenes` recipe: autoencoder, text encoder, cached latents, U-Net."""
