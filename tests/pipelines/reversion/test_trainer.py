"""What ReVersion adds to the loop: behaviours 5-8 and 12-16, files, validation, restarts."""

import dataclasses
import json
import shutil
from pathlib import Path
from random import Random

import pytest
import torch
from accelerate import Accelerator
from diffusers import DDIMScheduler, StableDiffusionPipeline
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tests.pipelines.reversion.stand_ins import write_exemplars
from tests.toys import make_toy_stable_diffusion, toy_folder
from visionrel.artifacts import load_learned_embeds, sha256_of
from visionrel.bases import Base, resolve_base
from visionrel.cli.replay import ReplaySettings, replay
from visionrel.data import read_exemplars
from visionrel.errors import InputError
from visionrel.losses import relation_steering_loss
from visionrel.pipelines.reversion import trainer
from visionrel.pipelines.reversion.config import TrainConfig
from visionrel.pipelines.reversion.pipeline import EMBEDDINGS_NAME
from visionrel.pipelines.reversion.tokens import encode_text
from visionrel.pipelines.reversion.trainer import ReVersionTask, train
from visionrel.records import read_record
from visionrel.training import SampleRandom, TrainingError, loop
from visionrel.training import train as run_training
from visionrel.training.stopping import explain_memory


BASE = Base("toy", Path("."), "hub", "0" * 40)


@pytest.fixture
def data(tmp_path) -> Path:
    return write_exemplars(tmp_path / "exemplars")


def make_config(data: Path, **changes) -> TrainConfig:
    settings = {
        "train_data_dir": data,
        "output_dir": data.parent / "out",
        "base": str(toy_folder()),
        "train_batch_size": 2,
        "gradient_accumulation_steps": 1,
        "max_train_steps": 4,
        "seed": 5,
        "device": "cpu",
        "report_to": "none",
    }
    return TrainConfig(**(settings | changes))


def make_task(data: Path, components: StableDiffusionPipeline | None = None, **changes):
    components = components or make_toy_stable_diffusion()
    return ReVersionTask(make_config(data, **changes), components, read_exemplars(data), BASE)


def load_row(folder: Path) -> Tensor:
    return load_learned_embeds(folder / EMBEDDINGS_NAME)["<R>"]


def with_prediction(scheduler: DDIMScheduler, kind: str) -> DDIMScheduler:
    return DDIMScheduler.from_config(scheduler.config, prediction_type=kind)


def make_batch(task: ReVersionTask, count: int = 2, captions: list[str] | None = None) -> dict:
    samples = [task.sample(index, SampleRandom(0, index)) for index in range(count)]
    for sample, caption in zip(samples, captions or [], strict=False):
        sample["input_ids"] = encode_text(task.tokenizer, caption)
    return task.collate(samples)


# --- defaults -----------------------------------------------------------------------------------


def test_defaults_are_the_recommended_run(data):
    config = TrainConfig(train_data_dir=data).settle(512)
    assert (config.resolution, config.train_batch_size, config.max_train_steps) == (512, 2, 3000)
    effective = config.train_batch_size * config.gradient_accumulation_steps
    assert config.scale_lr and config.learning_rate * effective == pytest.approx(2e-3)  # 14
    assert (config.steer_weight, config.num_positives, config.temperature) == (0.01, 4, 0.07)
    assert config.importance_sampling and config.alpha == 0.5
    assert (config.adam_beta1, config.adam_beta2, config.adam_epsilon) == (0.9, 0.999, 1e-8)
    assert config.adam_weight_decay == 0.01 and config.max_grad_norm is None
    assert config.mixed_precision == "no" and config.lr_scheduler == "constant"
    assert config.initializer_token == "and"


def test_small_bases_have_their_own(data):
    config = TrainConfig(train_data_dir=data, max_train_steps=7).settle(64)
    assert (config.resolution, config.train_batch_size, config.max_train_steps) == (64, 8, 7)
    assert config.learning_rate * config.train_batch_size == pytest.approx(8e-3)
    assert (config.initializer_token, config.lr_scheduler) == ("best_preposition", "cosine")
    assert TrainConfig(train_data_dir=data, learning_rate=0.1).settle(64).learning_rate == 0.1


