"""Pictures of the item space: a scatter of two components that the reader chooses, and bars of biases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factorbox.report.blocks import Chart
from factorbox.report.charts import bar_chart, columns, percent
from factorbox.report.components import Components
from factorbox.report.label_places import ABOVE, BELOW, HIDDEN, LEFT, RIGHT, Plot, label_places
from factorbox.report.labels import shortened

# Below this width the labels are placed, and cut, for a phone.
_NARROW = 500
_ASPECT = 0.9
_PADDING = 16
_FONT_SIZE = 10.5
_ON_DESKTOP = Plot(width=650, height=585, padding=_PADDING, line=13, character=6.2, gap=7)
_ON_PHONE = Plot(width=270, height=243, padding=_PADDING, line=13, character=6.2, gap=6)
_SHORT = 18
# More titles than this that are found at once are points without labels.
_MOST_FOUND = 30


@dataclass(frozen=True, eq=False)
class ItemSpace:
    """The most popular items in the directions in which their vectors differ most.

    Attributes
    ----------
    items
        int64, (items,): their indices, the most popular first.
    labels
        What they are called.
    users
        int64, (items,): how many users have each.
    components
        Their coordinates.
    is_all
        Whether they are all items of the model.
    stretch
        Positions among `items` of those that the picture labels.
    """

    items: NDArray[np.int64]
    labels: Sequence[str]
    users: NDArray[np.int64]
    components: Components
    is_all: bool
    stretch: range

    @property
    def stretch_name(self) -> str:
        """The stretch in words."""
        return f"ranks {self.stretch.start + 1} to {self.stretch.stop}"


def scatter(space: ItemSpace) -> Chart:
    """Return the items as points over two components, or over one and the number of users where there is but one."""
    count = len(space.components)
    points = columns(
        title=space.labels,
        users=space.users,
        rank=np.arange(1, len(space.items) + 1),
        **_coordinates(space.components.coordinates),
    )
    x, y = _axes(space.components)
    stretch = f"datum.rank > {space.stretch.start} && datum.rank <= {space.stretch.stop}"
    found = "length(find) > 1 && indexof(lower(datum.title), lower(find)) >= 0"
    inwards = "scale('x', datum.x) > width / 2"
    beside = {
        "align": {"expr": f"{inwards} ? 'right' : 'left'"},
        "dx": {"expr": f"{inwards} ? -8 : 8"},
        "fontWeight": 600,
    }
    spec = {
        "data": points,
        "width": "container",
        "usermeta": {"aspect": _ASPECT},
        "params": [*_axis_choices(space.components), *_switches(space)],
        "transform": [
            *_chosen(count),
            {"filter": f"shown == 'all' || {stretch}"},
            {"calculate": f"{found} ? 1 : 0", "as": "found"},
            {"joinaggregate": [{"op": "sum", "field": "found", "as": "finds"}]},
        ],
        "layer": [
            _points(x, y, tooltip=_tooltip(count), fill="@muted", opacity=0.4),
            _points(x, y, tooltip=_tooltip(count), fill="@accent", opacity=0.9, only=stretch),
            *_stretch_labels(space, x, y),
            _points(x, y, tooltip=_tooltip(count), fill="@against", opacity=1.0, only="datum.found"),
            *_texts(
                x,
                y,
                field="title",
                tooltip=_tooltip(count),
                only=[f"datum.found && datum.finds <= {_MOST_FOUND}"],
                mark=beside,
            ),
        ],
    }
    note = (
        f"Each point is an item; the larger, the more users have it. Those of {space.stretch_name} by popularity stand"
        " out, and have their labels where there is room. Point at any other, or find it by its title."
    )
    title = f"All {len(space.items):,} items" if space.is_all else f"The {len(space.items):,} most popular items"
    return Chart(title=title, spec=spec, note=note, many_marks=True)


def bias_bars(
    title: str, labels: Sequence[str], biases: NDArray[np.float32], *, extent: tuple[float, float], users: Sequence[int]
) -> Chart:
    """Return the biases of some items as bars; `extent` is that of the axis."""
    spec = bar_chart(
        columns(item=labels, bias=biases, users=users),
        label="item",
        value="bias",
        format=".2f",
        color={"condition": {"test": "datum.bias < 0", "value": "@against"}, "value": "@accent"},
        tooltip=[
            {"field": "item", "type": "nominal", "title": "Item"},
            {"field": "bias", "type": "quantitative", "title": "Bias", "format": ".3f"},
            {"field": "users", "type": "quantitative", "title": "Users", "format": ",d"},
        ],
    )
    spec["encoding"]["x"]["scale"] = {"domain": list(extent), "nice": True}
    return Chart(title=title, spec=spec)


def _coordinates(coordinates: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    return {f"c{k + 1}": coordinates[:, k] for k in range(coordinates.shape[1])}


def _axis_choices(components: Components) -> list[dict[str, Any]]:
    """Return the selects of both axes: components 1 and 3 first, or as many as there are."""
    count = len(components)
    if count == 1:
        return []
    options = [str(k + 1) for k in range(count)]
    labels = [f"component {k + 1} ({percent(share)})" for k, share in enumerate(components.explained.tolist())]
    return [
        {
            "name": name,
            "value": value,
            "bind": {"input": "select", "options": options, "labels": labels, "name": words},
        }
        for name, value, words in (("across", "1", "Across "), ("up", str(count), "Up "))
    ]


def _switches(space: ItemSpace) -> list[dict[str, Any]]:
    """Return what else the reader may choose."""
    everything, part = f"all {len(space.items):,} items", f"{space.stretch_name} alone"
    show = {"input": "select", "options": ["all", "stretch"], "labels": [everything, part], "name": "Show "}
    return [
        # Where the stretch is all there is, there is nothing to choose.
        {"name": "shown", "value": "all", **({"bind": show} if len(space.stretch) < len(space.items) else {})},
        {"name": "labelled", "value": True, "bind": {"input": "checkbox", "name": "Labels "}},
        {"name": "find", "value": "", "bind": {"input": "search", "name": "Find ", "placeholder": "part of a title"}},
    ]


def _chosen(count: int) -> list[dict[str, Any]]:
    if count == 1:
        return [{"calculate": "datum.c1", "as": "x"}, {"calculate": "datum.users", "as": "y"}]
    return [{"calculate": "datum['c' + across]", "as": "x"}, {"calculate": "datum['c' + up]", "as": "y"}]


def _axes(components: Components) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the encodings of x and y; their titles follow the choice."""
    one = len(components) == 1

    def axis(field: str, title: Any) -> dict[str, Any]:
        return {
            "field": field,
            "type": "quantitative",
            "axis": {"title": title, "tickCount": 6, "labelFlush": False},
            "scale": {"zero": False, "nice": False, "padding": _PADDING},
        }

    x = axis("x", "component 1" if one else {"signal": "'component ' + across"})
    y = axis("y", "users" if one else {"signal": "'component ' + up"})
    if one:
        y["scale"] = {"type": "log", "nice": False, "padding": _PADDING}
        y["axis"] |= {"format": "~s", "values": [digit * 10**power for power in range(10) for digit in (1, 3)]}
    return x, y


