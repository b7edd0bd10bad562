"""Pictures that a training run draws of itself, always from the same noise."""

from diffusers import StableDiffusionPipeline
from transformers import PreTrainedTokenizerBase

from visionrel.data import Exemplar, fill_template
from visionrel.pipelines.reversion.config import GenerateConfig, TrainConfig
from visionrel.pipelines.reversion.drawing import few_step_scheduler
from visionrel.pipelines.reversion.pipeline import ReVersionPipeline
from visionrel.pipelines.reversion.tokens import fill_prompt, relation_tokens


VALIDATION_STEPS = 25


def plan_validation(
    config: TrainConfig, exemplar: Exemplar, tokenizer: PreTrainedTokenizerBase
) -> GenerateConfig:
    """Fills in the token now, so that a wrong prompt stops the run before it starts.

    Args:
        config: Settings of the run.
        exemplar: Its first caption is drawn if no prompt is given.
        tokenizer: With the relation token added.
    """
    prompts = config.validation_prompts or exemplar.templates[:1]
    known = relation_tokens(tokenizer)
    filled = (fill_template(prompt, config.relation_token) for prompt in prompts)
    return GenerateConfig(
        prompts=tuple(fill_prompt(prompt, known) for prompt in filled),
        base=config.base,
        revision=config.revision,
        num_images=config.num_validation_images,
        num_inference_steps=VALIDATION_STEPS,
        batch_size=config.train_batch_size,
        precision="fp32" if config.mixed_precision == "no" else config.mixed_precision,
        attention=config.attention,
        device=config.device,
        grid=False,
    )


def validation_pipeline(components: StableDiffusionPipeline) -> ReVersionPipeline:
    """A pipeline over the models in training; it sees the relation as it is now."""
    parts = {
        **components.components,
        "scheduler": few_step_scheduler(components.scheduler),
        # It stays where it was loaded, while the others move and change their precision.
        **{"safety_checker": None, "feature_extractor": None},
    }
    pipeline = ReVersionPipeline(**parts, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
