"""What is known of each benchmark, in one place: a module per environment, named as in `envs`.

Standard library only: the doctor reads it before anything is installed.
"""