def test_epochs_of_the_recommended_run(tmp_path):
    task = make_task(write_exemplars(tmp_path / "ten", 10), repeats=100)
    assert task.num_items == 1000  # batch 2 x accumulation 4: 125 steps an epoch, 24 for 3000


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_positives": 0}, "`num_positives` is 0 while `steer_weight` is 0.01"),
        ({"alpha": 1.5}, "`alpha` must lie in"),
        ({"temperature": 0.0}, "`temperature` must be above 0"),
        ({"steer_weight": -1.0}, "`steer_weight` must be at least 0"),
        ({"denoise_weight": 0.0, "steer_weight": 0.0}, "nothing would train"),
        ({"resolution": 0}, "`resolution` must be at least 1"),
        ({"train_batch_size": 0}, "`train_batch_size` must be at least 1"),
    ],
)
def test_bad_settings(data, changes, message):
    with pytest.raises(InputError, match=message):
        make_config(data, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_positives": 57}, r"`num_positives` must lie in \[0, 36\]"),
        ({"resolution": 30}, "`resolution` must be a multiple of 4"),
        ({"initializer_token": "astride"}, "`initializer_token` must be a single token"),
        ({"relation_token": "cat"}, "already in the tokenizer's vocabulary"),
        ({"base": "nowhere"}, "Unknown base"),
        ({"validation_prompts": ("cat <x> box",)}, "names <x>, which is not loaded"),
        ({"validation_prompts": ("",)}, "`prompts` needs at least one"),
        ({"train_data_dir": Path("nowhere")}, "is not a folder"),
    ],
)
def test_bad_settings_for_the_base(data, changes, message):
    config = make_config(data, **changes)
    with pytest.raises(InputError, match=message):
        train(config)
    assert not config.output_dir.exists()


def test_caption_cut_off_is_found_before_training(data):
    captions = {f"{i}.png": ["cat {} stone"] for i in range(3)} | {"1.png": ["cat " * 30 + "{}"]}
    (data / "text.json").write_text(json.dumps(captions))
    with pytest.raises(InputError, match=r"1\.png: the caption .* longer than 24 tokens"):
        train(make_config(data))


def test_other_predictions_are_refused(data):
    components = make_toy_stable_diffusion()
    components.scheduler = with_prediction(components.scheduler, "sample")
    with pytest.raises(InputError, match="predicts 'sample'"):
        make_task(data, components)


# --- the trained row ----------------------------------------------------------------------------


def test_only_the_row_trains(data):
    task = make_task(data, gradient_accumulation_steps=2, max_train_steps=2)
    parameters = {name for name, value in task.named_parameters() if value.requires_grad}
    assert parameters == {"relation"} and task.relation.shape == (32,)
    before = {name: value.clone() for name, value in task.state_dict().items()}
    run_training(task, task.config)
    state = task.state_dict()
    assert state.keys() == before.keys()
    assert {name for name in state if not torch.equal(state[name], before[name])} == parameters


class FullTable(nn.Module):
    """The authors' way: AdamW on the whole table, other rows restored after each step."""

    def __init__(self, task: ReVersionTask) -> None:
        super().__init__()
        self.task = task
        self.table = nn.Parameter(task.text_encoder.get_input_embeddings().weight.detach().clone())
        self.kept = self.table.detach().clone()

    def loss(self, batch: dict[str, Tensor]) -> Tensor:
        task, config = self.task, self.task.config
        embedding = task.text_encoder.get_input_embeddings()
        hooks, embedding._forward_hooks = embedding._forward_hooks, {}
        embedding.weight.requires_grad_(False)
        weight = embedding._parameters.pop("weight")
        embedding.weight = self.table
        try:
            denoise = task.denoising_loss(batch)
        finally:
            del embedding.weight
            embedding.weight = nn.Parameter(weight, requires_grad=False)
            embedding._forward_hooks = hooks
        rows = self.table.detach()
        steer = relation_steering_loss(
            self.table[task.token_id],
            rows[task.vocabulary.positives(batch["positive_ids"])],
            rows[task.vocabulary.negatives(batch["input_ids"])],
            config.temperature,
        )
        return config.denoise_weight * denoise + config.steer_weight * steer

    @torch.no_grad()
    def restore(self) -> None:
        others = torch.arange(len(self.table)) != self.task.token_id
        self.table[others] = self.kept[others]


def test_row_only_training_equals_the_full_table(data):
    ours, theirs = make_task(data), FullTable(make_task(data))
    settings = {"lr": 2e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01}
    row_optimizer = torch.optim.AdamW([ours.relation], **settings)
    table_optimizer = torch.optim.AdamW([theirs.table], **settings)
    for step in range(25):
        batch = ours.collate([ours.sample(step + i, SampleRandom(1, 2 * step + i)) for i in (0, 1)])
        ours(batch)["loss"].backward()
        theirs.loss(batch).backward()
        for optimizer in (row_optimizer, table_optimizer):
            optimizer.step()
            optimizer.zero_grad()
        theirs.restore()
    start = theirs.kept[ours.token_id]
    assert (ours.relation - start).norm() > 0.05
    torch.testing.assert_close(ours.relation, theirs.table[ours.token_id], rtol=0, atol=1e-6)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_casts_unet_and_vae_only(data, precision):
    task = make_task(data, mixed_precision=precision)
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    assert task.unet.dtype == task.vae.dtype == dtype
    assert task.text_encoder.dtype == task.relation.dtype == torch.float32
    with torch.autocast("cpu", dtype):
        terms = task(make_batch(task))
    terms["loss"].backward()
    assert terms["loss"].dtype == torch.float32 and task.relation.grad.norm() > 0


