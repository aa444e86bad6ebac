"""Who runs next, where, and why: a pure plan from the queue, the live runs, the usage of each user and the nodes.

    shares ──> ranking ──> placement ──> plan ──> decisions with reasons
                                          └──> preemption

Knows no SQL, no Ray and no clock; `service.domain.scheduling` is what the rest of the service calls.
"""
