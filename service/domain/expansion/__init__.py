"""What a sweep means: every alternative with every combination of what it varies, each a validated run.

dimensions   the settings of every point, in order: grids, points, draws, seeds, and the conditions under which they hold
series       the values of a grid's dimension, written as a person would
drawing      the value of a draw, from seed, number and path
refusals     what is wrong with a sweep before any point is made
points       one point as a run
"""

from service.domain.expansion.expand import MOST_POINTS, count, expand, refuse_unseen_stopping
from service.domain.expansion.naming import describe
from service.domain.expansion.points import Point, build, change, place_of_change
from service.domain.expansion.settings import SEED, Location, Setting

__all__ = [
    "MOST_POINTS",
    "SEED",
    "Location",
    "Point",
    "Setting",
    "build",
    "change",
    "count",
    "describe",
    "expand",
    "place_of_change",
    "refuse_unseen_stopping",
]
