"""What `sentinel-agent status` says, as values."""

from datetime import UTC, datetime

from agent.status import Status, is_well, lines


def status(*, log_fork: str = "") -> Status:
    return Status(
        at=datetime.now(UTC),
        cycle_s=5.0,
        hub="hub:7443",
        connected=True,
        trouble="",
        executor_answers=True,
        waiting=0,
        waiting_bytes=0,
        dropped=0,
        aside=0,
        findings=(),
        log_fork=log_fork,
    )


def test_a_node_whose_log_forked_is_not_well_and_says_why() -> None:
    assert is_well(status())
    assert "FORKED" not in "\n".join(lines(status()))
    forked = status(log_fork="two histories of 20 entries")
    assert not is_well(forked)
    assert "audit log FORKED, no order runs: two histories of 20 entries" in lines(forked)
