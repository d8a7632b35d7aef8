"""Networks and their building blocks: encoders, actor, critics, value classes, normalisation.

Shapes, in the whole package: B sub-sequences of a batch, L timesteps, D width of a state, H
attention heads, M transitions, G discounts, C ensemble members of the critic, K action samples,
A action size, N value bins.
"""
