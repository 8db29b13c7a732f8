"""Fixtures of all tests."""

import gc
import os
import pathlib

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
# Without the bfloat16 instructions of newer CPUs: there oneDNN's kernels for a few channels gave
# gradients that were no numbers, now and then, with both TensorFlow and PyTorch.
# Where the processor has float16, TensorFlow counts on oneDNN's kernels for it, and a lower limit
# than theirs ends the process.
_CPU = pathlib.Path("/proc/cpuinfo")
_FLOAT16 = _CPU.exists() and "avx512_fp16" in _CPU.read_text()
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_FP16" if _FLOAT16 else "AVX512_CORE")

# Graphs are many small objects: looking for garbage among them took 7% of the time
# of the tests that build networks.
gc.set_threshold(200_000, 20, 100)

ROOT = pathlib.Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def root():
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def real_clips():
    """Folder of real video files: $VIDEOREL_CLIPS, or clips/ of a shared/ beside the checkout."""
    path = pathlib.Path(os.environ.get("VIDEOREL_CLIPS", ROOT.parent / "shared" / "clips"))
    if not path.is_dir():
        pytest.skip(f"no real clips in {path}; set VIDEOREL_CLIPS to their folder")
    return path
