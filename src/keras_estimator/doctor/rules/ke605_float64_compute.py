"""KE605 float64-compute: a product of matrices or a convolution is computed in float64 in a model of float32.

What it finds:
    Operations such as MatMul, Einsum and Conv2D in float64, in layers whose dtype is another one.

Why it matters:
    NumPy makes float64 of everything, and `keras.ops` takes the wider of two dtypes: one array of NumPy makes all
    that is computed from it float64.

If ignored:
    It takes twice the memory, several times the time on a CPU, and up to 64 times on a GPU for desktops.

Example:
    self.matrix = np.random.normal(size=(64, 64))

Instead:
    self.matrix = np.random.normal(size=(64, 64)).astype("float32")

Fix:
    For display: make the array of the dtype of the layer where it is made; where that is, the graph does not say.

Evidence:
    The operations in the graph. A product of two matrices of 1024 x 1024 took 270 ms in float64 and 48 ms in float32 on
    a CPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from keras_estimator.doctor.findings import Applicability, Fix, Severity
from keras_estimator.doctor.rule import Problem
from keras_estimator.report.elements import counted

if TYPE_CHECKING:
    from keras_estimator.doctor.live import LiveModel

SEVERITY = Severity.INFO
_HEAVY = (
    "MatMul BatchMatMul BatchMatMulV2 BatchMatMulV3 Einsum XlaDotV2 Conv2D Conv3D DepthwiseConv2dNative "
    "Conv2DBackpropInput Conv3DBackpropInputV2 Cholesky MatrixInverse Svd Qr MatrixSolve"
).split()
_FIX = Fix('make the array of the dtype of the layer: .astype("float32")', Applicability.DISPLAY)


def in_model(live: LiveModel) -> Iterator[Problem]:
    """Find heavy operations of the wrong dtype."""
    found: dict[Any, list[str]] = {}
    for operation in live.inference.of_kind(*_HEAVY) if live.inference else ():
        layer = live.layers.get(operation.layer)
        is_wide = operation.operation.outputs[0].dtype == live.tf.float64
        if is_wide and getattr(layer, "compute_dtype", "float64") != "float64":
            found.setdefault((operation.layer, operation.place), []).append(operation.kind)
    for (path, place), kinds in found.items():
        message = f"{', '.join(sorted(set(kinds)))} in float64, in a layer of {live.layers[path].compute_dtype}"
        evidence = f"{counted(len(kinds), 'operation')} of float64"
        yield Problem(place, message, layer=path, evidence=evidence, fix=_FIX)
