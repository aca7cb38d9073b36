"""What weights were trained on is gathered over all runs they came of."""

from __future__ import annotations

from typing import Any

from adcvsr.bundle import open_bundle
from adcvsr.bundle.origin import ancestors, training_data
from adcvsr.cli._bundle_text import inspect_bundle, lines


def run(trained_on: dict[str, int] | None, **further: Any) -> dict[str, Any]:
    recipe = {"stage": "pretrain"}
    return {
        "recipe": recipe if trained_on is None else {**recipe, "trained_on": trained_on},
        **further,
    }


def test_all_runs_count_and_those_that_do_not_say() -> None:
    first = run({"clips": 13, "photos": 41})
    second = run({"clips": 20, "grey": 5}, started_from=first)
    assert training_data(second) == ({"clips": 20, "photos": 41, "grey": 5}, 2, 0)
    assert training_data(run({"clips": 1}, started_from=run(None))) == ({"clips": 1}, 2, 1)


def test_of_a_blend_both_halves_count() -> None:
    halves = [{"provenance": run({"a": 1})}, {"provenance": run({"b": 2}, started_from=run(None))}]
    assert training_data({"blend": {"alpha": 0.5, "of": halves}}) == ({"a": 1, "b": 2}, 3, 1)


def test_a_run_that_both_halves_came_of_counts_once() -> None:
    shared = run(None, steps=3)
    halves = [{"provenance": run({"a": 1}, started_from=shared)}, {"provenance": shared}]
    assert training_data({"blend": {"alpha": 0.5, "of": halves}}) == ({"a": 1}, 2, 1)


def test_ancestors_are_found_behind_blends() -> None:
    trained = {"recipe": {"sources": {"start": {"file": "a", "sha256": "1"}}}}
    halves = [{"sha256": "2", "provenance": trained}, {"sha256": "3", "provenance": {}}]
    blended = {"blend": {"alpha": 0.5, "of": halves}}
    begun = {"recipe": {"sources": {"start": {"file": "b", "sha256": "4"}}}}
    assert ancestors({**begun, "started_from": blended}) == {"1", "2", "3", "4"}
    assert ancestors({"recipe": "random"}) == set()


def test_what_was_no_run_says_nothing() -> None:
    assert training_data({"recipe": "random"}) == ({}, 0, 0)
    assert training_data({}) == ({}, 0, 0)


def told(provenance: dict[str, Any]) -> list[str]:
    facts = {**inspect_bundle(open_bundle("nano")), "provenance": provenance}
    return [line for line in lines(facts) if line.startswith("trained on")]


def test_inspect_says_it_in_a_line() -> None:
    provenance = run({"photos": 41, "clips": 13}, started_from=run(None))
    assert told(provenance) == ["trained on  clips 13, photos 41; 1 of 2 runs do not say"]
    assert told(run({"clips": 13})) == ["trained on  clips 13"]
    assert told({"recipe": "random"}) == []
