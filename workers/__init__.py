"""The Ray side: a dispatcher that pulls, and actors that train.

dispatcher   reads the queue, starts actors, applies what they report; the only writer of run states
cluster      every call to Ray
actor        trains a pack of attempts; knows no SQL
outbox       what an actor has to say and nobody has acknowledged yet
messages     what the two say to each other
"""