def test_gradient_checkpointing_computes_twice_and_changes_nothing(data):
    rows, calls = [], []
    for on in (False, True):
        folder = data.parent / f"out-{on}"
        changes = {"gradient_checkpointing": on, "initializer_token": "and"}
        task = make_task(data, output_dir=folder, max_train_steps=2, **changes)
        modules = [task.unet.mid_block.resnets[-1], task.text_encoder]
        counts = [0, 0]
        for place, module in enumerate(modules):
            module.register_forward_pre_hook(
                lambda *_, place=place, counts=counts: counts.__setitem__(place, counts[place] + 1)
            )
        run_training(task, task.config)
        assert not any(module.training for module in modules)
        rows.append(load_row(folder))
        calls.append(counts)
    assert calls == [[2, 2], [4, 2]]
    torch.testing.assert_close(rows[1], rows[0])


def test_attention_is_set_where_the_task_stands(data, monkeypatch):
    seen = []

    def note(model, backend):
        seen.append((type(model).__name__, backend, task.relation.device.type))

    monkeypatch.setattr(trainer, "set_attention", note)
    task = make_task(data, attention="xformers", max_train_steps=1, initializer_token="and")
    prepare = Accelerator.prepare

    def move(self, model, optimizer):
        model, optimizer = prepare(self, model, optimizer)
        return model.to("meta"), optimizer

    monkeypatch.setattr(Accelerator, "prepare", move)
    loop._Trainer(task, task.config, None)
    assert seen == [
        (kind, "xformers", "meta") for kind in ("UNet2DConditionModel", "AutoencoderKL")
    ]


def test_attention_that_cannot_run_is_refused_before_anything_is_written(data):
    config = make_config(data, attention="xformers")
    with pytest.raises(InputError, match="`attention` xformers needs CUDA, not cpu"):
        train(config)
    assert not config.output_dir.exists()


# --- through the loop ---------------------------------------------------------------------------


def test_training_leaves_what_generation_reads(data):
    steps = []
    config = make_config(
        data,
        max_train_steps=4,
        checkpointing_steps=2,
        save_as_bin=True,
        validation_steps=4,
        validation_prompts=("cat {} ../box",),
        num_validation_images=3,
    )
    result = train(config, on_step=lambda step, metrics: steps.append((step, metrics["steer"])))
    assert result.steps == 4 and [step for step, _ in steps] == [1, 2, 3, 4]
    out = config.output_dir
    learned = out / EMBEDDINGS_NAME
    assert learned.stat().st_size < 10_000
    with safe_open(learned, framework="pt") as file:
        assert list(file.keys()) == ["<R>"]
        row, header = file.get_tensor("<R>"), file.metadata()
    assert row.shape == (32,) and row.dtype == torch.float32
    expected = {
        "method": "reversion",
        "relation": "exemplars",
        "relation_token": "<R>",
        "base_name": str(toy_folder()),
        "base_sha256": resolve_base(str(toy_folder())).digest,
        "step": "4",
        "seed": "5",
    }
    assert expected.items() <= header.items()
    pickled = torch.load(out / "learned_embeds.bin", weights_only=True)
    assert list(pickled) == ["<R>"] and torch.equal(pickled["<R>"], row)
    for step in (2, 4):
        assert (out / f"learned_embeds-steps-{step}.safetensors").is_file()
        assert (out / f"checkpoint-{step}" / EMBEDDINGS_NAME).is_file()
    pictures = sorted((out / "validation/step-4").glob("*.png"))
    assert [path.name for path in pictures] == [
        f"000{index}_cat-r-box_seed{5 + index}.png" for index in range(3)
    ]
    assert len((out / "metrics.jsonl").read_text().splitlines()) == 4


@pytest.mark.parametrize("use_ema", [False, True])
def test_validation_pictures_replay_bit_for_bit(data, tmp_path, use_ema):
    config = make_config(data, validation_steps=3, num_validation_images=3, use_ema=use_ema)
    train(config)
    pictures = sorted((config.output_dir / "validation/step-3").glob("*.png"))
    assert len(pictures) == 3
    learned = config.output_dir / "learned_embeds-steps-3.safetensors"
    for path in pictures:
        assert read_record(path).adapter == {str(learned): sha256_of(learned)}
        again = ReplaySettings(file=path, output=tmp_path / f"again-{path.name}")
        assert replay(again).data["identical"]


