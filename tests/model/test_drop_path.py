"""Stochastic depth: what is left out in training, and that nothing else knows of it."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision.ops import StochasticDepth

from seqdet.config import Config, ModelConfig, TrainConfig
from seqdet.config_file import load_config
from seqdet.data.dataset import load_dataset
from seqdet.errors import UsageError
from seqdet.model.detector import build_detector
from seqdet.model.drop_path import DroppableBlock, add_stochastic_depth
from seqdet.model.encoder import build_encoder
from seqdet.runs.synth import synth
from seqdet.runs.train_run import Run

BRANCHES = {"regnet_plain": 7, "resnet10": 4, "mobilenet_v2": 10, "mobilenet_v3_small": 6}


@pytest.mark.parametrize("name", BRANCHES)
def test_evaluation_and_names_of_weights_know_nothing_of_it(name: str):
    plain = build_encoder(name).eval()
    dropping = copy.deepcopy(plain)
    assert add_stochastic_depth(dropping, 0.9) == BRANCHES[name]
    assert dropping.state_dict().keys() == plain.state_dict().keys()
    picture = torch.rand(2, 3, 64, 64)
    for wanted, got in zip(plain(picture), dropping.eval()(picture), strict=True):
        assert torch.equal(got, wanted), "bit for bit"
    assert not torch.equal(_training(dropping)(picture)[-1], plain(picture)[-1]), "in training it acts"


def _training(encoder: nn.Module) -> nn.Module:
    """Only what leaves branches out is in training mode: BatchNorm gives what it gives in evaluation."""
    for module in encoder.modules():
        if isinstance(module, (StochasticDepth, DroppableBlock)):
            module.training = True
    return encoder


@pytest.mark.parametrize("name", ["regnet_plain", "resnet10"])
def test_what_is_always_left_out_leaves_the_shortcut_alone(name: str):
    encoder = build_encoder(name).eval()
    add_stochastic_depth(encoder, 1.0)
    block = encoder.blocks[-1][-1]
    x = torch.randn(2, encoder.blocks[-1][0](torch.rand(1, encoder.channels[-2], 4, 4)).shape[1], 2, 2)
    if name == "resnet10":  # its last block is the first of its stage
        x = torch.randn(2, encoder.channels[-2], 4, 4)
        wanted = block.downsample(x).relu()
    else:
        wanted = x.relu()
    assert not torch.equal(block(x), wanted)
    assert torch.equal(_training(encoder).blocks[-1][-1](x), wanted)


def test_on_average_a_branch_is_what_it_is_in_evaluation():
    """Pictures are drawn one by one, and what stays is scaled up: the mean over draws is the branch."""
    encoder = build_encoder("regnet_plain").eval()
    add_stochastic_depth(encoder, 0.5)
    branch = encoder.blocks[-1][-1].f
    x = torch.randn(1, encoder.channels[-1], 2, 2)
    whole = branch(x)
    _training(encoder)
    drawn = branch(x.expand(4000, -1, -1, -1))
    left_out = (drawn == 0).flatten(1).all(1)
    assert abs(left_out.float().mean() - 0.5) < 0.04
    torch.testing.assert_close(drawn[~left_out], 2 * whole.expand_as(drawn[~left_out]), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(drawn.mean(0), whole[0], rtol=0.08, atol=1e-3)


def test_the_chance_rises_with_depth():
    encoder = build_encoder("resnet10")
    add_stochastic_depth(encoder, 0.4)
    chances = [block.leave_out for block in encoder.modules() if isinstance(block, DroppableBlock)]
    assert chances == pytest.approx([0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["model.encoder=shufflenet_v2"], "shufflenet_v2 has none"),
        (["train.freeze=[encoder]"], "freeze"),
        (["train.stochastic_depth=1"], "less than 1"),
    ],
)
def test_where_there_is_nothing_to_leave_out_it_is_refused(changes: list[str], said: str):
    with pytest.raises(UsageError, match=said):
        load_config(None, ["train.stochastic_depth=.2", *changes])


def test_what_is_evaluated_and_saved_has_none(tmp_path: Path):
    """That the draws go on where a kill stopped them: tests/runs/test_train_run.py."""
    data = synth(tmp_path / "data", task="discs", sequences=2, frames=2, size_wh=(64, 64)).out
    shape = ModelConfig(levels=(16,), channels=8, clip_width=8, track_width=8, input_size_wh=(64, 64))
    config = Config(model=shape, train=TrainConfig(stochastic_depth=0.5))
    run = Run(config, load_dataset(data), tmp_path / "run", torch.device("cpu"), build_detector(shape, 3))

    def dropping(model: nn.Module) -> int:
        return sum(isinstance(module, StochasticDepth) for module in model.modules())

    assert (dropping(run.model), dropping(run.average.model)) == (7, 0)
    run.average.update(run.model, 0)
    assert run.average.model.state_dict().keys() == run.model.state_dict().keys()
