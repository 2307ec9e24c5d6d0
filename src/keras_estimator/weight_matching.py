"""Find for each weight of a model the stored one that it begins with, by their names.

A weight has several names, and so has what is stored. Like is compared with like, in this order, and what has found
its partner is not looked at again:

    renamed  the map of the user, from the path in this model, or of a layer in it, to what the file calls it
    state    the path in checkpoints of this package: `encoder/dense_1/kernel`
    saved    the place in a `.keras` or `.weights.h5` file, with the names that the user gave to layers
    layers   the name that Keras gives to a weight: in `.h5` files and in checkpoints of TensorFlow
    place    the place in such a file whatever its layers are called, if every weight has its counterpart there
    suffix   one name is the end of the other, and the shapes are equal

Names that Keras made up (`dense_7`) say which layer was made first in a process; they are counted anew on both sides,
so that the first Dense is `dense`. Several partners are an error, unless they hold the same numbers.
"""

from __future__ import annotations

import collections
import dataclasses
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from keras_estimator.errors import CheckpointMismatchError, ConfigError

Array = npt.NDArray[Any]
STATE, SAVED, LAYERS, PLACE = "state", "saved", "layers", "place"


@dataclasses.dataclass(frozen=True)
class Weight:
    """A weight of the model.

    Attributes:
        path: Its path in checkpoints.
        shape: Of its value; None where any size fits.
        dtype: The name of its type, such as `float32`.
        read: Returns its value.
        names: Its names by their kind.
    """

    path: str
    shape: tuple[int | None, ...]
    dtype: str
    read: Callable[[], Array]
    names: Mapping[str, str]

    def takes(self, stored: Stored) -> bool:
        """Return whether it can have the value; numbers of another precision are converted."""
        sizes_fit = all(size in (None, other) for size, other in zip(self.shape, stored.shape, strict=False))
        return len(self.shape) == len(stored.shape) and sizes_fit and _kind(self.dtype) == _kind(stored.dtype)


