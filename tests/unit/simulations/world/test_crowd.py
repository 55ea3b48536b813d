"""People of a world who answer what they are shown."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from shared.errors import DataError
from simulations.world.crowd import Course, Crowd
from simulations.world.laws import attraction
from simulations.world.world import World

COURSE = Course(days=4, slate=3, history=2, arrivals=0.2, shift=2, boredom=0.5, churn=0.3)


def crowd(course=COURSE, users=30, items=40):
    return Crowd(World(users, items, 5), course)


def slates_of(people, seed):
    """Slates that each person's own dice draw blindly."""
    dice = [np.random.default_rng((seed, user)) for user in range(len(people.open_items))]
    rows = zip(dice, people.open_items, strict=True)
    return np.array(
        [die.choice(np.flatnonzero(row), people.course.slate, False) for die, row in rows]
    )


def through(people, seed=1):
    """Answers of all days."""
    people.reset(seed)
    return [people.step(slates_of(people, day)) for day in range(people.course.days)]


@pytest.mark.statistical
def test_clicks_come_with_the_chances_that_are_told():
    """The number of clicks fails by chance 1 time in 1,000 (two-sided); the seed is fixed."""
    people = crowd(dataclasses.replace(COURSE, churn=0.0), users=2000)
    for day in range(3):
        slates = slates_of(people, day)
        chances = people.looked_at * np.take_along_axis(people.attractions(), slates, 1)
        np.testing.assert_allclose(people.expected(slates), chances.sum(1), rtol=1e-5)
        clicks = people.step(slates).clicks
        error = np.sqrt((chances * (1 - chances)).sum(0))
        assert (abs(clicks.sum(0) - chances.sum(0)) < stats.norm.isf(1e-3 / 18) * error).all()


def test_the_best_slate_is_the_best_of_all():
    people = crowd()
    chances = np.where(people.open_items, people.attractions(), 0)
    for user, best in enumerate(people.best()):
        top = sorted(chances[user], reverse=True)[:3]
        wanted = sum(e * a for e, a in zip(people.looked_at, top, strict=True))
        assert best == pytest.approx(wanted, rel=1e-5)


def test_what_somebody_answers_depends_on_nobody_else():
    many, few = through(crowd()), through(crowd(users=12))
    for day in range(COURSE.days):
        np.testing.assert_array_equal(many[day].clicks[:12], few[day].clicks)
        np.testing.assert_array_equal(many[day].present[:12], few[day].present)
    assert (through(crowd(), seed=2)[0].clicks != many[0].clicks).any()


def test_before_the_first_day_people_met_what_the_world_says():
    people = crowd()
    assert (people.start.sum(1) <= 2).all()
    assert not (people.start & people.open_items).any()
    world, user = people.world, 4
    met = np.flatnonzero(people.start[user])
    assert set(met) <= set(world.history(user).tolist())
    context = [item for item in world.history(user).tolist() if people.start[user, item]]
    truth = attraction(world._wanted(user, np.array(context), 0, 0))
    np.testing.assert_allclose(people.attractions()[user], truth, atol=1e-5)


def test_items_appear_and_what_was_clicked_is_gone_unless_it_may_come_again():
    people = crowd()
    before = people.open_items.any(0).sum()
    answers = through(people)
    assert before == 32
    assert sum(day.clicks.sum() for day in answers) > 0
    assert (people._appears <= 3).all()
    again = crowd(dataclasses.replace(COURSE, again=True, history=0))
    through(again)
    assert again.open_items.all()
    assert not people.open_items.all()


def test_on_the_day_of_the_shift_tastes_and_popularity_are_others():
    still = dataclasses.replace(COURSE, boredom=0.0, churn=0.0, history=0, shift=1)
    people, other = crowd(still), crowd(dataclasses.replace(still, shift=0))
    np.testing.assert_allclose(people.attractions(), other.attractions())
    slates = slates_of(people, 0)
    for each in (people, other):
        each.step(slates)
    assert people.shifted
    assert not other.shifted
    assert abs(people.attractions() - other.attractions()).mean() > 0.05


def test_boredom_grows_with_what_is_shown_and_those_without_clicks_leave():
    people = crowd()
    answers = through(people)
    assert (people.fatigue > 0).any()
    stayed = [day.present.mean() for day in answers]
    assert stayed[0] == 1
    assert stayed == sorted(stayed, reverse=True)
    assert stayed[-1] < 1
    gone = ~answers[-1].present
    assert not answers[-1].clicks[gone].any()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda s, o: s[:, :2], r"shape \(30, 2\): expected \(30, 3\)"),
        (lambda s, o: np.where(np.arange(3) == 1, s[:, :1], s), "twice in one"),
        (lambda s, o: np.where(np.arange(3) == 0, (~o).argmax(1)[:, None], s), "was met"),
    ],
)
def test_slates_that_cannot_be_shown_are_refused(change, told):
    people = crowd()
    slates = slates_of(people, 0)
    with pytest.raises(DataError, match=told):
        people.step(change(slates, people.open_items))


def test_it_ends_with_its_days_and_needs_enough_items():
    people = crowd()
    through(people)
    with pytest.raises(DataError, match="day 4: the course has 4"):
        people.step(np.zeros((30, 3), np.int64))
    with pytest.raises(DataError, match="expected at least 25"):
        crowd(dataclasses.replace(COURSE, slate=23), items=25)
