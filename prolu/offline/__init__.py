"""Commands on the files of checkpoints, which need torch and no service: `python -m prolu.offline`.

    biases         biases: the statistics of a checkpoint's biases, computed again
    evaluating     evaluate: its metrics on held-out data
    aligning       align: where the updates of estimators point on its weights
    exporting      export: its weights in other libraries' layouts
    checkpoints    open what lies in a folder
    reading        open the data that it is measured on

The `prolu` command runs them as child processes, so that it needs no torch itself.
"""