@dataclasses.dataclass(frozen=True, eq=False)
class Stored:
    """A value that a file holds; it is not read yet.

    Attributes:
        name: What the file calls it.
        shape: Of the value, as the file says.
        dtype: The name of its type.
        read: Returns the value.
        names: Its names by their kind.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], Array]
    names: Mapping[str, str]


_Named = TypeVar("_Named", Weight, Stored)


@dataclasses.dataclass(frozen=True)
class ModelNames:
    """The weights of a model, and what its layers are called.

    Attributes:
        weights: All of them.
        automatic: What Keras calls the first layer of each of its classes: `dense`, `my_layer`.
        models: The names of the models in it, the outermost first.
    """

    weights: Sequence[Weight]
    automatic: Collection[str]
    models: Sequence[str]


@dataclasses.dataclass
class Matching:
    """What was found.

    Attributes:
        pairs: Path of a weight to what it begins with.
        unused: What no weight takes, in the order of the file; the values say nothing.
    """

    pairs: dict[str, Stored]
    unused: dict[Stored, None]
    _doubts: dict[str, list[Stored]] = dataclasses.field(default_factory=dict)

    def take(self, weight: Weight, candidates: Sequence[Stored]) -> None:
        """Pair a weight with the only candidate, or with one of several that hold the same."""
        candidates = [each for each in candidates if each in self.unused]
        if not candidates or weight.path in self.pairs:
            return
        if len(candidates) > 1 and not (all(map(weight.takes, candidates)) and _are_equal(candidates)):
            self._doubts.setdefault(weight.path, candidates)
            return
        self.pairs[weight.path] = candidates[0]
        for each in candidates:
            del self.unused[each]

    def doubt(self, weight: Weight, candidates: list[Stored]) -> None:
        """Leave a weight without a partner: another weight could have the same one."""
        self._doubts.setdefault(weight.path, candidates)

    def check(self, source: str) -> None:
        """See that no weight was left with several partners.

        Raises:
            CheckpointMismatchError: one was.
        """
        doubts = {path: found for path, found in self._doubts.items() if path not in self.pairs}
        if not doubts:
            return
        lines = [f"{path}: {', '.join(each.name for each in found)}" for path, found in doubts.items()]
        path, found = next(iter(doubts.items()))
        raise CheckpointMismatchError(
            f"warm start: it is not clear what {len(doubts)} weights of the model begin with in {source}",
            found="\n".join(lines),
            expected="one for each, or several that hold the same numbers",
            fix=f"WarmStartSettings(..., var_name_to_prev_var_name={{{path!r}: {found[0].name!r}}})",
        )


def with_names_of_layers(places: Iterable[str], layers: Mapping[str, str]) -> dict[str, str]:
    """Return places in a file of Keras, with what the user calls the layers instead of their class and number.

    Args:
        places: Such as `layers/dense_1/vars/0`.
        layers: Place of a layer, `layers/dense_1`, to its name.

    Returns:
        The places, each to `layers/hidden/vars/0`, say; a layer that Keras named is counted among those of its class.
    """
    places = list(places)
    automatic: dict[str, set[str]] = collections.defaultdict(set)
    for place in {*places, *layers}:
        for layer in _layers_on(place):
            if _is_automatic(layer, layers):
                automatic[_class_of(layer)].add(layer)
    ranks = {
        layer: rank
        for of_class in automatic.values()
        for rank, layer in enumerate(sorted(of_class, key=lambda layer: int(layer[len(_class_of(layer)) + 1 :] or 0)))
    }
    return {place: _with_names(place, layers, ranks) for place in places}


def _with_names(place: str, layers: Mapping[str, str], ranks: Mapping[str, int]) -> str:
    parts = place.split("/")
    for layer in _layers_on(place):
        at = layer.count("/")
        if layer in ranks:
            base = _class_of(layer).rpartition("/")[2]
            parts[at] = f"{base}_{ranks[layer]}" if ranks[layer] else base
        else:
            parts[at] = layers[layer]
    return "/".join(parts)


def _layers_on(place: str) -> list[str]:
    """Return the places of the layers of a graph or a Sequential that lead to a place, the outermost first."""
    parts = place.split("/")
    return ["/".join(parts[: at + 1]) for at in range(1, len(parts)) if parts[at - 1] == "layers"]


def _class_of(layer: str) -> str:
    """Return the place of the first layer of a class, given that of another one."""
    return re.sub(r"_\d{1,9}$", "", layer)


def _is_automatic(layer: str, layers: Mapping[str, str]) -> bool:
    base = _class_of(layer).rpartition("/")[2]
    return layer not in layers or re.fullmatch(rf"{re.escape(base)}(_\d+)?", layers[layer]) is not None


def match(
    names: ModelNames, weights: Sequence[Weight], stored: Sequence[Stored], renamed: Mapping[str, str], source: str
) -> Matching:
    """Find what each weight begins with.

    Args:
        names: Those of the whole model.
        weights: The weights of it that are to begin with something.
        stored: What the file holds.
        renamed: The path of a weight, or of a layer, to what the file calls it.
        source: The file, for errors.

    Raises:
        ConfigError: `renamed` names something that is not there.
        CheckpointMismatchError: a weight could begin with several, which hold other numbers.
    """
    paths = {weight.path for weight in weights}
    all_weights, stored = _counted_anew(names, stored)
    weights = [weight for weight in all_weights if weight.path in paths]
    found = Matching({}, dict.fromkeys(stored))
    _take_renamed(found, weights, stored, renamed, source)
    for kind in (STATE, SAVED, LAYERS):
        _take_equal(found, weights, kind)
    if _has_places_of(all_weights, weights, stored):
        _take_equal(found, weights, PLACE)
    _take_by_suffix(found, weights)
    found.check(source)
    return found


def _has_places_of(all_weights: Sequence[Weight], asked: Sequence[Weight], stored: Sequence[Stored]) -> bool:
    """Tell whether a file has every place that this model would fill, with values that fit where they are asked for."""
    places = {each.names[PLACE]: each for each in stored if PLACE in each.names}
    return all(weight.names[PLACE] in places for weight in all_weights if PLACE in weight.names) and all(
        weight.takes(places[weight.names[PLACE]]) for weight in asked if PLACE in weight.names
    )


def _take_equal(found: Matching, weights: Iterable[Weight], kind: str) -> None:
    named = collections.defaultdict(list)
    for each in found.unused:
        if kind in each.names:
            named[each.names[kind]].append(each)
    for weight in weights:
        found.take(weight, named.get(weight.names.get(kind, ""), []))


def _take_by_suffix(found: Matching, weights: Iterable[Weight]) -> None:
    left = [weight for weight in weights if weight.path not in found.pairs]
    wishes = {weight.path: [each for each in found.unused if _ends_alike(weight, each)] for weight in left}
    wanted = collections.Counter(each for candidates in wishes.values() for each in candidates)
    for weight in left:
        candidates = wishes[weight.path]
        if any(wanted[each] > 1 for each in candidates):
            found.doubt(weight, candidates)
        else:
            found.take(weight, candidates)


def _ends_alike(weight: Weight, stored: Stored) -> bool:
    """Tell whether a name of one is the end of the same kind of name of the other, and the value fits."""
    return weight.takes(stored) and any(
        _is_end(weight.names[kind], stored.names[kind])
        for kind in (STATE, SAVED, LAYERS)
        if kind in weight.names and kind in stored.names
    )


def _is_end(one: str, other: str) -> bool:
    """Tell whether one name is the end of the other; the name of a weight alone says nothing."""
    shorter, longer = sorted((one, other), key=len)
    return "/" in shorter and longer.endswith(f"/{shorter}")


def _take_renamed(
    found: Matching, weights: Sequence[Weight], stored: Sequence[Stored], renamed: Mapping[str, str], source: str
) -> None:
    called: dict[str, list[Stored]] = collections.defaultdict(list)
    for each in stored:
        for name in {each.name, *each.names.values()}:
            called[name].append(each)
    used = set()
    for weight in weights:
        layer = next((path for path in _path_and_above(weight.path) if path in renamed), None)
        if layer is None:
            continue
        used.add(layer)
        theirs = renamed[layer] + weight.path[len(layer) :]
        if theirs not in called:
            raise _unknown(f"{source} holds no {theirs!r} for {weight.path!r}", theirs, called, "value of the map")
        found.unused.update(dict.fromkeys(called[theirs]))  # the user may give one value to several weights
        found.take(weight, called[theirs])
    for path in renamed.keys() - used:
        raise _unknown(
            f"the model has no weight {path!r} to begin with something",
            path,
            [w.path for w in weights],
            "key of the map",
        )


def _path_and_above(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:end]) for end in range(len(parts), 0, -1)]


def _unknown(problem: str, name: str, known: Collection[str], what: str) -> ConfigError:
    shown = ", ".join(list(known)[:12]) + (f" and {len(known) - 12} more" if len(known) > 12 else "")
    return ConfigError(
        f"warm start: {problem}",
        found=f"{name!r} as a {what} `var_name_to_prev_var_name`",
        expected=f"one of {shown}",
        fix="estimator.get_variable_names() lists the paths in the model",
    )


def _are_equal(candidates: Sequence[Stored]) -> bool:
    first, *others = (each.read() for each in candidates)
    return all(np.array_equal(first, other) for other in others)


def _kind(dtype: str) -> str:
    """Return what a type is, whatever its precision."""
    return re.sub(r"^(u?int|b?float)\d.*", lambda found: found[1].lstrip("ub"), dtype)


def _counted_anew(names: ModelNames, stored: Sequence[Stored]) -> tuple[list[Weight], list[Stored]]:
    """Return the weights and what is stored, with the numbers of automatic names counted anew."""
    theirs = {each.name: each.names[LAYERS] for each in stored if LAYERS in each.names}
    is_flat = all(name.count("/") < 2 for name in theirs.values())
    inner = names.models if is_flat else names.models[:1]
    ours = {w.path: _without(w.names[LAYERS], inner) for w in names.weights if LAYERS in w.names}
    ours, theirs = (_renumbered(each, names.automatic) for each in (ours, theirs))
    weights = [_called(weight, ours[weight.path]) if weight.path in ours else weight for weight in names.weights]
    return weights, [_called(each, theirs[each.name]) if each.name in theirs else each for each in stored]


def _called(thing: _Named, name: str) -> _Named:
    return dataclasses.replace(thing, names={**thing.names, LAYERS: name})


def _without(name: str, models: Sequence[str]) -> str:
    """Leave out the name of the whole model, and those of models in it if the file has none (Keras 2 had none)."""
    parts = name.split("/")
    while len(parts) > 2 and parts[0] in models:
        del parts[0]
    return "/".join(parts)


def _renumbered(names: Mapping[str, str], automatic: Collection[str]) -> dict[str, str]:
    """Count names such as `dense_7` anew from `dense` on, within each model."""
    numbers: dict[tuple[str, str], set[int]] = collections.defaultdict(set)
    split = {key: [_base_and_number(part, automatic) for part in name.split("/")] for key, name in names.items()}
    for key, parts in split.items():
        above = ""
        for (base, number), part in zip(parts, names[key].split("/"), strict=True):
            if number is not None:
                numbers[above, base].add(number)
            above = f"{above}/{part}"
    order = {place: {n: rank for rank, n in enumerate(sorted(found))} for place, found in numbers.items()}
    renumbered = {}
    for key, parts in split.items():
        above, new = "", []
        for (base, number), part in zip(parts, names[key].split("/"), strict=True):
            rank = None if number is None else order[above, base][number]
            new.append(part if rank is None else f"{base}_{rank}" if rank else base)
            above = f"{above}/{part}"
        renumbered[key] = "/".join(new)
    return renumbered


def _base_and_number(part: str, automatic: Collection[str]) -> tuple[str, int | None]:
    """Return what a name that Keras made up is made of; no number if it made up none."""
    found = re.fullmatch(r"(.+?)(?:_([1-9]\d{0,8}))?", part)
    if found is None or found[1] not in automatic:
        return part, None
    return found[1], int(found[2] or 0)
