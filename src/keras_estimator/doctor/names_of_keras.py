"""What rules know of names in Keras: those that a loaded lambda finds, and layers that note their arguments."""

from __future__ import annotations

# The module.
HOME = "keras.src.utils.python_utils"
# Its names, checked by tests/test_names_of_keras.py. Each is a module, or a function of Keras.
MODULES = {"binascii": "binascii", "codecs": "codecs", "marshal": "marshal", "os": "os", "python_types": "types"}
FUNCTIONS = frozenset(
    """
    default func_dump func_load is_continuous_axis is_default pythonify_logs remove_by_id remove_long_seq removeprefix
    removesuffix to_list
    """.split()
)
FOUND_BY_LAMBDAS = frozenset(MODULES) | FUNCTIONS

# Layers without a `get_config` of their own: Keras notes the arguments of their subclasses itself. The last is no
# public one, and other packages inherit from it all the same.
AUTOMATIC = frozenset({"keras.layers.ELU", "keras.layers.Identity", "keras.layers.preprocessing.data_layer.DataLayer"})
