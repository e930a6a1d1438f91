"""What Serve is told about the number of replicas, and about their end."""

from typing import Any

import pytest
from pydantic import ValidationError
from ray.serve import Deployment
from ray.serve.config import AutoscalingConfig

from deployments.options import ModelOptions
from deployments.store import Kind
from deployments.tts.options import TtsOptions
from deployments.turn.options import TurnOptions
from serve_app.app import _deployment, _ingress
from serve_app.scaling import scales
from serve_app.served import Served
from serve_app.settings import Settings

pytestmark = pytest.mark.filterwarnings("ignore:The `metrics_interval_s` field:DeprecationWarning")


def scaling(deployment: Deployment) -> AutoscalingConfig | None:
    config: AutoscalingConfig | None = deployment._deployment_config.autoscaling_config
    return config


def served(kind: Kind, options: ModelOptions, name: str | None = None) -> Deployment:
    return _deployment(Served(name or kind, kind, kind, options))


def turn(**options: Any) -> TurnOptions:
    return TurnOptions.model_validate({"model": "synthetic", "engine": "synthetic", **options})


def test_without_a_most_the_number_is_fixed() -> None:
    deployment = served("turn", turn(replicas=3))
    assert (deployment.num_replicas, scaling(deployment)) == (3, None)


def test_with_a_most_the_policy_decides_and_no_delay_of_serves_is_added() -> None:
    options = turn(replicas=1, max_replicas=4, max_streams=8, scaling={"load_s": 45, "idle_s": 60})
    config = scaling(served("turn", options))
    assert config is not None
    assert (config.min_replicas, config.max_replicas) == (1, 4)
    assert (config.upscale_delay_s, config.downscale_delay_s) == (0, 0)
    told = config.policy.policy_kwargs
    assert (told["target_streams"], told["load_s"], told["idle_s"]) == (8, 45, 60)
    config.policy.get_policy()(**told)  # takes all that it is told


def test_serves_own_policy_may_be_chosen() -> None:
    config = scaling(served("turn", turn(max_replicas=4, max_streams=8, scaling={"policy": "queue"})))
    assert config is not None
    assert config.policy.is_default_policy_function()
    assert (config.min_replicas, config.max_replicas, config.target_ongoing_requests) == (1, 4, 8)


def test_only_of_the_default_models_something_is_presumed() -> None:
    """Which calls will want a further one, nobody knows."""
    told = [scaling(served("turn", turn(max_replicas=4), name)) for name in (None, "other")]
    assert [each.policy.policy_kwargs["presumed_duty"] > 0 for each in told if each] == [True, False]


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"replicas": 0}, "max_replicas does not say"),
        ({"replicas": 3, "max_replicas": 2}, "less than replicas=3"),
        ({"max_streams": 4, "scaling": {"target_streams": 5}}, "works on 4 at once"),
    ],
)
def test_numbers_that_contradict_each_other_are_refused(options: dict[str, Any], wrong: str) -> None:
    with pytest.raises(ValidationError, match=wrong):
        turn(**options)


def test_a_model_that_every_call_needs_is_never_away() -> None:
    assert turn(replicas=0, max_replicas=2).most_replicas == 2
    with pytest.raises(ValidationError, match="cannot wait"):
        Settings.model_validate({"turn": {"replicas": 0, "max_replicas": 2}})


def test_a_replica_that_is_to_go_has_time_for_its_longest_request() -> None:
    assert served("turn", turn(deadline_s=90))._deployment_config.graceful_shutdown_timeout_s > 2 * 90
    voices = TtsOptions.model_validate({"model": "synthetic", "deadline_s": 40, "residency": {"wait_s": 30}})
    assert served("tts", voices)._deployment_config.graceful_shutdown_timeout_s > 2 * 40 + 30


def test_a_fixed_ingress_counts_calls_where_models_follow_them() -> None:
    fixed, following = (Settings.model_validate({"tts": {"max_replicas": most}}) for most in (None, 4))
    assert (scales(fixed), scales(following)) == (False, True)
    assert scaling(_ingress(fixed.ingress, counts_calls=False)) is None
    config = scaling(_ingress(following.ingress, counts_calls=True))
    assert config is not None
    assert (config.min_replicas, config.max_replicas) == (1, 1)
    assert config.policy.policy_function == "cluster.autoscaling:ByCalls"