def test_validation_draws_with_the_row_that_it_leaves(data, monkeypatch):
    seen = []

    def note(pipeline, settings, base):
        index = pipeline.tokenizer.convert_tokens_to_ids("<R>")
        row = pipeline.text_encoder.get_input_embeddings()(torch.tensor([index]))[0]
        seen.append((row, load_learned_embeds(settings.relations[0])["<R>"]))

    monkeypatch.setattr(trainer, "draw_with_records", note)
    train(make_config(data, validation_steps=1, max_train_steps=2))
    assert all(torch.equal(*pair) for pair in seen) and not torch.equal(seen[0][0], seen[1][0])


def test_stock_diffusers_loads_the_result(data):
    config = make_config(data, max_train_steps=2, save_as_bin=True)
    train(config)
    rows = []
    for name in (None, "learned_embeds.bin"):
        stock = make_toy_stable_diffusion()
        stock.load_textual_inversion(str(config.output_dir), weight_name=name)
        index = stock.tokenizer.convert_tokens_to_ids("<R>")
        rows.append(stock.text_encoder.get_input_embeddings().weight[index])
    assert torch.equal(*rows)
    assert torch.equal(load_row(config.output_dir), rows[0])


def test_same_seed_same_row_whatever_the_split(data):
    rows = []
    for batch, accumulation in ((4, 1), (1, 4)):
        config = make_config(
            data,
            output_dir=data.parent / f"out-{batch}",
            train_batch_size=batch,
            gradient_accumulation_steps=accumulation,
            steer_weight=0.0,  # steering pools words over the micro-batch
        )
        train(config)
        rows.append(load_row(config.output_dir))
    torch.testing.assert_close(rows[1], rows[0], rtol=0, atol=1e-4)


def test_resumed_run_ends_with_the_same_bits(data):
    changes = {"checkpointing_steps": 2, "lr_scheduler": "constant"}
    whole = make_config(data, output_dir=data.parent / "whole", **changes)
    train(whole)
    cut = dataclasses.replace(whole, output_dir=data.parent / "cut", max_train_steps=2)
    train(cut)
    again = dataclasses.replace(cut, max_train_steps=4, resume_from_checkpoint="latest")
    train(again)
    rows = [load_row(folder) for folder in (whole.output_dir, cut.output_dir)]
    assert torch.equal(*rows)


def test_resume_keeps_the_split_only_with_steering(data):
    free = make_config(data, steer_weight=0.0).free_on_resume
    fixed = make_config(data).free_on_resume
    assert free - fixed == {"train_batch_size", "gradient_accumulation_steps"}
    train(make_config(data, max_train_steps=1, lr_scheduler="constant"))
    looks = {"validation_prompts": ("cat {} box",), "num_validation_images": 1}
    again = {"max_train_steps": 2, "resume_from_checkpoint": "latest", **looks}
    again["lr_scheduler"] = "constant"
    split = {"train_batch_size": 1, "gradient_accumulation_steps": 2}
    with pytest.raises(InputError, match="`train_batch_size` is 1"):
        train(make_config(data, **again, **split))
    train(make_config(data, **again, gradient_checkpointing=True, save_as_bin=True))


def test_resume_on_changed_weights_is_refused(data, tmp_path):
    base = shutil.copytree(toy_folder(), tmp_path / "base")
    train(make_config(data, base=str(base), max_train_steps=1))
    path = next((base / "unet").glob("*.safetensors"))
    tensors = load_file(path)
    next(iter(tensors.values())).view(-1)[0] += 1
    save_file(tensors, path, {"format": "pt"})
    again = make_config(data, base=str(base), max_train_steps=2, resume_from_checkpoint="latest")
    with pytest.raises(InputError, match=r"`base_sha256` is '\w{64}', but .* with '\w{64}'"):
        train(again)


@pytest.mark.parametrize("steer_weight", [0.0, 0.01])
def test_memory_advice_names_what_a_resume_allows(data, steer_weight):
    config = make_config(data, steer_weight=steer_weight)
    with pytest.raises(TrainingError) as caught, explain_memory(config):
        raise MemoryError
    resume, anew = str(caught.value).split("start anew")
    assert "Switch on `gradient_checkpointing`" in resume
    assert ("lower `train_batch_size`" in resume) is (steer_weight == 0)
    assert ("a lower `train_batch_size`" in anew) is (steer_weight > 0)


def test_draws_under_a_seeded_generator(data):
    """Behaviour 17: the caption by `choice`, then distinct positives from the basis by `sample`."""
    task = make_task(data)
    item = task.dataset.draw(0, Random(2023))
    random = Random(2023)
    assert item.caption == random.choice(task.dataset.captions[0])
    assert item.positives.split() == random.sample(list(task.vocabulary.basis), 4)
