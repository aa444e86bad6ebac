"""Search: what a sampler asks next, given all that it asked and was told before.

trials     what a trial is, and which points of a space are worth a look before it is searched
sampler    the next point, a pure function of the trials: nothing is kept between two questions
front      which trials no other one beats
"""

from service.domain.search.front import front
from service.domain.search.sampler import ask
from service.domain.search.trials import Asked, Trial, probes

__all__ = ["Asked", "Trial", "ask", "front", "probes"]
