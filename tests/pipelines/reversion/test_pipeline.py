"""The pipeline draws the stock pictures, from any batch split, with learned relations."""

import ast
import inspect
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DiffusionPipeline,
    EulerAncestralDiscreteScheduler,
    StableDiffusionPipeline,
)
from diffusers.callbacks import SDCFGCutoffCallback

from tests.toys import make_toy_stable_diffusion, toy_folder
from visionrel.artifacts import save_learned_embeds
from visionrel.errors import InputError
from visionrel.pipelines.reversion import pipeline as module
from visionrel.pipelines.reversion.drawing import few_step_scheduler
from visionrel.pipelines.reversion.pipeline import ReVersionPipeline


def make_pipeline(stock: StableDiffusionPipeline | None = None) -> ReVersionPipeline:
    stock = stock or make_toy_stable_diffusion()
    pipeline = ReVersionPipeline(**stock.components, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def make_stock(pipeline: ReVersionPipeline) -> StableDiffusionPipeline:
    stock = StableDiffusionPipeline(**pipeline.components, requires_safety_checker=False)
    stock.set_progress_bar_config(disable=True)
    return stock


def make_row(seed: int = 0) -> torch.Tensor:
    return torch.randn(32, generator=torch.Generator().manual_seed(seed))


def generators(count: int, seed: int = 0) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed + index) for index in range(count)]


def draw(pipeline, prompt="cat <R> stone", count=3, **changes) -> np.ndarray:
    settings = {"num_inference_steps": 4, "output_type": "np", "generator": generators(count)}
    if "prompt_embeds" not in changes:
        settings["num_images_per_prompt"] = count
    return pipeline(prompt, **(settings | changes)).images


def largest_step(one: np.ndarray, two: np.ndarray) -> int:
    """Largest difference in 8-bit values."""
    assert one.shape == two.shape
    one, two = ((picture * 255).round().astype(int) for picture in (one, two))
    return int(np.abs(one - two).max())


@pytest.fixture
def pipeline() -> ReVersionPipeline:
    pipeline = make_pipeline()
    pipeline.load_relation({"<R>": make_row()})
    return pipeline


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"guidance_scale": 1.0},
        {"negative_prompt": "red house"},
        {"height": 40, "width": 24},
        {"prompt": ["cat <R> stone"], "count": 1},
    ],
)
@pytest.mark.parametrize("solver", ["base", "few steps", "ancestral"])
def test_pictures_are_the_stock_pipelines(pipeline, changes, solver):
    stock = make_stock(pipeline)
    if solver == "few steps":
        stock.scheduler = few_step_scheduler(stock.scheduler)
    elif solver == "ancestral":
        stock.scheduler = EulerAncestralDiscreteScheduler.from_config(stock.scheduler.config)
    pipeline.scheduler = type(stock.scheduler).from_config(stock.scheduler.config)
    assert largest_step(draw(pipeline, **changes), draw(stock, **changes)) <= 1


