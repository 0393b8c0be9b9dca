"""The public API against a model of it in memory (`tests/scenarios/model.py`), step by step."""

import os

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.api_world import Api
from tests.scenarios.machine import PublicApi

STEPS = int(os.environ.get("TASKMASTER_MODEL_STEPS", "2000"))
"""`make model` takes 50,000, others each time."""
IS_SHORT = STEPS == 2000
STEPS_EACH = 50


def test_thousands_of_steps_show_no_difference_from_the_model(api: Api) -> None:
    class Served(PublicApi):
        pass

    Served.api = api
    run_state_machine_as_test(
        Served,
        settings=settings(
            max_examples=STEPS // STEPS_EACH,
            stateful_step_count=STEPS_EACH,
            deadline=None,
            derandomize=IS_SHORT,
            # To make a failure small takes longer than a test may: the long form does.
            phases=[Phase.generate] if IS_SHORT else list(Phase),
            suppress_health_check=list(HealthCheck),
        ),
    )