def _tooltip(count: int) -> list[dict[str, Any]]:
    return [
        {"field": "title", "type": "nominal", "title": "Item"},
        {"field": "users", "type": "quantitative", "title": "Users", "format": ",d"},
        {"field": "rank", "type": "quantitative", "title": "Rank by users", "format": ",d"},
        *(
            {"field": f"c{k + 1}", "type": "quantitative", "title": f"Component {k + 1}", "format": ".3f"}
            for k in range(count)
        ),
    ]


def _points(
    x: Mapping[str, Any],
    y: Mapping[str, Any],
    *,
    tooltip: Sequence[Mapping[str, Any]],
    fill: str,
    opacity: float,
    only: str | None = None,
) -> dict[str, Any]:
    layer: dict[str, Any] = {"transform": [{"filter": only}]} if only is not None else {}
    small, large = (f"width < {_NARROW} ? {narrow} : {wide}" for narrow, wide in ((4, 10), (70, 140)))
    return {
        **layer,
        "mark": {"type": "circle", "color": fill, "opacity": opacity},
        "encoding": {
            "x": x,
            "y": y,
            "size": {
                "field": "users",
                "type": "quantitative",
                "legend": None,
                "scale": {"type": "linear", "zero": True, "range": [{"expr": small}, {"expr": large}]},
            },
            "tooltip": tooltip,
        },
    }


