"""What a private search plans before its first run."""

from dataclasses import replace

from shared.config import at_epsilon, load_toml
from shared.config.presets import preset_file
from shared.privacy.plan.plan import server_plan
from shared.privacy.plan.several import cost_of_all
from simulations.tune import Search, space_of
from simulations.tune.private import plan_trials

PEOPLE, BUDGET = 120, 8.0


def test_rounds_that_follow_from_people_are_planned_as_they_are_run():
    tree = load_toml(preset_file("default"))
    tree.pop("sweep", None)
    space = space_of("federation.cohort=0.5|0.9,privacy.histogram_share=0.3|0.5")
    asked = Search(tree, space, BUDGET, (3,), "ndcg@10", 0, public=False, private=True)
    whole = asked.settings({})
    opened = replace(whole, data=replace(whole.data, people=PEOPLE))
    planned = plan_trials(asked, 3, PEOPLE, opened)
    runs = [planned.settings(number) for number in range(3)]
    assert [run.sweep.seeds for run in runs] == [(3,), (4,), (5,)]  # each asks people anew
    plans = [server_plan(at_epsilon(run, planned.each, run.sweep.seeds[0]), PEOPLE) for run in runs]
    assert 0.98 * BUDGET < cost_of_all([plan for plan in plans if plan]) <= BUDGET