def test_latents_and_output_types(pipeline):
    latents = torch.randn(2, 4, 8, 8)
    stock = make_stock(pipeline)
    ours, theirs = (
        draw(pipe, count=2, latents=latents, output_type="latent") for pipe in (pipeline, stock)
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert draw(pipeline, output_type="pt").shape == (3, 3, 32, 32)
    pictures, flags = pipeline("cat {} box", num_inference_steps=2, return_dict=False)
    assert pictures[0].size == (32, 32) and flags is None


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_a_picture_does_not_depend_on_the_batch_split(pipeline, batch_size):
    pipeline.scheduler = few_step_scheduler(pipeline.scheduler)
    whole = draw(pipeline, count=5)
    assert largest_step(draw(pipeline, count=5, batch_size=batch_size), whole) <= 1
    alone = draw(pipeline, count=1, generator=generators(1, seed=3))
    assert largest_step(alone, whole[3:4]) <= 1


def test_batch_split_with_one_generator(pipeline):
    one, two = (
        draw(pipeline, generator=torch.Generator().manual_seed(1), batch_size=size)
        for size in (3, 2)
    )
    assert largest_step(one, two) <= 1


def test_several_prompts_and_counts(pipeline):
    both = draw(pipeline, ["cat {} stone", "dog {} box"], count=2, generator=generators(4))
    assert len(both) == 4
    second = draw(pipeline, "dog {} box", count=2, generator=generators(2, seed=2))
    assert largest_step(both[2:], second) <= 1


def test_texts_are_encoded_once(pipeline):
    calls = []
    pipeline.text_encoder.register_forward_hook(lambda *_: calls.append(1))
    draw(pipeline, ["cat {} stone", "dog {} box"], count=3, generator=generators(6), batch_size=2)
    assert len(calls) == 3  # two prompts and the empty one


def test_the_relation_matters_and_either_case_finds_it(pipeline):
    same = [draw(pipeline, prompt) for prompt in ("cat <R> stone", "cat <r> stone", "cat {} stone")]
    assert np.array_equal(same[0], same[1]) and np.array_equal(same[0], same[2])
    other = make_pipeline()
    other.load_relation({"<R>": 5 * make_row(1)})
    assert largest_step(draw(other), same[0]) > 0


def test_several_relations_in_one_prompt(pipeline):
    pipeline.load_relation({"<R>": make_row(1)}, token="<hug>")
    assert pipeline.relation_tokens == ("<R>", "<hug>")
    assert len(draw(pipeline, "cat <r> stone <HUG> dog")) == 3
    with pytest.raises(InputError, match="exactly one learned relation; loaded: <R>, <hug>"):
        draw(pipeline, "cat {} stone")


@pytest.mark.parametrize("name", ["learned_embeds.safetensors", "learned_embeds.bin"])
def test_relation_from_disk(tmp_path, name):
    save_learned_embeds(tmp_path / name, {"<R>": make_row()})
    pipeline = make_pipeline()
    source = tmp_path if name.endswith("safetensors") else tmp_path / name
    assert pipeline.load_relation(source) == ("<R>",)
    index = pipeline.tokenizer.convert_tokens_to_ids("<R>")
    assert torch.equal(pipeline.text_encoder.get_input_embeddings().weight[index], make_row())
    with pytest.raises(InputError, match="already in the tokenizer's vocabulary"):
        pipeline.load_relation(source)


def test_relations_that_do_not_fit(tmp_path, pipeline):
    save_learned_embeds(tmp_path / "wide.safetensors", {"<W>": torch.ones(768)})
    with pytest.raises(InputError, match="width 768, but the text encoder has 32"):
        pipeline.load_relation(tmp_path / "wide.safetensors")
    with pytest.raises(InputError, match="renames one relation, but the source holds 2"):
        pipeline.load_relation({"<A>": make_row(), "<B>": make_row()}, token="<C>")
    with pytest.raises(InputError, match="does not exist"):
        pipeline.load_relation(tmp_path / "nothing.safetensors")
    assert pipeline.relation_tokens == ("<R>",)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompt": "cat <Q> stone"}, "names <Q>, which is not loaded"),
        ({"height": 33}, "must be multiples of 4, got 33 x 32"),
        ({"generator": generators(2)}, "one per picture: 3, got 2"),
        ({"prompt": []}, "`prompt` needs one text or more"),
        ({"negative_prompt": ["a", "b"]}, "2 negative prompts"),
        (
            {"callback_on_step_end": print, "callback_on_step_end_tensor_inputs": ["latent"]},
            "has latent; allowed are latents, prompt_embeds",
        ),
    ],
)
def test_bad_arguments(pipeline, changes, message):
    with pytest.raises(InputError, match=message):
        draw(pipeline, **changes)


@pytest.fixture
def heeding(pipeline) -> ReVersionPipeline:
    """With random weights texts would change hardly anything."""
    for name, part in pipeline.unet.named_modules():
        if name.endswith("attn2"):
            part.to_v.weight.data *= 100
    return pipeline


