"""The config on the page builds, and says what the text says."""

import re
from pathlib import Path

from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import DefaultScope


PAGE = Path(__file__).parents[3] / "docs" / "lango.md"


def test_the_config_of_the_page(tmp_path):
    text = PAGE.read_text(encoding="utf-8")
    path = tmp_path / "config.py"
    path.write_text(re.search(r"```python\n(_base_.*?)```", text, re.DOTALL)[1], encoding="utf-8")
    config = Config.fromfile(path)
    config.model.backbone.update(depth=18, init_cfg=None)  # neither size nor weights of ImageNet
    with DefaultScope.overwrite_default_scope("mmdet"):
        model = MODELS.build(config.model)
    names = dict(model.named_parameters())
    for key in config.optim_wrapper.paramwise_cfg.custom_keys:
        assert any(key in name for name in names)
    size = sum(parameter.numel() for parameter in model.vsr.parameters())
    assert f"{size:,} parameters" in text
