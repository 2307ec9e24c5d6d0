"""Parts of a batch: what is made up where a process has none; the parts themselves are in test_together.py."""

from __future__ import annotations

import pytest
import tensorflow as tf

from keras_estimator.engines.tensorflow.parts import _made_up

SPECS = {
    "numbers": tf.TensorSpec((None, 3)),
    "texts": tf.TensorSpec((None,), tf.string),
    "of_ten_rows": tf.TensorSpec((10, None), tf.int32),
    "ragged": tf.RaggedTensorSpec((None, None), tf.int64),
    "ragged twice": tf.RaggedTensorSpec((None, None, None, 4), tf.float32),
    "sparse": tf.SparseTensorSpec((None, 5), tf.float32),
}


@pytest.mark.parametrize("name", SPECS)
def test_what_is_made_up_fits_the_spec(name: str):
    made = _made_up((SPECS[name], {"more": SPECS["numbers"]}))
    assert SPECS[name].is_compatible_with(made[0])
    rows = made[0].dense_shape[0] if name == "sparse" else len(made[0]) if "ragged" not in name else made[0].nrows()
    assert int(rows) == (10 if name == "of_ten_rows" else 1)
    assert made[1]["more"].shape == (1, 3)
