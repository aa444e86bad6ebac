"""The next point of a search, as a pure function of the trials before it.

Optuna's study is made anew for every question, out of the trials, and its sampler is seeded with

    the first 4 bytes of sha256(canonical JSON of [seed, number of the trial]), as a big-endian integer

so that nothing has to survive between two questions: whoever asks, and whenever, gets what an undisturbed server would have
got. Optuna 5 is imported with the first question. Numbers are rounded to 6 significant digits before anybody sees them, and
the study remembers them so. `random` takes the draws of `service.domain.expansion.drawing`, which need no library.

Sources: Bergstra et al. 2011 (TPE), Ozaki et al. 2022 (its form for several objectives), Deb et al. 2002 (NSGA-II).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from prolu.spec import Choice, Distribution, IntegerBetween, LogUniform, SearchSpec, canonical_json
from service.domain.expansion.drawing import draw
from service.domain.expansion.series import round_to
from service.domain.search.trials import Asked, Trial, chosen_by

if TYPE_CHECKING:
    import optuna


def ask(search: SearchSpec, base: Mapping[str, Any], trials: Sequence[Trial]) -> Asked:
    """Choose the point of the trial that comes after `trials`, which are all there are, by number."""
    number = len(trials)
    if search.kind == "random":
        drawn = chosen_by(search, base, lambda path, one: draw(one, seed=search.seed, number=number, path=path))
        return Asked(drawn, {}, {}, {})
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = _study(search, trials)
    asked = study.ask()
    params: dict[str, Any] = {}

    def choose(path: str, distribution: Distribution) -> Any:
        params[path], value = _suggested(asked, path, distribution)
        return value

    chosen = chosen_by(search, base, choose)
    remembered = study.get_trials(deepcopy=False)[number]
    written = {
        path: optuna.distributions.distribution_to_json(distribution)
        for path, distribution in remembered.distributions.items()
    }
    return Asked(chosen, params, written, dict(remembered.system_attrs))


def _suggested(asked: optuna.Trial, path: str, distribution: Distribution) -> tuple[Any, Any]:
    """Return what the study remembers, and what the run gets."""
    if isinstance(distribution, Choice):
        index = asked.suggest_categorical(path, list(range(len(distribution.values))))
        return index, distribution.values[index]
    if isinstance(distribution, IntegerBetween):
        whole = asked.suggest_int(path, distribution.low, distribution.high, step=distribution.step)
        return whole, whole
    low, high = float(distribution.low), float(distribution.high)
    exact = asked.suggest_float(path, low, high, log=isinstance(distribution, LogUniform))
    number = min(max(low, round_to(exact)), high)
    return number, number


def _study(search: SearchSpec, trials: Sequence[Trial]) -> optuna.Study:
    import optuna

    study = optuna.create_study(
        directions=[objective.goal for objective in search.objectives], sampler=_sampler(search, len(trials))
    )
    for trial in trials:
        study.add_trial(_frozen(trial, objectives=len(search.objectives)))
    return study


def _sampler(search: SearchSpec, number: int) -> optuna.samplers.BaseSampler:
    import optuna

    digest = hashlib.sha256(canonical_json([search.seed, number]).encode()).digest()
    seed = int.from_bytes(digest[:4], "big")
    if search.kind == "nsga2":
        return optuna.samplers.NSGAIISampler(seed=seed, population_size=search.startup)
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=search.startup)


def _frozen(trial: Trial, *, objectives: int) -> optuna.trial.FrozenTrial:
    import optuna

    states = optuna.trial.TrialState
    state = {
        "open": states.RUNNING,
        "complete": states.COMPLETE,
        # Samplers for several objectives know of no pruning: to them it is a trial without values.
        "pruned": states.PRUNED if objectives == 1 else states.FAIL,
        "failed": states.FAIL,
    }[trial.state]
    distributions = {
        path: optuna.distributions.json_to_distribution(written) for path, written in trial.distributions.items()
    }
    return optuna.trial.create_trial(
        state=state,
        params={path: trial.params[path] for path in distributions},
        distributions=distributions,
        values=list(trial.values) if trial.state == "complete" and trial.values is not None else None,
        intermediate_values=dict([trial.intermediate]) if trial.intermediate else None,
        system_attrs=dict(trial.attributes),
    )
