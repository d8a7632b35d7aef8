"""The benchmarks: multi-task Gymnasium environments that know nothing of any agent.

One file per benchmark, named by import path in a parameter file (`envs.popgym:MultiTaskPOPGym`).
`envs.contract` says what all of them promise. Importing this package imports no simulator.
"""
