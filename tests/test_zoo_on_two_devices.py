"""Every kind of the zoo trains on two devices as on one, or is refused with a reason that can be read."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zoo

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
SCRIPT = Path(__file__).with_name("zoo_on_two_devices.py")
# What is refused, and by which words: each device would compute something else than one that has the whole batch.
REFUSED = {
    "stateful_rnn": "keeps a state for each row of the batch",
    "accumulates_by_hand": "inside of a tf.function, tf.cond or tf.while_loop",
    "experts": "a reduction over the batch in its losses",
    "two_towers": "a reduction over the batch in its losses",
}
# What draws random numbers, or normalizes by the rows of each device, has other losses on two.
OTHERWISE = frozenset(
    """
    built_in boxes np_random_in_call dropout batch_normalization convolution compiled_by_xla gan vae attention nested
    random_image lists_of_lists_of_layers drops_always bayesian own_normalization two_custom_cells_stacked
    activations_and_norms vae_with_trackers wasserstein contrastive_with_a_queue mixes_up text_transformer
    residual_convolutions language_model mask_of_ones_own u_net mobile_net augmented_images ensemble autoencoder
    """.split()
)
ROUNDED = {"half_precision_scales_by_itself": 1e-2}
NAMES = sorted(zoo.KINDS)
COMPARED = [name for name in NAMES if name not in OTHERWISE][::4]  # each fourth costs a training more


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, dict[str, dict[str, Any]]]:
    """What came of kinds, by whether they are among the thorough ones, in one process each; filled when asked for."""
    return {}


@pytest.fixture
def result(
    runs: dict[bool, dict[str, dict[str, Any]]], name: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    is_thorough = name in zoo.THOROUGH
    if is_thorough not in runs:
        names = [each for each in NAMES if (each in zoo.THOROUGH) == is_thorough]
        given = [sys.executable, str(SCRIPT), str(tmp_path_factory.mktemp("zoo")), ",".join(COMPARED), *names]
        done = subprocess.run(given, capture_output=True, text=True, timeout=1700, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        runs[is_thorough] = dict(json.loads(line) for line in done.stdout.splitlines() if line.startswith("["))
    return runs[is_thorough][name]


@pytest.mark.parametrize("name", zoo.under_contract())
def test_a_kind_trains_on_two_devices_or_is_refused(result: dict[str, Any], name: str):
    assert "failed" not in result, result["failed"]
    if name in REFUSED:
        assert REFUSED[name] in result["refused"]
        return
    assert "refused" not in result, result["refused"]
    assert len(result["two"]) == 5
    assert np.all(np.isfinite(result["two"]))
    if name in COMPARED:
        np.testing.assert_allclose(result["two"], result["one"], rtol=ROUNDED.get(name, 1e-4), atol=1e-6)


def test_many_kinds_are_compared_and_few_are_refused():
    assert len(COMPARED) > 25
    assert len(REFUSED) < len(NAMES) / 20
    assert zoo.KINDS.keys() >= REFUSED.keys() | OTHERWISE
