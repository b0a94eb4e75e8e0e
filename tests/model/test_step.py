"""The step of plain tensors is the detector, whatever its shape; its names say what goes in and comes out."""

from __future__ import annotations

import pytest
import torch

from seqdet.model.step import NEXT, StepModel


@pytest.mark.parametrize("batch", [1, 3])
@torch.inference_mode()
def test_a_step_equals_the_detector_over_time(make_detector, variant, batch: int) -> None:
    detector = make_detector(**variant)
    step = StepModel(detector)
    frames = torch.randint(0, 256, (batch, 4, 64, 96, 3), dtype=torch.uint8)
    whole, last = detector(frames.permute(0, 1, 4, 2, 3))
    state = step.pack_state(detector.initial_state(batch, (96, 64)))
    for t in range(4):
        outputs = step(frames[:, t], *state)
        state = outputs[-len(state) :]
    output = step.unpack_output(outputs[: -len(state)])
    torch.testing.assert_close(
        output.heads.objectness, whole.heads.objectness.unflatten(0, (batch, 4))[:, -1]
    )
    torch.testing.assert_close(
        output.heads.boxes_xyxy, whole.heads.boxes_xyxy.unflatten(0, (batch, 4))[:, -1]
    )
    torch.testing.assert_close(output.clip_logits[:, 0], whole.clip_logits[:, -1])
    torch.testing.assert_close(output.heads.points_xy, whole.heads.points_xy)
    torch.testing.assert_close(output.heads.strides, whole.heads.strides)
    for ours, theirs in zip(output.maps, whole.maps, strict=True):
        torch.testing.assert_close(ours, theirs.unflatten(0, (batch, 4))[:, -1])
    after = step.unpack_state(state, last.tracks)
    for ours, theirs in zip(step.pack_state(after), step.pack_state(last), strict=True):
        torch.testing.assert_close(ours, theirs)


@torch.inference_mode()
def test_names_and_tensors_come_in_the_same_order(make_detector, variant) -> None:
    step = StepModel(make_detector(**variant), pyramid=True)
    inputs = step.example(2, (96, 64))
    named = dict(zip(step.output_names, step(*inputs), strict=True))
    for name, part in zip(step.input_names, inputs, strict=True):
        if name != "frame":
            assert named[NEXT + name].shape == part.shape, name
    assert named["boxes_xyxy"].shape == (2, 16 * 24 + 8 * 12, 4)
    assert named["pyramid_4"].shape == named["map_4"].shape == (2, 16, 24, 8)
