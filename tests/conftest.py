"""What every test may count on: no network call at import, few threads, the same random start."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

# Before anything imports albumentations: it asks the network for its newest version otherwise.
os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"

import numpy as np
import pytest
import torch

torch.set_num_threads(min(2, os.cpu_count() or 1))


@pytest.fixture(autouse=True)
def _seeds_restored() -> Iterator[None]:
    """Each test starts from the same seeds and leaves no trace in the global generators."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    threads = torch.get_num_threads()
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(0)
    yield
    random.setstate(states[0])
    np.random.set_state(states[1])  # noqa: NPY002
    torch.set_rng_state(states[2])
    torch.set_num_threads(threads)
