"""Sizes that a sweep can be run at: a preset replaces parts of its base, and grids and settings of the alternatives it names.

A sweep file says what is compared; a preset says on which model, how long, and with which coefficients that size needs.
`prolu.spec.presets` holds the named ones.
"""

from __future__ import annotations

from importlib import resources
from typing import Annotated, Any

from pydantic import Field

from prolu.spec.base import Plain, Spec, Version
from prolu.spec.dimensions import GridValues
from prolu.spec.document import parse, validate
from prolu.spec.mistakes import Mistake, SpecError
from prolu.spec.text import Label, SpecPath


class Preset(Spec):
    """What a preset changes in a sweep."""

    version: Version = 1
    """Version of the job language; 1 is the default and the only one."""
    description: str
    """What it is the size of, and where its numbers come from."""
    base: dict[str, Plain] = {}
    """Parts of a run that take the place of the sweep's; parts with another `kind` replace the whole. By default none."""
    grids: dict[Label, Annotated[dict[SpecPath, GridValues], Field(min_length=1)]] = {}
    """Grids by name of the alternative; each of its paths that the sweep varies too takes these values. By default none."""
    without: dict[Label, Annotated[list[SpecPath], Field(min_length=1)]] = {}
    """Places by name of the alternative that its `set` leaves alone, so that base or default holds; by default none."""


def preset_names() -> list[str]:
    """Return the presets that come with the package."""
    folder = resources.files("prolu.spec.presets")
    return sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml"))


def named_preset(name: str) -> Preset:
    """Return a preset that comes with the package. Raises SpecError if there is none of that name."""
    if name not in preset_names():
        known = ", ".join(preset_names())
        raise SpecError([Mistake((), f"There is no preset {name!r}; known are {known}, or name a file.")])
    text = (resources.files("prolu.spec.presets") / f"{name}.yaml").read_text(encoding="utf-8")
    return validate(parse(text), Preset)


def with_preset(sweep: dict[str, Any], preset: Preset) -> dict[str, Any]:
    """Return the plain data of `sweep` at the size of `preset`; both stay as they are."""
    sized = dict(sweep)
    sized["base"] = _merged(sweep.get("base", {}), preset.base)
    if "variants" in sweep:
        variants = (_with_grid(variant, preset.grids) for variant in sweep["variants"])
        sized["variants"] = [_without(variant, preset.without) for variant in variants]
    return sized


def unused_grids(sweep: dict[str, Any], preset: Preset) -> list[str]:
    """Name the grids of `preset` if none of them applies to `sweep`, though its alternatives have grids; else nothing.

    A preset serves many sweeps, so that some of its grids find no alternative is as it should be; that none does is
    more likely a name misspelt.
    """
    variants = [one for one in _listed(sweep.get("variants")) if isinstance(one, dict) and one.get("grid")]
    applies = any(_with_grid(variant, preset.grids) is not variant for variant in variants)
    return [] if applies or not variants else list(preset.grids)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _merged(old: Any, new: Any) -> Any:
    """Lay mappings over one another, key by key; of two that name different kinds, the new one alone is left."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return new
    if "kind" in new and new["kind"] != old.get("kind", new["kind"]):
        return new
    return {**old, **{key: _merged(old[key], value) if key in old else value for key, value in new.items()}}


def _with_grid(variant: Any, grids: dict[str, dict[str, Any]]) -> Any:
    if not isinstance(variant, dict) or variant.get("name") not in grids:
        return variant
    grid = variant.get("grid", {})
    replaced = {path: values for path, values in grids[variant["name"]].items() if path in grid}
    return {**variant, "grid": {**grid, **replaced}} if replaced else variant


def _without(variant: Any, left_alone: dict[str, list[str]]) -> Any:
    if (
        not isinstance(variant, dict)
        or variant.get("name") not in left_alone
        or not isinstance(variant.get("set"), dict)
    ):
        return variant
    out = left_alone[variant["name"]]
    return {**variant, "set": {path: value for path, value in variant["set"].items() if path not in out}}
