"""The shipped rules, loaded once, and a short way to ask for a verdict."""

from collections.abc import Callable, Iterator

import pytest

from policy.bundle import parse_bundle, read_folder
from policy.evaluate import EchoReader, SecondReader, judge
from policy.facts import EXAMPLE_FACTS, Facts
from policy.rules import Bundle
from policy.verdict import Verdict
from policy.worker import GuardedReader


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    return parse_bundle(read_folder())


@pytest.fixture(scope="session")
def ask(bundle: Bundle) -> Callable[..., Verdict]:
    """Judge a line with the shipped rules; the evidence is that of the examples."""

    def verdict(
        text: str, *, facts: Facts = EXAMPLE_FACTS, second: SecondReader | None = None
    ) -> Verdict:
        return judge(text, bundle=bundle, facts=facts, second=second or EchoReader())

    return verdict


@pytest.fixture(scope="session")
def worker() -> Iterator[GuardedReader]:
    with GuardedReader() as reader:
        yield reader
