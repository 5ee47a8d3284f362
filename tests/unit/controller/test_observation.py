"""What is known of a run's pods: whose they are, and which of a try ended first."""

from __future__ import annotations

from dataclasses import replace

import pytest

from podium.api import TryId
from podium.controller.observation import Observation
from podium.controller.pods import JobSnapshot, PodSnapshot
from podium.reconcile import Container, ObservedJob, Staging

ID = TryId(attempt=1, number=0)
JOB = JobSnapshot("lab", "r1", ID, ObservedJob("j1", created=0.0))


def pod(index, *, uid="", job="j1", namespace="lab", **container):
    name = uid or f"long-1-0-{index}"
    container = {"started": 1.0, "uid": name, **container}
    return PodSnapshot(namespace, name, "r1", job, "node", Container(name, index, **container))


def seen(*passes):
    """The containers after the watch has shown these pods, one pass of the worker after the other, at 100, 101, ..."""
    observation = Observation("lab")
    for now, pods in enumerate(passes, start=100):
        observation.update([JOB], pods, now)
    return [
        (c.node_index, c.finished, c.stopped) for c in observation.containers[ID].values() if c.finished is not None
    ]


def test_those_that_end_in_the_same_second_stand_in_the_order_of_their_ends():
    ends = {"finished": 50.0, "stopped": "Deleted"}
    assert seen([pod(0), pod(1)], [pod(0), pod(1, **ends)], [pod(0, **ends), pod(1, **ends)]) == [
        (1, 50.0, "Deleted"),
        (0, 50.0, "Deleted"),
    ]
    assert (
        seen([pod(0), pod(1)], [pod(1, **ends), pod(0, **ends)])[0][0] == 1
    )  # both in one pass, as the watch has them


def test_a_pod_whose_deletion_was_requested_first_comes_before_those_that_fail_because_of_it():
    fails = pod(0, finished=50.0, exit_code=1, stopped="Error")
    dies = pod(1, finished=50.0, stopped="Deleted", deleted=50.0)
    assert [c[0] for c in seen([pod(0), pod(1)], [pod(0), pod(1, deleted=50.0)], [fails, dies])] == [1, 0]
    assert [c[0] for c in seen([pod(0), pod(1)], [fails, pod(1)], [fails, dies])] == [0, 1]
    assert [c[0] for c in seen([pod(0), pod(1)], [fails, dies])] == [0, 1]  # in one pass: the last change comes last


def test_a_pod_that_vanishes_ended_when_its_deletion_was_asked_for():
    assert seen([pod(0), pod(1)], [pod(0), pod(1, deleted=49.0)], [pod(0)]) == [(1, 49.0, "Deleted")]


@pytest.mark.parametrize(
    ("answers", "unsure", "ended"),
    [
        ({}, {ID}, []),  # the API server has not answered
        ({ID: {}}, set(), [(101, "Deleted")]),  # nothing is known of its end
        ({ID: {"another": None}}, set(), [(101, "Deleted")]),
        ({ID: {"a": None}}, set(), []),  # it is there, and nobody can read it
        ({ID: {"a": pod(0, uid="a")}}, set(), []),  # somebody has taken the label off it
        ({ID: {"a": pod(0, uid="a", finished=60.0, exit_code=1, stopped="Error")}}, set(), [(60.0, "Error")]),
    ],
)
def test_a_pod_that_no_watch_shows_any_more_is_gone_if_the_api_server_says_so(answers, unsure, ended):
    observation = Observation("lab")
    observation.update([JOB], [pod(0, uid="a")], 100)
    assert observation.lacking([], 1) == {}
    observation.update([JOB], [], 101)
    assert observation.lacking([], 1) == {ID: "j1"}
    observation.update([JOB], [], 101, answers)
    assert observation.unsure == unsure
    assert [(c.finished, c.stopped) for c in observation.pods_of(ID) if c.finished is not None] == ended


