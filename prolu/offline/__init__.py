"""Commands on the files of checkpoints, which need torch and no service: `python -m prolu.offline`.

    exporting    export

The `prolu` command runs them as child processes, so that it needs no torch itself.
"""
