"""Who runs next, where, and why: a pure plan from the queue, the live runs, the usage of each user and the nodes.

    shares ──> ranking ──> rooms ──> plan ──> decisions with reasons
                                          └──> preemption

Knows no SQL, no Ray and no clock.
"""

from service.domain.planning.forecast import forecast
from service.domain.planning.occupants import Occupant
from service.domain.planning.placement import Asked, Node
from service.domain.planning.plan import Candidate, Decision, Plan, Policy, plan
from service.domain.planning.preemption import Preemption
from service.domain.planning.ranking import Score, Weights
from service.domain.planning.rooms import could_ever_fit
from service.domain.planning.shares import Share, shares

__all__ = [
    "Asked",
    "Candidate",
    "Decision",
    "Node",
    "Occupant",
    "Plan",
    "Policy",
    "Preemption",
    "Score",
    "Share",
    "Weights",
    "could_ever_fit",
    "forecast",
    "plan",
    "shares",
]