def test_a_pod_that_no_watch_shows_is_not_gone_when_its_deletion_is_asked_for():
    """It may run on, on a node that is lost: nothing is concluded from its end before that."""
    observation, deleting = Observation("lab"), pod(0, uid="a", deleted=101.0)
    observation.update([JOB], [pod(0, uid="a")], 100)
    observation.update([JOB], [], 101, {ID: {"a": deleting}})
    observation.update([JOB], [], 102)
    assert (observation.unsure, observation.pods_of(ID)[0].finished) == ({ID}, None)
    observation.update([JOB], [], 103, {ID: {}})
    assert (observation.unsure, observation.pods_of(ID)[0].finished) == (set(), 101.0)


def test_rank_0_is_not_known_to_be_silent_while_nobody_has_said_that_its_job_is_gone():
    """A log that has ended once is never read again."""
    observation = Observation("lab")
    observation.update([JOB], [pod(0, started=99.0)], 100)
    observation.update([], [pod(0, started=99.0)], 101)
    assert not observation.silent(ID)
    observation.missing(ID)
    assert observation.silent(ID)


def test_an_attempt_with_fewer_pods_than_nodes_may_have_some_that_no_watch_shows():
    observation = Observation("lab")
    observation.update([JOB], [pod(0)], 100)
    assert (observation.lacking([ID], 1), observation.lacking([ID], 2)) == ({}, {ID: "j1"})
    observation.update([JOB], [pod(0)], 100, {ID: {"long-1-0-0": pod(0), "b": pod(1, uid="b")}})
    assert observation.lacking([ID], 2) == {}
    assert [c.name for c in observation.pods_of(ID)] == ["long-1-0-0", "b"]


@pytest.mark.parametrize("stranger", [{"job": "j2"}, {"namespace": "elsewhere"}])
@pytest.mark.parametrize("first", [True, False])
def test_a_foreign_pod_that_claims_index_0_is_not_rank_0(stranger, first):
    observation = Observation("lab")
    pods = [pod(0, uid="stranger", **stranger), pod(0), pod(1)]
    assert observation.update([JOB], pods if first else reversed(pods), 100) == 1
    assert observation.rank0(ID).name == "long-1-0-0"
    assert {c.name for c in observation.jobs[ID].containers} == {"long-1-0-0", "long-1-0-1"}
    assert observation.update([JOB], pods, 101) == 0  # it was reported


@pytest.mark.parametrize("first", [True, False])
def test_of_two_jobs_with_the_names_of_one_try_the_older_one_is_the_try(first):
    observation = Observation("lab")
    jobs = [
        JobSnapshot("lab", "r1", ID, ObservedJob(uid, created=created)) for uid, created in (("j1", 5.0), ("j2", 6.0))
    ]
    observation.update(jobs if first else reversed(jobs), [], 100)
    assert observation.jobs[ID].uid == "j1"


def test_a_job_in_another_namespace_is_not_ours():
    observation = Observation("elsewhere")
    observation.update([JOB], [pod(0)], 100)
    assert (observation.jobs, observation.containers) == ({}, {})


def test_a_job_that_was_created_just_now_has_its_pods():
    observation = Observation("lab")
    observation.expect(JOB, 99)
    assert observation.update([], [pod(0)], 100) == 0
    assert [c.node_index for c in observation.jobs[ID].containers] == [0]


def test_the_pods_of_a_job_that_is_gone_stay_known():
    observation = Observation("lab")
    observation.update([JOB], [pod(0)], 100)
    assert observation.update([], [pod(0, finished=101.0)], 102) == 0
    assert observation.jobs == {}
    assert observation.rank0(ID).finished == 101.0


