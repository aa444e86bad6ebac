"""`prolu up`: the whole stack on one machine, as child processes of one command.

    stack        what the children are: Ray's head, the API, the dispatcher; and what they are told
    ray_head     Ray's head: private, on loopback
    dispatching  whether the dispatcher does its work
    supervisor   starts children in order, restarts what dies, stops them in reverse order
    guardian     the process between the supervisor and one child; takes all its descendants down with it
    private      a whole service for the time of a `with` block
    holding      one `prolu up` per data directory, and the note that tells clients where it listens

Imports neither service nor workers nor ray: they are other processes.
"""
