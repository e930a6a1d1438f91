from cluster.flags import REQUIRED, missing


def test_what_is_missing_is_named_as_a_shell_wants_it() -> None:
    assert missing(REQUIRED) == []
    assert missing({**REQUIRED, "RAY_SERVE_ENABLE_HA_PROXY": "0"}) == ["RAY_SERVE_ENABLE_HA_PROXY=1"]
    assert set(missing({})) == {
        "RAY_SERVE_USE_GRPC_BY_DEFAULT=1",
        "RAY_SERVE_ENABLE_HA_PROXY=1",
        "RAY_worker_niceness=0",
    }