@pytest.mark.parametrize("before", [{"queue": True, "suspended": True}, {"suspended": True}, None])
def test_a_job_that_has_left_its_queue_has_not_waited_for_its_pods_before(before):
    """A busy Job controller says only later since when it is not suspended any more."""
    observation = Observation("lab")
    if before:
        observation.update([replace(JOB, job=replace(JOB.job, **before))], [], 1000)
    left = replace(JOB, job=replace(JOB.job, queue=not before or "queue" in before))
    for now in (1800, 1900):
        observation.update([left], [], now)
        assert observation.jobs[ID].launched == 1800
    observation.update([replace(left, job=replace(left.job, admitted=1850.0))], [], 1910)
    assert observation.jobs[ID].launched == 1850
    observation.update([replace(left, job=replace(left.job, suspended=True))], [], 1920)
    observation.update([left], [], 1930)
    assert observation.jobs[ID].launched == 1930, "the queue had taken it back"


def test_when_a_job_was_first_seen_to_fail():
    observation = Observation("lab")
    for now, job in (
        (100, JOB.job),
        (101, replace(JOB.job, failing="backoff limit")),
        (105, replace(JOB.job, failing="backoff limit", finished="Failed")),
    ):
        observation.update([replace(JOB, job=job)], [], now)
    assert observation.jobs[ID].failing_seen == 101


def test_since_when_a_pod_waits_for_the_same_reason():
    observation = Observation("lab")
    for now, why in (
        (100, "ContainerCreating"),
        (101, "CreateContainerConfigError"),
        (160, "CreateContainerConfigError"),
    ):
        observation.update([JOB], [pod(0, waiting=why)], now)
    assert observation.rank0(ID).waiting_since == 101


def test_when_a_container_came_up_is_known_only_to_who_saw_it_wait():
    """By the operator's clock: that of the node may be wrong by an hour."""
    observation = Observation("lab")
    observation.update([JOB], [pod(0, waiting="ContainerCreating", started=None)], 100)
    for now in (105, 110):
        observation.update([JOB], [pod(0, started=3705)], now)
        assert observation.rank0(ID).came_up == 105
    other = Observation("lab")
    for now in (105, 110):
        other.update([JOB], [pod(0, started=3705)], now)
        assert other.rank0(ID).came_up is None


def test_a_job_that_no_watch_shows_is_asked_for_and_may_not_exist():
    observation = Observation("lab", {"j1": ID})
    assert observation.unconfirmed([ID], 100) == [ID]  # recorded, but never seen
    observation.expect(JOB, 100)
    assert (observation.unconfirmed([ID], 129), observation.unconfirmed([ID], 130)) == ([], [ID])
    observation.missing(ID)
    assert (observation.jobs, observation.unconfirmed([ID], 131), observation.awaits_watch) == ({}, [], False)
    observation.update([], [pod(0)], 132)
    assert observation.rank0(ID).name == "long-1-0-0"  # its pods are ours by the uid of their Job
    observation.update([JOB], [], 133)
    assert list(observation.jobs) == [ID]


def test_a_job_that_was_deleted_before_a_watch_showed_it_is_asked_for_although_its_try_has_ended():
    observation = Observation("lab")
    observation.expect(JOB, 100)
    assert observation.unconfirmed([], 129) == []
    assert observation.unconfirmed([], 130) == [ID]


QUEUED = replace(JOB, job=ObservedJob("j1", created=0.0, queue=True, suspended=True))


@pytest.mark.parametrize("seen", [[QUEUED], []])
def test_a_pod_that_replaces_one_that_never_started_is_all_that_its_try_has(seen):
    """The queue took the machines back while the image was pulled, and gave others."""
    observation = Observation("lab")
    observation.update([JOB], [pod(0, uid="a", created=1.0, started=None, waiting="ContainerCreating")], 2)
    for job in seen:
        observation.update([job], [], 3)
    observation.update([JOB], [pod(0, uid="b", created=4.0)], 5)
    job = observation.jobs[ID]
    assert ([c.name for c in job.containers], job.restarted) == (["b"], False)
    assert [c.name for c in observation.pods_of(ID)] == ["b"]


