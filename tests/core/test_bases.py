import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.core.test_artifacts import Evil
from tests.pipelines.videorepa.toys import toy_base_folder
from tests.toys import make_toy_stable_diffusion, toy_folder
from visionrel import bases, weights_manifest
from visionrel.bases import COGVIDEOX, Base, fetch_base, load_components, resolve_base
from visionrel.errors import InputError, VisionrelError
from visionrel.weights_manifest import WeightsEntry, hash_folder, save_entry


UNET = "unet/diffusion_pytorch_model.safetensors"
SD15 = "stable-diffusion-v1-5/stable-diffusion-v1-5"


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(toy_folder(), tmp_path / "base")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty Hugging Face cache; `cache(id, commit)` puts the toy pipeline into it."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))

    def put(name, commit):
        place = tmp_path / "cache" / f"models--{name.replace('/', '--')}"
        (place / "refs").mkdir(parents=True, exist_ok=True)
        (place / "refs" / "main").write_text(commit)
        return shutil.copytree(toy_folder(), place / "snapshots" / commit)

    return put


def generate(pipeline):
    generator = torch.Generator().manual_seed(0)
    return pipeline("a cat", num_inference_steps=2, generator=generator, output_type="np").images


def test_a_folder_written_by_save_pretrained_is_a_base(folder):
    base = resolve_base(str(folder))
    assert (base.kind, base.folder, base.revision) == ("folder", folder, None)
    assert base.describe() == {"name": str(folder), "sha256": base.digest}
    pipeline = load_components(base)
    assert (generate(pipeline) == generate(make_toy_stable_diffusion())).all()
    models = (pipeline.unet, pipeline.vae, pipeline.text_encoder)
    assert not any(parameter.requires_grad for m in models for parameter in m.parameters())
    assert not any(model.training for model in models)


def test_components_take_the_type_asked_for(folder):
    pipeline = load_components(resolve_base(str(folder)), dtype=torch.bfloat16)
    assert {m.dtype for m in (pipeline.unet, pipeline.vae, pipeline.text_encoder)} == {
        torch.bfloat16
    }


def test_the_digest_follows_the_weights(folder):
    before = resolve_base(str(folder)).digest
    tensors = load_file(folder / UNET)
    next(iter(tensors.values())).view(-1)[0] += 1
    save_file(tensors, folder / UNET)
    assert resolve_base(str(folder)).digest != before


@pytest.fixture
def embedded(tmp_path, monkeypatch):
    shutil.copytree(toy_folder(), tmp_path / "weights" / "toy")
    files = hash_folder(tmp_path / "weights" / "toy")
    save_entry(WeightsEntry("toy", files, "MIT", "make toy", 0), tmp_path / "weights")
    monkeypatch.setattr(weights_manifest, "weights_folder", lambda: tmp_path / "weights")
    return tmp_path / "weights" / "toy"


def test_an_embedded_base_is_found_by_name(embedded):
    base = resolve_base("toy")
    assert (base.kind, base.folder) == ("embedded", embedded)
    assert base.describe()["name"] == "toy"


def test_a_changed_embedded_base_is_refused_with_both_hashes(embedded):
    path = embedded / UNET
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"has sha256 \w{64}, the manifest says \w{64}"):
        resolve_base("toy")


def test_an_embedded_model_that_is_not_there_lists_the_others(embedded):
    with pytest.raises(InputError, match=r"no embedded model 'jugde'; there are: toy"):
        weights_manifest.embedded_folder("jugde")


def test_an_unknown_name_lists_the_embedded_ones(embedded):
    with pytest.raises(InputError, match=r"Unknown base 'sceens'.*embedded models \(toy\)"):
        resolve_base("sceens")


def test_a_hub_model_is_taken_from_the_cache_at_its_pinned_commit(cache):
    commit = bases.REVISIONS[SD15]
    place = cache(SD15, commit)
    base = resolve_base(SD15)
    assert base == Base(SD15, place, "hub", commit)
    assert base.describe() == {"name": SD15, "revision": commit}
    load_components(base)


def test_a_withdrawn_id_leads_to_its_new_home(cache):
    cache(SD15, bases.REVISIONS[SD15])
    assert resolve_base("runwayml/stable-diffusion-v1-5").name == SD15


def test_a_branch_is_resolved_to_its_commit(cache):
    cache("someone/model", "1" * 40)
    assert resolve_base("someone/model").revision == "1" * 40


