"""A status that the API server would refuse is cut to its schema."""

from __future__ import annotations

import pytest

from podium.api import BenchmarkRunStatus, Progress, Score
from podium.controller.fitting import fitted
from podium.controller.status_writer import status_document
from podium.kube import ApiError
from tests.unit.controller.test_status_writer import TRAINING, Writes
from tests.unit.reconcile import examples as ex

HUGE = 10**19


def status(**progress):
    made = BenchmarkRunStatus(attempts=(ex.attempt(),), progress=Progress(attempt="1/1"))
    return made.model_copy(update={"progress": made.progress.model_copy(update=progress)})


def test_a_status_that_fits_stays_as_it_is():
    document = status_document(TRAINING)
    assert fitted(BenchmarkRunStatus, document) == document


def test_numbers_texts_and_lists_are_cut():
    too_much = status(samples=HUGE, quality="0.5/" * 40)
    score = Score(valid=False, official=False).model_copy(update={"reasons": ("why",) * 40})
    long = ex.attempt().model_copy(update={"message": "x" * 5000})
    document = status_document(too_much.model_copy(update={"score": score, "attempts": (long,)}))
    cut = fitted(BenchmarkRunStatus, document)
    assert cut["progress"]["samples"] == 2**63 - 1
    assert (len(cut["progress"]["quality"]), cut["progress"]["quality"][-6:]) == (64, " [...]")
    assert len(cut["score"]["reasons"]) == 32
    assert len(cut["attempts"][0]["message"]) == 2048
    assert fitted(BenchmarkRunStatus, cut) == cut
    BenchmarkRunStatus.model_validate(cut)


class Strict(Writes):
    """An API server that refuses a status which does not fit."""

    async def patch_status(self, resource, namespace, name, operations, *, uid):
        await super().patch_status(resource, namespace, name, operations, uid=uid)
        if self.refuses or str(HUGE)[:-1] in str(operations):
            raise ApiError(422, "Invalid", "status.progress.samples: Invalid value")

    refuses = False


async def test_a_refused_status_is_cut_and_written_once(caplog):
    writes = Strict()
    writes.state.report.written = {"observedGeneration": 1}
    await writes.at(0, status(samples=HUGE))
    refused, written = writes.patches
    assert refused["/status"]["progress"]["samples"] == HUGE
    assert written["/status"]["progress"]["samples"] == 2**63 - 1
    assert "the whole status of lab/digits is written, cut to what its schema allows" in caplog.text
    await writes.at(20, status(samples=HUGE + 1))
    assert len(writes.patches) == 2  # nothing that could be written has changed
    await writes.at(40, status(samples=HUGE + 2, epoch="3"))
    await writes.at(50, status(samples=HUGE + 2, epoch="3"))
    assert writes.patches[2:] == [{"/status/progress/epoch": "3"}]


async def test_a_refusal_for_another_reason_is_an_error():
    writes = Strict()
    writes.refuses = True
    writes.state.report.written = {"observedGeneration": 1}
    with pytest.raises(ApiError):
        await writes.at(0, status(samples=7))