def test_a_pod_that_a_queue_took_away_before_it_started_is_forgotten_once_its_job_is_admitted_again():
    """A quota refuses the next one: the try has no pods, and its cause is asked for."""
    observation = Observation("lab")
    first, again = (replace(JOB, job=replace(JOB.job, queue=True, admitted=at)) for at in (1.0, 4.0))
    observation.update([first], [pod(0, uid="a", created=1.0, started=None, waiting="ContainerCreating")], 2)
    observation.update([first], [], 3, {ID: {}})
    assert [c.stopped for c in observation.jobs[ID].containers] == ["Deleted"], "nobody says that it was suspended"
    observation.update([again], [], 5)
    assert (observation.jobs[ID].containers, observation.rank0(ID)) == ((), None)


def test_a_try_is_what_its_first_pods_did():
    """The Job was suspended and admitted again while no watch worked: its pods have been replaced."""
    observation = Observation("lab")
    observation.update([JOB], [pod(0, uid="a", created=1.0), pod(1, uid="b", created=1.0)], 2)
    news = [pod(1, uid="d", created=4.0), pod(0, uid="c", created=4.0)]
    observation.update([JOB], news, 5, {ID: {pod.uid: pod for pod in news}})
    for ends in ({}, {"finished": 9.0, "exit_code": 0}):
        observation.update([JOB], [pod(0, uid="c", created=4.0, **ends), pod(1, uid="d", created=4.0, **ends)], 10)
        job = observation.jobs[ID]
        assert ([(c.name, c.stopped) for c in job.containers], job.restarted) == (
            [("a", "Deleted"), ("b", "Deleted")],
            True,
        )
        assert (observation.rank0(ID).name, job.may_run(2)) == ("a", True)


def test_no_nodes_clock_says_when_something_was_seen():
    """The node's clock is an hour behind; a process that starts later has only its stamps."""
    observation, later = Observation("lab"), Observation("lab")
    waits = {"started": None, "waiting": "PodInitializing"}
    states = (
        {"staging": Staging(), **waits},
        {"staging": Staging(started=1.0), **waits},
        {"staging": Staging(started=1.0, finished=2.0, exit_code=0), "started": 3.0},
        {"staging": Staging(started=1.0, finished=2.0, exit_code=0), "started": 3.0, "finished": 4.0, "exit_code": 1},
    )
    for number, state in enumerate(states):
        for now in (3600.0 + 100 * number, 3650.0 + 100 * number):
            observation.update([JOB], [pod(0, **state)], now)
            if number == 3:
                later.update([JOB], [pod(0, **state)], now)
    one, other = observation.rank0(ID), later.rank0(ID)
    assert (one.staging.seen_started, one.staging.seen_finished, one.came_up, one.seen_ended) == (
        3700,
        3800,
        3800,
        3900,
    )
    assert (other.staging.seen_started, other.staging.seen_finished, other.came_up) == (None, None, None)
    assert other.seen_ended == 3900


@pytest.mark.parametrize(
    ("pods", "job", "silent"),
    [
        ([], {}, False),
        ([], {"finished": "Failed"}, True),
        ([{"started": None, "waiting": "ContainerCreating"}], {"finished": "Complete"}, False),  # the watch is late
        ([{"started": None, "finished": 3.0, "stopped": "Deleted"}], {"suspended": True}, False),  # it gets another
        ([{"started": None, "finished": 3.0, "stopped": "Evicted"}], {"failing": "BackoffLimitExceeded"}, True),
        ([{"finished": 3.0, "exit_code": 0}], {}, True),
        ([{}], {"finished": "Failed"}, False),
    ],
)
def test_a_log_is_over_only_when_no_container_can_print_any_more(pods, job, silent):
    observation = Observation("lab")
    found = replace(JOB, job=ObservedJob("j1", created=0.0, **job))
    observation.update([found], [pod(0, **fields) for fields in pods], 5)
    assert observation.silent(ID) is silent
