"""Memory that is freed stays at hand."""

from __future__ import annotations

import json
import platform
import subprocess
import sys

import pytest

CHILD = """
import json, resource
import numpy as np
from seqdet.runs.device import keep_freed_memory

def pages_cleared():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(64 << 20, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

given_back = [pages_cleared() for _ in range(3)][-1]
keep_freed_memory()
print(json.dumps([given_back, [pages_cleared() for _ in range(3)][-1]]))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told")
def test_memory_that_is_freed_is_not_cleared_again():
    """In a process of its own, because there is no way back."""
    ran = subprocess.run([sys.executable, "-c", CHILD], check=True, capture_output=True, text=True)
    given_back, kept = json.loads(ran.stdout)
    assert given_back > 20, "the test sees what it is about"
    assert kept < given_back / 4