def _texts(
    x: Mapping[str, Any],
    y: Mapping[str, Any],
    *,
    field: str,
    tooltip: Sequence[Mapping[str, Any]],
    only: Sequence[str],
    mark: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """Return texts in two layers: the lower one keeps the points behind the letters from them."""
    return [
        {
            "transform": [{"filter": condition} for condition in only],
            "mark": {"type": "text", "fontSize": _FONT_SIZE, "baseline": "middle", **mark, **ink},
            "encoding": {"x": x, "y": y, "text": {"field": field, "type": "nominal"}, "tooltip": tooltip},
        }
        for ink in ({"color": "@paper", "stroke": "@paper", "strokeWidth": 3, "opacity": 0.8}, {"color": "@ink"})
    ]


def _stretch_labels(space: ItemSpace, x: Mapping[str, Any], y: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the labels of the stretch, each at the place that suits what is chosen and the width."""
    part = slice(space.stretch.start, space.stretch.stop)
    labels = list(space.labels[part])
    # What stands in brackets at the end, such as a year, is the first to go.
    short = [shortened(label.split(" (")[0], longest=_SHORT) for label in labels]
    coordinates = space.components.coordinates
    count = coordinates.shape[1]
    over = coordinates if count > 1 else np.column_stack([coordinates, np.log(np.maximum(space.users, 1))])
    places = {}
    for scope, extent in (("all", over), ("stretch", over[part])):
        for size, plot, texts in (("wide", _ON_DESKTOP, labels), ("narrow", _ON_PHONE, short)):
            for a, b in permutations(range(over.shape[1]), 2):
                within = tuple((float(extent[:, k].min()), float(extent[:, k].max())) for k in (a, b))
                found = label_places(over[part, a], over[part, b], texts, within=(within[0], within[1]), plot=plot)
                places[f"{scope}_{size}_{a + 1}{b + 1}"] = found
    axes = "'12'" if count == 1 else "across + up"
    data = columns(
        title=labels,
        short=short,
        users=space.users[part],
        rank=np.arange(part.start + 1, part.stop + 1),
        **_coordinates(coordinates[part]),
        **places,
    )
    chosen = [
        *_chosen(count),
        {"calculate": f"width < {_NARROW} ? 'narrow' : 'wide'", "as": "size"},
        {"calculate": f"datum[shown + '_' + datum.size + '_' + {axes}]", "as": "place"},
        {"calculate": "datum.size == 'narrow' ? datum.short : datum.title", "as": "label"},
    ]
    # Where both axes are one component the points lie on a line, and there is no place for labels.
    only = [f"labelled && length(find) < 2 && isValid(datum.place) && datum.place != {HIDDEN}"]
    layers = _texts(
        x,
        y,
        field="label",
        tooltip=_tooltip(count),
        only=only,
        mark={
            "align": {"expr": f"datum.place == {RIGHT} ? 'left' : datum.place == {LEFT} ? 'right' : 'center'"},
            "dx": {"expr": f"datum.place == {RIGHT} ? 7 : datum.place == {LEFT} ? -7 : 0"},
            "dy": {"expr": f"datum.place == {ABOVE} ? -12 : datum.place == {BELOW} ? 12 : 0"},
        },
    )
    return [{**layer, "data": data, "transform": [*chosen, *layer["transform"]]} for layer in layers]
