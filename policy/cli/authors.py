"""`test`, `lint`, `coverage`, `mutate`: for whoever writes rules."""

import argparse
import json

from policy.bundle import check_examples
from policy.cli.common import NO, YES, policy_or_error
from policy.coverage import coverage
from policy.facts import EXAMPLE_FACTS
from policy.lint import advice
from policy.mutate import mutants
from policy.suggest import suggestion


def run_test(options: argparse.Namespace) -> int:
    """Every example of the rule files; loading a policy checks them, too."""
    bundle = policy_or_error(options)
    count = check_examples(bundle)
    print(f"{len(bundle.commands)} commands, {count} examples hold, policy {bundle.digest}")
    print(f"examples refer to pids {sorted(process.pid for process in EXAMPLE_FACTS.processes)}")
    return YES


def run_lint(options: argparse.Namespace) -> int:
    """Advice; 1 when there is any."""
    found = advice(policy_or_error(options))
    for line in found or ["nothing to improve"]:
        print(line)
    return NO if found else YES


def run_coverage(options: argparse.Namespace) -> int:
    """How much of each rule its examples use; 1 when less than `--min` of everything."""
    found = coverage(policy_or_error(options))
    for covered in found:
        if options.all or covered.unused:
            unused = " ".join(covered.unused)
            print(f"{covered.percent:5.0f} %  {covered.rule:24} {covered.name:16} {unused}")
    known = sum(len(covered.known) for covered in found)
    used = sum(len(covered.used & covered.known) for covered in found)
    total = 100.0 * used / known if known else 100.0
    print(f"{total:5.1f} %  of {known} flags, options and subcommands are in an example")
    return YES if total >= options.min else NO


def run_mutate(options: argparse.Namespace) -> int:
    """Loosen each line alone; 1 when a loosened line goes unnoticed."""
    bundle = policy_or_error(options)
    found = list(mutants(bundle))
    unnoticed = [mutant for mutant in found if not mutant.noticed]
    for mutant in unnoticed:
        print(f"{mutant.rule}: {mutant.name}: no example notices that {mutant.loosened} got looser")
        if options.suggest and (found_one := suggestion(bundle, mutant)):
            print(f"    deny {json.dumps(found_one)}")
    print(f"{len(found) - len(unnoticed)} of {len(found)} loosened lines are noticed")
    return NO if unnoticed else YES
