"""MMDetection's detectors, from its own configs, without compiled ops."""

import pytest
import torch

from tests.detectors.toys import DETECTORS, build, total, toy_batch, toy_config


@pytest.mark.parametrize("name", DETECTORS)
def test_it_builds_trains_a_step_and_predicts(name):
    model = build(toy_config(name))
    inputs, samples = toy_batch(model, [(64, 64), (64, 48)], with_mask=name == "mask-rcnn")
    losses = model.train()(inputs, samples, mode="loss")
    total(losses).backward()
    assert torch.isfinite(total(losses))
    head = getattr(model, "roi_head", None) or model.bbox_head
    gradients = [parameter.grad for parameter in head.parameters()]
    assert any(gradient is not None and gradient.abs().sum() > 0 for gradient in gradients)
    assert all(gradient is None or gradient.isfinite().all() for gradient in gradients)
    with torch.no_grad():
        predictions = model.eval()(inputs, samples, mode="predict")
    for prediction in predictions:
        found = prediction.pred_instances
        assert found.bboxes.shape == (len(found.scores), 4)
        assert found.bboxes.isfinite().all() and found.scores.isfinite().all()