def assert_same(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def differ(one: torch.Tensor, two: torch.Tensor) -> bool:
    return bool((one - two).abs().max() > 1e-3)


def look_on(pipe, step, timestep, tensors):
    return {}


def halve_latents(pipe, step, timestep, tensors):
    return {"latents": tensors["latents"] / 2}


def forget_text(pipe, step, timestep, tensors):
    return {"prompt_embeds": torch.zeros_like(tensors["prompt_embeds"])} if step == 1 else {}


def interrupt(pipe, step, timestep, tensors):
    pipe._interrupt = step == 1
    return tensors


EVERY_TENSOR = ("latents", "prompt_embeds", "negative_prompt_embeds")


@pytest.mark.parametrize("guidance_scale", [1.0, 7.5])
@pytest.mark.parametrize("change", [look_on, halve_latents, forget_text, interrupt])
def test_callbacks_see_and_change_what_they_do_in_the_stock_pipeline(
    heeding, change, guidance_scale
):
    pipeline, stock = heeding, make_stock(heeding)
    seen = {}

    def callback(pipe, step, timestep, tensors):
        numbers = (step, int(timestep), pipe.num_timesteps, pipe.guidance_scale, pipe.interrupt)
        seen.setdefault(pipe, []).append((numbers, list(tensors), [*tensors.values()]))
        return change(pipe, step, timestep, tensors)

    plain = {"count": 2, "guidance_scale": guidance_scale, "output_type": "latent"}
    settings = {
        "callback_on_step_end": callback,
        "callback_on_step_end_tensor_inputs": list(EVERY_TENSOR),
    }
    ours, theirs = (draw(pipe, **plain, **settings) for pipe in (pipeline, stock))
    assert_same(ours, theirs)
    assert len(seen[pipeline]) == len(seen[stock]) == (2 if change is interrupt else 4)
    for one, two in zip(seen[pipeline], seen[stock], strict=True):
        assert one[:2] == two[:2]
        assert_same(one[2], two[2])
    untouched = draw(pipeline, **plain)  # nothing lingers
    assert_same(untouched, draw(stock, **plain))
    assert differ(ours, untouched) is (change is not look_on)


def test_an_official_callback_switches_guidance_off_for_each_batch(heeding):
    settings = {"callback_on_step_end": SDCFGCutoffCallback(0.5), "output_type": "latent"}
    ours, theirs = (draw(pipe, count=1, **settings) for pipe in (heeding, make_stock(heeding)))
    assert_same(ours, theirs)
    assert heeding.guidance_scale == 0
    assert differ(ours, draw(heeding, count=1, output_type="latent"))
    first, second = draw(heeding, count=2, batch_size=1, **settings)
    assert_same(first[None], ours)
    assert_same(second[None], draw(heeding, count=1, generator=generators(1, 1), **settings))

    def switch_off(pipe, step, timestep, tensors):
        pipe._guidance_scale *= step != 2
        return {}

    settings["callback_on_step_end"] = switch_off
    assert_same(draw(heeding, count=2, **settings), torch.stack([first, second]))


def test_a_callback_sees_latents_of_each_batch_unless_it_asks_for_more(pipeline):
    seen = []

    def callback(pipe, step, timestep, tensors):
        seen.append((step, {name: len(value) for name, value in tensors.items()}))
        pipe._interrupt = len(seen) == 6
        return {}

    assert len(draw(pipeline, count=5, callback_on_step_end=callback, batch_size=2)) == 5
    assert seen == [(step, {"latents": 2}) for step in (0, 1, 2, 3, 0, 1)]


def test_components_are_left_as_they_were(pipeline):
    processors = dict(pipeline.unet.attn_processors)
    state = {name: value.clone() for name, value in pipeline.unet.state_dict().items()}
    draw(pipeline)
    assert pipeline.unet.attn_processors == processors
    assert all(
        torch.equal(value, state[name]) for name, value in pipeline.unet.state_dict().items()
    )


def test_loads_as_a_custom_pipeline(monkeypatch):
    # Diffusers gives every local pipeline one module name, and keeps what it held before.
    monkeypatch.delitem(sys.modules, "diffusers_modules.local.pipeline", raising=False)
    loaded = DiffusionPipeline.from_pretrained(
        toy_folder(), custom_pipeline=str(Path(module.__file__).parent), trust_remote_code=True
    )
    loaded.set_progress_bar_config(disable=True)
    loaded.load_relation({"<R>": make_row()})
    assert type(loaded).__name__ == "ReVersionPipeline"
    pipeline = make_pipeline()
    pipeline.load_relation({"<R>": make_row()})
    assert largest_step(draw(loaded), draw(pipeline)) <= 1


def test_few_step_scheduler_keeps_the_noise_schedule():
    base = DDIMScheduler.from_config(
        make_toy_stable_diffusion().scheduler.config, prediction_type="v_prediction"
    )
    solver = few_step_scheduler(base)
    assert solver.config.prediction_type == "v_prediction"
    assert solver.config.algorithm_type == "dpmsolver++"
    torch.testing.assert_close(solver.alphas_cumprod, base.alphas_cumprod)


def test_every_argument_is_documented_with_its_default():
    parameters = dict(inspect.signature(ReVersionPipeline.__call__).parameters)
    del parameters["self"]
    arguments = ReVersionPipeline.__call__.__doc__.split("Args:\n")[1].split("Returns:")[0]
    documented = dict(re.findall(r"^ {12}(\w+): (.*?)(?=^ {12}\w|\Z)", arguments, re.M | re.S))
    assert list(documented) == list(parameters)
    defaults = {
        name: [ast.literal_eval(value) for value in re.findall(r"\(default\s+`(.+?)`\)", text)]
        for name, text in documented.items()
    }
    assert defaults == {
        name: [] if parameter.default is inspect.Parameter.empty else [parameter.default]
        for name, parameter in parameters.items()
    }


def test_the_stock_arguments_that_are_not_taken_are_documented():
    ours, stock = (
        inspect.signature(pipeline.__call__).parameters
        for pipeline in (ReVersionPipeline, StableDiffusionPipeline)
    )
    listed = ReVersionPipeline.__call__.__doc__.split("Not taken")[1].split("Args:")[0]
    assert set(re.findall(r"`(\w+)`", listed)) == set(stock) - set(ours) - {"kwargs"}
