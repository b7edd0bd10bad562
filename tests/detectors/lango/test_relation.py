"""Behaviours 8, 10 and 11 of the relation learning module."""

import pytest
import torch

from visionrel.detectors.lango import RelationLearningLoss
from visionrel.errors import InputError
from visionrel.losses import relation_learning_loss


BANK = {"type": "random", "classes": ["a", "b", "c"], "dim": 6}


def make_module(**changes):
    settings = {"in_channels": 8, "num_classes": 3, "out_channels": 4}
    return RelationLearningLoss(BANK, **{**settings, **changes})


def test_is_the_function_after_a_projection():
    module = make_module(level="inst", distance="mse", loss_weight=0.3)
    features, labels = torch.randn(9, 8), torch.tensor([0, 1, 2, 3, -1, 0, 1, 2, 2])
    losses = module.loss(features, labels)
    expected = relation_learning_loss(
        module.projection(features), labels, module.class_embeddings, level="inst", distance="mse"
    )
    torch.testing.assert_close(losses["relation_unweighted"], expected)
    torch.testing.assert_close(losses["loss_rel"], 0.3 * expected)
    losses["loss_rel"].backward()
    assert module.projection.weight.grad is not None and module.class_embeddings.grad is None
    assert set(module.state_dict()) == {"projection.weight", "projection.bias"}


@pytest.mark.parametrize("labels", [[3, 3, 3], [1, 1, 3]])
def test_fewer_than_two_classes_keep_the_graph(labels):
    module, features = make_module(), torch.randn(3, 8, requires_grad=True)
    module(features, torch.tensor(labels)).backward()
    assert torch.equal(features.grad, torch.zeros(3, 8))
    assert all(part.grad is not None for part in module.parameters())


def test_subset_of_the_instances():
    features, labels = torch.randn(40, 8), torch.arange(40) % 3
    few = make_module(level="inst", max_instances=39)
    torch.manual_seed(1)
    first, second = few(features, labels), few(features, labels)
    assert first != second
    few.max_instances = 40
    assert few(features, labels) == few(features, labels)
    # Background does not count.
    background = torch.cat([labels, torch.full((20,), 3)])
    assert few(torch.cat([features, torch.randn(20, 8)]), background) == few(features, labels)


def test_prototypes_use_every_instance():
    module = make_module(max_instances=2)
    features, labels = torch.randn(40, 8), torch.arange(40) % 3
    assert module(features, labels) == module(features, labels)


def test_errors_when_the_model_is_built():
    with pytest.raises(InputError, match=r"3 classes \(a, b, c\), the head has `num_classes=4`"):
        make_module(num_classes=4)
    with pytest.raises(ValueError, match="`level` must be one of"):
        make_module(level="pixel")
    with pytest.raises(ValueError, match="`temperature_text`"):
        make_module(temperature_text=0.0)
