"""What people ask of many runs at once, understood: paths found, goals decided, filters read. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from prolu.client.wire import BiasesRequest, FrontierRequest
from service.domain.axes import Axis, Division, axis, division, value_at
from service.domain.filters import Column, Condition, parse


@dataclass(frozen=True, slots=True)
class FrontierQuestion:
    """A request for frontiers that makes sense."""

    request: FrontierRequest
    condition: Condition | None
    x: Axis
    y: Axis
    division: Division


def frontier_question(request: FrontierRequest) -> FrontierQuestion:
    """Understand a request. Raises Misread, Unusable."""
    return FrontierQuestion(
        request,
        parse(request.filter),
        axis("x", request.x, request.x_goal),
        axis("y", request.y, request.y_goal),
        division("by", request.by),
    )


@dataclass(frozen=True, slots=True)
class BiasesQuestion:
    """A request for biases against a field that makes sense."""

    request: BiasesRequest
    condition: Condition | None
    x: Column
    division: Division


def biases_question(request: BiasesRequest) -> BiasesQuestion:
    """Understand a request. Raises Misread, Unusable."""
    return BiasesQuestion(request, parse(request.filter), value_at("x", request.x), division("by", request.by))
