"""All steps in their order: each finds what the ones before it made."""

from collections.abc import Iterator

from vault.door import Door
from vault.setup import audited, authority, mounts, policies, roles, secrets
from vault.setup.authority import OwnCa
from vault.setup.settings import SetupSettings
from vault.setup.step import Found, State, Step


def steps(settings: SetupSettings, files: OwnCa) -> list[Step]:
    """The whole setup."""
    return [
        audited.audit_device(settings),  # first, so that it sees the rest
        *mounts.engines(settings),
        *mounts.sign_ons(settings),
        *authority.authority(settings, files),
        *policies.policies(settings),
        *roles.certificates(settings),
        *roles.tokens(settings),
        secrets.log_key(settings),
        *secrets.static_secrets(settings),
    ]


def planned(door: Door, all_steps: list[Step]) -> Iterator[tuple[Step, Found]]:
    """What each step finds; nothing is changed."""
    for step in all_steps:
        yield step, step.look(door)


def applied(door: Door, all_steps: list[Step]) -> Iterator[tuple[Step, Found]]:
    """Do what is to be done. A step that waits for a person keeps those that need it waiting."""
    for step in all_steps:
        yield step, step.apply(door)


def is_done(found: list[Found]) -> bool:
    """Whether nothing is left to do, for us or for a person."""
    return all(one.state is State.EXISTS for one in found)
