"""The `prolu` command.

    app          the commands put together, and every error turned into lines and an exit status
    completing   what the shell offers for half a word
    connecting   the client that says when it waits
    documents    read a spec from a file or standard input
    places       what may be written where
    references   from what people type (`last`, part of an id) to an id
    submitting   submit, sweep, schema
    listing      ls, runs, sweeps
    looking      show, results, version
    queueing     queue, explain, shares, nodes, drain, undrain
    sharing      share, unshare
    people       whoami, and the group user
    tokens       the group token
    auditing     audit
    watching     watch, wait
    biases       biases
    diagnostics  diagnostics
    keeping      cancel, download
    pruning      checkpoints, verify, prune, delete
    filing       pin, unpin, tag, note, archive, unarchive
    exporting    export
    tracking     track
    pushing      push
    measuring    evaluate, align
    offline      checkpoints brought here, and worked on by a child process
    starting     up
    output       consoles, tables, JSON

Exit status: 0 done; 1 a run did not succeed, or another failure; 2 bad input; 3 the service is out of reach;
4 not authorised, or no such thing; 130 interrupted.
"""

from __future__ import annotations


def main() -> None:
    """The entry point of the `prolu` command."""
    import io
    import sys

    from prolu.client.cli.app import run

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a name that the terminal's encoding lacks is no reason to fail
    sys.exit(run(sys.argv[1:]))
