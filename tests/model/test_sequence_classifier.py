"""The sequence classifier keeps the laws of every recurrent part here, and is the article's network."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from seqdet.config import ClassifierModelConfig
from seqdet.errors import InputError
from seqdet.model.checkpoint import load_model, read_tensors, write_tensors
from seqdet.model.classifier_checkpoint import (
    ClassifierCard,
    is_classifier,
    load_classifier,
    save_classifier,
)
from seqdet.model.lstm import CELL_LIMIT, CellState, PeepholeLSTM
from seqdet.model.sequence_classifier import SequenceClassifier, build_classifier

SHAPES = {
    "encoder": ClassifierModelConfig(
        encoder="regnet_plain", lstm_width=8, dense_widths=(16, 8), input_size_wh=(64, 32)
    ),
    "pixel rows": ClassifierModelConfig(
        encoder="pixel_rows", activation="relu", lstm_width=8, dense_widths=(16, 8), input_size_wh=(64, 32)
    ),
}


@pytest.fixture(params=SHAPES)
def config(request: pytest.FixtureRequest) -> ClassifierModelConfig:
    return SHAPES[request.param]


@pytest.fixture
def model(config: ClassifierModelConfig) -> SequenceClassifier:
    model = build_classifier(config, 3).eval()
    with torch.no_grad():
        model.lstm.peephole.normal_(std=0.2)  # they start at 0, where no test would notice them
    return model


def clips(batch: int, frames: int) -> torch.Tensor:
    return torch.randint(0, 256, (batch, frames, 3, 32, 64), dtype=torch.uint8)


def test_a_clip_at_once_is_frame_by_frame(model):
    model, frames = model.double(), clips(2, 4)
    at_once, last = model(frames, model.initial_state(2))
    state = model.initial_state(2)
    for t in range(4):
        logits, state = model(frames[:, t : t + 1], state)
        torch.testing.assert_close(logits[:, 0], at_once[:, t], rtol=0, atol=1e-9)
    torch.testing.assert_close(state, last, rtol=0, atol=1e-9)


def test_a_batch_is_one_by_one(model):
    model, frames = model.double(), clips(3, 2)
    together, _ = model(frames, model.initial_state(3))
    alone = [model(clip[None], model.initial_state(1))[0] for clip in frames]
    torch.testing.assert_close(torch.cat(alone), together, rtol=0, atol=1e-9)


def test_what_came_before_changes_the_answer(model):
    frames = clips(1, 2)
    after, _ = model(frames, model.initial_state(1))
    alone, _ = model(frames[:, 1:], model.initial_state(1))
    assert (after[:, 1] - alone[:, 0]).abs().max() > 1e-6


def test_the_article_s_layers_in_its_order():
    model = build_classifier(ClassifierModelConfig(), 5)
    assert model.lstm.state_width == 128
    layers = [(type(layer).__name__, getattr(layer, "out_features", None)) for layer in model.dense]
    step = [("Dropout", None), ("Linear", None), ("ReLU", None)]
    widths = [width for name, width in layers if name == "Linear"]
    assert [name for name, _ in layers] == [name for name, _ in [*step, *step, *step[:2]]]
    assert widths == [1024, 512, 5]
    assert {layer.p for layer in model.dense if isinstance(layer, torch.nn.Dropout)} == {0.5}


def test_the_literal_variant_reads_rows_as_the_five_equations_with_relu():
    """The rows of a frame, top to bottom, through the equations as printed, relu for tanh, in NumPy."""
    model = build_classifier(SHAPES["pixel rows"], 3).double().eval()
    with torch.no_grad():
        for parameter in model.lstm.parameters():
            parameter.normal_(std=0.1)
    frames = clips(1, 2)
    _, state = model(frames, model.initial_state(1))
    p = {name: value.detach().numpy() for name, value in model.lstm.named_parameters()}
    h, c = np.zeros(8), np.zeros(8)
    for picture in frames[0].permute(0, 2, 3, 1).numpy():
        for row in picture / 255:
            i, f, g, o = np.split(p["weight_input"] @ row.ravel() + p["weight_hidden"] @ h + p["bias"], 4)
            w_i, w_f, w_o = p["peephole"]
            i, f, o = (1 / (1 + np.exp(-z)) for z in (i + w_i * c, f + w_f * c, o + w_o * c))
            c = np.clip(f * c + i * np.maximum(g, 0), -CELL_LIMIT, CELL_LIMIT)
            h = o * np.maximum(c, 0)
    np.testing.assert_allclose(state.cell[0].detach().numpy(), c, rtol=0, atol=1e-9)
    np.testing.assert_allclose(state.hidden[0].detach().numpy(), h, rtol=0, atol=1e-9)


def test_a_relu_cell_stays_bounded():
    cell = PeepholeLSTM(4, 4, activation="relu")
    with torch.inference_mode():
        _, state = cell(5 + torch.rand(1, 500, 4), CellState(torch.zeros(1, 4), torch.zeros(1, 4)))
    assert state.cell.abs().max() <= CELL_LIMIT


def test_a_frozen_encoder_does_not_move():
    model = build_classifier(SHAPES["encoder"], 3)
    model.learn(freeze_encoder=True)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.1)
    logits, _ = model(clips(2, 2), model.initial_state(2))
    logits.sum().backward()
    optimizer.step()
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved
    assert not [name for name in moved if name.startswith("encoder.")]
    model.learn(freeze_encoder=False)
    assert model.encoder.training


def test_a_saved_model_answers_alike(config, model, tmp_path):
    path = tmp_path / "c.safetensors"
    model.load_state_dict({name: value.half().to(value.dtype) for name, value in model.state_dict().items()})
    save_classifier(path, model, ClassifierCard(config, ("a", "b", "c"), {"epochs": 2}))
    loaded, card = load_classifier(path)
    frames = clips(1, 2)
    got, wanted = (m(frames, m.initial_state(1))[0] for m in (loaded, model))
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-5)
    assert (card.classes, card.training, card.config) == (("a", "b", "c"), {"epochs": 2}, config)
    assert is_classifier(path)


def test_the_two_kinds_of_model_are_not_taken_for_each_other(model, config, model_path, tmp_path):
    path = tmp_path / "c.safetensors"
    save_classifier(path, model, ClassifierCard(config, ("a", "b", "c")))
    assert not is_classifier(model_path)
    with pytest.raises(InputError, match=r"c\.safetensors: a sequence classifier.*a detector is needed"):
        load_model(path)
    with pytest.raises(InputError, match="not a sequence classifier"):
        load_classifier(model_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tensors, document: document.update(version=9), "version 9"),
        (lambda tensors, document: document.update(classes=7), "no list of classes"),
        (lambda tensors, document: document["config"].update(lstm_width=10**9), "damaged"),
        (lambda tensors, document: document.pop("config"), "damaged"),
        (lambda tensors, document: tensors.pop("lstm.bias"), "lstm.bias is missing"),
        (lambda tensors, document: tensors["lstm.bias"].fill_(float("inf")), "not finite"),
    ],
)
def test_a_damaged_file_is_one_line(model, config, tmp_path, change, said):
    path = tmp_path / "c.safetensors"
    save_classifier(path, model, ClassifierCard(config, ("a", "b", "c")))
    tensors, document = read_tensors(path)
    change(tensors, document)
    write_tensors(path, tensors, document)
    with pytest.raises(InputError, match=said) as caught:
        load_classifier(path)
    assert "\n" not in str(caught.value)
