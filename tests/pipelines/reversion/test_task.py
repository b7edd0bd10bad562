"""The loss of one batch: what ReVersion asks of the denoiser."""

import pytest
import torch

from tests.pipelines.reversion.stand_ins import write_exemplars
from tests.pipelines.reversion.test_trainer import (
    make_batch,
    make_task,
    with_prediction,
)
from tests.toys import make_toy_stable_diffusion
from visionrel.losses import relation_steering_loss
from visionrel.pipelines.reversion.tokens import encode_text
from visionrel.training import SampleRandom


@pytest.fixture
def data(tmp_path):
    return write_exemplars(tmp_path / "exemplars")


@pytest.mark.parametrize("steer_weight", [0.01, 2.0])
def test_total_is_the_weighted_sum(data, steer_weight):
    task = make_task(data, steer_weight=steer_weight, denoise_weight=0.5)
    terms = task(make_batch(task))
    expected = 0.5 * terms["denoise"] + steer_weight * terms["steer"]
    torch.testing.assert_close(terms["loss"], expected)
    assert terms["loss"] == terms["denoise_weighted"] + terms["steer_weighted"]
    assert terms["steer_weighted"] == steer_weight * terms["steer"]
    assert terms["positives"] == 8  # batch 2 x 4 prepositions, one piece each here
    assert terms["negatives"] >= 4


def test_without_steering_no_positives_are_needed(data):
    task = make_task(data, steer_weight=0.0, num_positives=0)
    terms = task(make_batch(task))
    assert terms.keys() == {"loss", "denoise", "denoise_weighted"}
    assert terms["loss"] == terms["denoise"]


def test_denoising_loss_follows_the_spec(data):
    task = make_task(data)
    batch = make_batch(task)
    terms = task(batch)
    alphas = task.noise_scheduler.alphas_cumprod[batch["timestep"]][:, None, None, None]
    with torch.no_grad():
        latents = []
        for picture, noise in zip(batch["picture"].tolist(), batch["latent_noise"], strict=True):
            value = picture * 60 % 256
            pixels = torch.tensor([value, 120, 200.0])[:, None, None] / 127.5 - 1
            posterior = task.vae.encode(pixels.expand(3, 32, 32)[None]).latent_dist
            latents.append(posterior.mean + posterior.std * noise)
        latents = torch.cat(latents) * task.vae.config.scaling_factor
        noisy = alphas.sqrt() * latents + (1 - alphas).sqrt() * batch["noise"]
        states = task.text_encoder(batch["input_ids"]).last_hidden_state
        prediction = task.unet(noisy, batch["timestep"], states).sample
    torch.testing.assert_close(terms["denoise"], (prediction - batch["noise"]).square().mean())


def test_velocity_target(data):
    components = make_toy_stable_diffusion()
    components.scheduler = with_prediction(components.scheduler, "v_prediction")
    task = make_task(data, components)
    batch = make_batch(task)
    seen = {}
    task.unet.register_forward_hook(
        lambda module, args, out: seen.update(noisy=args[0], out=out[0])
    )
    loss = task(batch)["denoise"]
    alphas = task.noise_scheduler.alphas_cumprod[batch["timestep"]][:, None, None, None]
    latents = (seen["noisy"] - (1 - alphas).sqrt() * batch["noise"]) / alphas.sqrt()
    target = alphas.sqrt() * batch["noise"] - (1 - alphas).sqrt() * latents
    torch.testing.assert_close(loss, (seen["out"] - target).square().mean(), rtol=1e-3, atol=1e-4)


def test_steering_does_not_depend_on_the_order_nor_on_a_second_token(data):
    task = make_task(data)
    captions = ["cat <R> stone", "a dog <R> box"]
    steer = task(make_batch(task, captions=captions))["steer"]
    twice = make_batch(task, captions=["cat <R> stone <R>", captions[1]])
    torch.testing.assert_close(task(twice)["steer"], steer)
    swapped = make_batch(task, captions=captions[::-1])
    torch.testing.assert_close(task(swapped)["steer"], steer)


def test_first_caption_without_the_token_still_gives_the_value(data):
    task = make_task(data)
    batch = make_batch(task, captions=["cat on stone", "a dog <R> box"])
    terms = task(batch)
    table = task.text_encoder.get_input_embeddings().weight
    words = task.tokenizer("cat stone dog box", add_special_tokens=False).input_ids
    positives = task.vocabulary.positives(batch["positive_ids"])
    expected = relation_steering_loss(table[-1], table[positives], table[words])
    torch.testing.assert_close(terms["steer"], expected)


def test_draws_follow_the_spec(data):
    task = make_task(data)
    sample = task.sample(4, SampleRandom(5, 9))
    random = SampleRandom(5, 9)
    caption = random.python.choice(task.dataset.captions[4 % 3])
    positives = random.python.sample(list(task.vocabulary.basis), 4)
    assert sample["picture"] == 1
    assert torch.equal(sample["input_ids"], encode_text(task.tokenizer, caption))
    assert torch.equal(sample["positive_ids"], encode_text(task.tokenizer, " ".join(positives)))
    probabilities = task.timestep_probabilities.numpy()
    assert sample["timestep"] == random.numpy.choice(1000, p=probabilities)


def test_uniform_timesteps_when_focal_sampling_is_off(data):
    probabilities = make_task(data, importance_sampling=False).timestep_probabilities
    assert torch.equal(probabilities, torch.full((1000,), 1e-3, dtype=torch.float64))


def test_each_picture_is_encoded_once(data):
    task = make_task(data)
    calls = []
    task.vae.encoder.register_forward_hook(lambda *_: calls.append(1))
    for _ in range(3):
        task(make_batch(task, 7))
    assert len(calls) == 3
