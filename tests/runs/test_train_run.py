"""The loop's own promises: one optimizer step a batch, a state that follows its stream and no other clip."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from seqdet.config import Config, DataConfig, ModelConfig, StageConfig, TrainConfig
from seqdet.data.dataset import load_dataset
from seqdet.model.checkpoint import ModelCard, load_model, read_tensors
from seqdet.model.detector import build_detector
from seqdet.runs.kept_states import Writer
from seqdet.runs.stream import Model, StreamOptions
from seqdet.runs.synth import synth
from seqdet.runs.train_loop import Run, fit
from seqdet.types import Frame

MODEL = ModelConfig(levels=(8, 16), channels=8, clip_width=8, track_width=8, input_size_wh=(96, 96))
FRAMES = StageConfig(name="frames", share=0.4, clips_per_batch=3, paste_probability=0.5)
CLIPS = StageConfig(
    name="clips", share=0.6, frames_per_clip=2, clips_per_batch=2, streamed_fraction=0.5, max_stride=2
)


def config(**changes: object) -> Config:
    settings = {
        "steps": 7,
        "amp": False,
        "threads": 1,
        "log_every": 1,
        "warmup_steps": 2,
        "stochastic_depth": 0.3,
        "evaluate_every_share": 0.5,
        "stages": (FRAMES, CLIPS),
    }
    return Config(
        model=MODEL, data=DataConfig(workers=0, cache_gib=0.1), train=TrainConfig(**(settings | changes))
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("train") / "data"
    return synth(out, task="discs", sequences=6, frames=12, seed=3).out


@pytest.fixture
def run(data: Path, tmp_path: Path) -> Run:
    torch.set_num_threads(1)
    return Run(config(), load_dataset(data), tmp_path / "run", torch.device("cpu"), build_detector(MODEL, 3))


def figures_that_rise_and_fall():
    values = iter([0.4, 0.2, 0.6, 0.1])
    return lambda _: {"map50": next(values)}


def waits(writer: Writer) -> bool:
    writer.wait()
    return True


class Killed(Exception):
    """Stands for SIGKILL."""


@pytest.mark.parametrize("killed_after", [1, 3, 5])
def test_stages_evaluations_and_the_best_model_survive_a_kill(
    data: Path, tmp_path: Path, killed_after: int, monkeypatch: pytest.MonkeyPatch
):
    """Killed in the frames, at the border of two stages (3 of 7 steps), and in the clips."""
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    fit(data, config(), straight, validate=figures_that_rise_and_fall())

    def stop(line: dict) -> None:
        if line["kind"] == "step" and line["step"] == killed_after + 1:
            raise Killed

    validate = figures_that_rise_and_fall()
    with monkeypatch.context() as patch:  # the clock leaps, so that every step is saved
        patch.setattr("seqdet.runs.train_loop.time.monotonic", iter(range(0, 10**9, 1000)).__next__)
        patch.setattr(Writer, "is_free", waits)  # also on a machine that has other things to do
        with pytest.raises(Killed):
            fit(data, config(), killed, validate=validate, tell=stop)
    report = fit(data, config(), killed, resume=True, validate=validate)
    assert report.steps == 7
    assert report.model == killed / "best.safetensors"
    assert report.map50 == 0.4
    for name in ("state", "last", "best"):
        wanted, _ = read_tensors(straight / f"{name}.safetensors")
        got, _ = read_tensors(killed / f"{name}.safetensors")
        assert got.keys() == wanted.keys()
        assert [key for key in wanted if not torch.equal(got[key], wanted[key])] == [], name

    def losses(folder: Path) -> dict[int, float]:
        lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
        return {line["step"]: line["loss"] for line in lines if line["kind"] == "step"}

    assert losses(killed) == losses(straight)


def test_one_optimizer_step_a_batch(data: Path, tmp_path: Path):
    """Not one a frame: after 7 batches of up to 2 frames Adam has counted 7 for every weight."""
    report = fit(data, config(), tmp_path / "run")
    tensors, document = read_tensors(report.run / "state.safetensors")
    counted = {key: int(value) for key, value in tensors.items() if key.endswith(".step")}
    assert set(counted.values()) == {7}
    assert len(counted) == len(list(load_model(report.model)[0].parameters()))
    assert document["position"]["step"] == 7
    assert report.model == report.run / "last.safetensors"
    assert report.map50 is None


def test_a_validation_without_any_object_has_no_best_but_goes_on(data: Path, tmp_path: Path):
    report = fit(data, config(), tmp_path / "run", validate=lambda _: {"map50": None})
    assert report.steps == 7


def test_state_goes_to_the_stream_it_came_from(run: Run):
    """A slot that begins (age 0) begins from zero, whatever the batch before has left behind."""
    size_wh = (96, 96)
    assert not any(cell.cell.any() for cell in run._carry(torch.tensor([3, 3]), size_wh).maps)
    frames = torch.randint(0, 256, (2, 2, 3, 96, 96), dtype=torch.uint8)
    with torch.no_grad():
        _, run.carried = run.model(frames)
    state = run._carry(torch.tensor([2, 0]), size_wh)
    for new, old in zip((*state.maps, state.clip), (*run.carried.maps, run.carried.clip), strict=True):
        for part in ("hidden", "cell"):
            assert torch.equal(getattr(new, part)[0], getattr(old, part)[0])
            assert getattr(old, part)[1].any()
            assert not getattr(new, part)[1].any(), "a clip must not remember another"
    assert not any(cell.hidden.any() for cell in run._carry(torch.tensor([0, 0]), size_wh).maps)


def test_a_new_stage_begins_with_new_streams(run: Run):
    run.carried = run.model.initial_state(2, (96, 96))
    run.position.plans = ("plan",)
    assert run.enter_stage(0.1).name == "frames"
    assert run.carried is not None, "the same stage goes on"
    assert run.enter_stage(0.5).name == "clips"
    assert run.carried is None
    assert run.position.plans == ()


def test_what_is_carried_has_no_history(data: Path, run: Run):
    """Gradients end at the border of a chunk: else every batch would keep all batches before it."""
    from seqdet.data.loader import ClipRenderer, Sampler, batches
    from seqdet.runs.train_loop import batch_shape

    run.out.mkdir()
    sequences = run.dataset.split("train")
    renderer = ClipRenderer(run.dataset, sequences, (96, 96), 1 << 24, None)
    shape = batch_shape(CLIPS)
    source = batches(renderer, Sampler(sequences, 0.5), shape, 0, 0, ())
    for _ in range(2):
        plans, batch = next(source)
        terms = run.step(CLIPS, plans, batch)
        assert all(np.isfinite(value) for value in terms.values())
        for cell in (*run.carried.maps, run.carried.clip):
            assert not cell.hidden.requires_grad
            assert not cell.cell.requires_grad
    assert plans[0].chunk == 1
    assert batch.age.tolist() == [2, 0]


def test_more_objects_than_the_model_has_rows(data: Path):
    """A model of two track rows: the third object has a track, and no crash."""
    torch.manual_seed(0)
    small = MODEL.model_copy(update={"max_tracks": 2})
    detector = build_detector(small, 3)
    with torch.no_grad():
        detector.heads.geometry.bias[0] = 3.0  # finds something everywhere
    options = StreamOptions(min_score=0.01)
    model = Model(detector, ModelCard(small, ("a", "b", "c")), torch.device("cpu"), options)
    rng = np.random.default_rng(0)
    frames = [Frame(rng.integers(0, 255, (96, 96, 3), np.uint8), t, t / 30) for t in range(3)]
    results = list(model.results(frames))
    assert max(len(result.detections) for result in results) > 2
    assert max(result.track_ids.max() for result in results) > 2


def test_frozen_parts_do_not_move_and_the_others_do(data: Path, tmp_path: Path):
    frozen = ("encoder", "neck", "memory", "heads")
    torch.manual_seed(0)
    detector = build_detector(MODEL, 3)
    before = {name: tensor.clone() for name, tensor in detector.state_dict().items()}
    settings = config(
        freeze=frozen,
        stages=(CLIPS.model_copy(update={"share": 1.0}),),
        steps=3,
        warmup_steps=0,
        stochastic_depth=0.0,
    )
    report = fit(data, settings, tmp_path / "run", initial=detector)
    after = load_model(report.model)[0].state_dict()
    for name, tensor in after.items():
        same = torch.allclose(tensor.float(), before[name].float(), atol=1e-3, rtol=1e-3)
        if name.startswith(frozen):
            assert same, f"{name} moved"
    moved = [name for name in after if name.startswith(("clip.", "tracks."))]
    assert any(not torch.allclose(after[name].float(), before[name].float(), atol=1e-3) for name in moved)
