"""A configuration is read strictly: every mistake is named with file, line and field, and nothing runs."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import yaml

from seqdet.config import Config
from seqdet.config_file import load_config
from seqdet.errors import UsageError


@pytest.fixture
def write(tmp_path: Path):
    def write_yaml(text: str) -> Path:
        path = tmp_path / "run.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write_yaml


def test_no_file_gives_the_defaults():
    assert load_config() == Config()


def test_a_complete_file_gives_back_what_was_written(write):
    config = load_config(None, ["train.steps=7", "model.levels=[8, 16]", "data.where={sensor: thermal}"])
    assert load_config(write(yaml.safe_dump(config.model_dump(mode="json")))) == config


def test_overrides_are_checked_typed_and_applied_in_order():
    config = load_config(
        None,
        [
            "train.max_minutes=30",
            "train.learning_rate=1e-4",
            "train.stages.0.share=0.3",
            "train.stages.1.share=0.6",
            "train.steps=5",
            "train.steps=6",
        ],
    )
    assert config.train.max_minutes == 30
    assert config.train.learning_rate == 1e-4
    assert [stage.share for stage in config.train.stages] == [0.3, 0.6, 0.1]
    assert config.train.steps == 6
    assert Config().train.max_minutes is None, "the defaults of the next run are not touched"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model:\n  chanels: 3", ["run.yaml:2: model.chanels: unknown key", "'channels'"]),
        ("model: {}\nlearning_rte: 3", ["run.yaml:2: learning_rte", "'train.learning_rate'"]),
        ("train:\n  qqq: 3", ["run.yaml:2: train.qqq: unknown key; allowed here: steps"]),
        ("train:\n  steps: many", ["run.yaml:2: train.steps", "'many'", "integer"]),
        ("train:\n  steps: 0", ["run.yaml:2: train.steps", "got 0", "greater than or equal to 1"]),
        ("train:\n\n  learning_rate: .inf", ["run.yaml:3: train.learning_rate", "got inf", "finite"]),
        ("train: 3", ["run.yaml:1: train", "section"]),
        ("model:\n  levels:\n  - 4\n  - 5", ["run.yaml:1: model", "levels must be among"]),
        (
            "train:\n  stages:\n  - {name: a, share: 1}\n  - name: b",
            ["run.yaml:4: train.stages.1.share: is missing"],
        ),
        ("train:\n  loss_weights: {bx: 1}", ["run.yaml:2: train.loss_weights.bx", "'box'"]),
        ("train: {steps: 1}\nmodel: {}\ntrain: {}", ["run.yaml:3: key 'train' is there twice", "line 1"]),
        ("a: b: c", ["run.yaml:1: not valid YAML"]),
        ("- 1", ["run.yaml:1", "mapping with the sections model, data, train"]),
        ("", ["run.yaml:1", "mapping"]),
        ("? [a]\n: 3", ["run.yaml:1", "plain word"]),
        ("1: 2", ["run.yaml:1: 1", "strings"]),
        ("--- {}\n--- {}", ["run.yaml:2: not valid YAML", "another document"]),
        ("x: 2020-13-45", ["run.yaml: not valid YAML"]),
        ("\x00", ["run.yaml: not valid YAML"]),
    ],
)
def test_a_mistake_is_named_with_file_line_and_field(write, text, said):
    with pytest.raises(UsageError) as caught:
        load_config(write(text))
    for words in said:
        assert words in str(caught.value)
    assert caught.value.exit_code == 2


def test_every_mistake_is_named_at_once(write):
    with pytest.raises(UsageError) as caught:
        load_config(write("model:\n  chanels: 3\ntrain:\n  steps: many\n"))
    assert [line.split(": ")[1] for line in str(caught.value).splitlines()] == [
        "model.chanels",
        "train.steps",
    ]


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (
            "train.max_minuts=3",
            "--set train.max_minuts=3: train.max_minuts: unknown key; did you mean 'max_minutes'?",
        ),
        ("trian.steps=2", "--set trian.steps=2: trian: unknown key; did you mean 'train'?"),
        ("steps=3", "did you mean 'train.steps'?"),
        ("train.steps", "--set train.steps: write section.key=value"),
        ("=3", "write section.key=value"),
        ("train.steps.x=2", "train.steps is a value"),
        ("train.stages.9.share=2", "list of 3"),
        ("train.stages.0.share=0.3", "--set train.stages.0.share=0.3: train: the shares of the stages"),
        ("train.steps=many", "--set train.steps=many: train.steps: got 'many'"),
        ("train.steps=[", "not valid YAML"),
    ],
)
def test_a_wrong_override_is_named(override, said):
    with pytest.raises(UsageError) as caught:
        load_config(None, [override])
    assert said in str(caught.value)


BILLION_LAUGHS = "a0: &a0 [lol, lol]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BILLION_LAUGHS, "run.yaml:2: aliases are not allowed"),
        ("a: &a [*a]", "aliases"),
        ("[" * 30_000, "nested deeper"),
        ("a: " + "{a: " * 10_000, "nested deeper"),
        ("a" * 70_000, "larger than 64 KiB"),
        ("train:\n  steps: " + "9" * 6_000, "not valid YAML"),
        ("a: !!python/object/apply:os.system ['touch owned']", "run.yaml:1: not valid YAML"),
        ("a: !!python/name:os.system", "run.yaml:1: not valid YAML"),
    ],
)
def test_a_hostile_file_ends_at_once_and_runs_nothing(write, tmp_path, monkeypatch, text, said):
    monkeypatch.chdir(tmp_path)
    path, start = write(text), time.process_time()
    with pytest.raises(UsageError, match=said.replace(".", r"\.")):
        load_config(path)
    assert time.process_time() - start < 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.yaml"]


def test_what_is_not_a_text_file_is_refused(tmp_path):
    (tmp_path / "latin.yaml").write_bytes(b"train: {}  # caf\xe9")
    for path, said in [
        (tmp_path, "no such configuration file"),
        (tmp_path / "absent.yaml", "no such configuration file"),
        (Path("/dev/zero"), "no such configuration file"),
        (tmp_path / "latin.yaml", "is not UTF-8"),
    ]:
        with pytest.raises(UsageError, match=said):
            load_config(path)