def test_a_model_that_is_not_here_says_how_to_fetch_it(cache):
    with pytest.raises(InputError, match=rf"visionrel weights fetch {SD15} --revision 451f4fe1"):
        resolve_base(SD15)
    with pytest.raises(InputError, match=r"someone/model at revision main is not on this machine"):
        resolve_base("someone/model")


def test_a_half_downloaded_model_names_the_missing_files(cache):
    place = cache("someone/model", "2" * 40)
    (place / UNET).unlink()
    (place / "tokenizer" / "tokenizer.json").unlink()
    with pytest.raises(InputError) as caught:
        resolve_base("someone/model")
    text = str(caught.value)
    assert UNET in text and "tokenizer/merges.txt" in text
    assert "visionrel weights fetch someone/model" in text


def test_a_sharded_model_needs_every_shard(folder):
    (folder / UNET).rename(folder / "unet/diffusion_pytorch_model-00001-of-00002.safetensors")
    weight_map = {f"k{i}": f"diffusion_pytorch_model-0000{i}-of-00002.safetensors" for i in (1, 2)}
    index = folder / "unet/diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(InputError, match=r"00002-of-00002\.safetensors is missing") as caught:
        resolve_base(str(folder))
    assert "00001-of-00002" not in str(caught.value)


def test_another_kind_of_pipeline_is_refused(folder):
    index = json.loads((folder / "model_index.json").read_text())
    index["unet"] = ["diffusers", "UNet3DConditionModel"]
    del index["vae"]
    (folder / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(InputError) as caught:
        resolve_base(str(folder))
    assert "UNet3DConditionModel as `unet`; UNet2DConditionModel is needed" in str(caught.value)
    assert "None as `vae`; AutoencoderKL is needed" in str(caught.value)


def test_a_folder_that_is_no_model_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"model_index\.json does not exist"):
        resolve_base(str(tmp_path))


def test_another_layout_can_be_asked_for(folder, tmp_path):
    video = shutil.copytree(toy_base_folder(), tmp_path / "video")
    assert resolve_base(str(video), models=COGVIDEOX).folder == video
    with pytest.raises(InputError, match="Give the folder or Hub id of a StableDiffusionPipeline"):
        resolve_base(str(video))
    with pytest.raises(InputError, match="None as `transformer`; CogVideoXTransformer3DModel is"):
        resolve_base(str(folder), models=COGVIDEOX)
    (video / "tokenizer" / "tokenizer.json").rename(video / "tokenizer" / "spiece.model")
    (video / "transformer" / "config.json").unlink()
    with pytest.raises(InputError) as caught:
        resolve_base(str(video), models=COGVIDEOX)
    assert [problem.split()[0] for problem in caught.value.problems] == [
        str(video / "transformer" / "config.json")
    ]


def test_truncated_weights_are_refused(folder):
    path = folder / UNET
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(InputError, match=r"weights in .*unet cannot be read.*half-downloaded"):
        load_components(resolve_base(str(folder)))


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_weights_of_another_architecture_name_the_first_key(folder, part):
    path = next((folder / part).glob("*.safetensors"))
    tensors = load_file(path)
    gone = sorted(tensors)[0]
    del tensors[gone]
    save_file(tensors, path, {"format": "pt"})
    with pytest.raises(InputError) as caught:
        load_components(resolve_base(str(folder)))
    assert gone.removeprefix("text_model.") in str(caught.value)
    assert "another architecture" in str(caught.value)


@pytest.mark.parametrize(
    "part, name",
    [("unet", "diffusion_pytorch_model.bin"), ("text_encoder", "pytorch_model.bin")],
)
def test_pickled_weights_with_code_are_refused_and_never_run(folder, monkeypatch, part, name):
    monkeypatch.chdir(folder)
    next((folder / part).glob("*.safetensors")).unlink()
    torch.save({"x": Evil()}, folder / part / name)
    with pytest.raises(InputError, match=rf"{part}/{name} is damaged or .*; copy .* convert it"):
        load_components(resolve_base(str(folder)))
    assert not (folder / "owned.txt").exists()


def test_weights_of_another_width_are_refused(folder):
    tensors = load_file(folder / UNET)
    tensors["conv_in.weight"] = torch.zeros(8, 4, 3, 3)
    save_file(tensors, folder / UNET, {"format": "pt"})
    with pytest.raises(InputError, match=r"conv_in\.weight"):
        load_components(resolve_base(str(folder)))


def test_fetching_without_a_network_fails_soon_and_says_so(cache):
    with pytest.raises(VisionrelError, match=rf"{SD15} could not be downloaded.*the network"):
        fetch_base(SD15)
