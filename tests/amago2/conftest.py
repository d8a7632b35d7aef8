import pytest


@pytest.fixture(params=["filtered_imitation", "policy_gradient"])
def actor(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["two_hot", "popart"])
def critic(request: pytest.FixtureRequest) -> str:
    return str(request.param)
