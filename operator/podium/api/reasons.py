"""Every reason in a run's status and Events: what it applies to, what it means, and what to do about it.

The reconciler sets these members, metrics and displays read them, and the reference page is generated from them. To add
a reason, add a member here.
"""

from __future__ import annotations

from podium.api.explained import ExplainedReason, Facts
from podium.api.status import AttemptState, ConditionType, FailureClass

_ADMITTED, _RUNNING, _SUSPENDED = ConditionType.ADMITTED, ConditionType.RUNNING, ConditionType.SUSPENDED
_STORED, _COMPLETE, _FAILED = ConditionType.RESULT_STORED, ConditionType.COMPLETE, ConditionType.FAILED
_DISRUPTION, _INFRASTRUCTURE, _PROGRAM = FailureClass


class Reason(ExplainedReason):
    """Every reason; its fields are those of `ExplainedReason`."""

    # fmt: off

    # ---- attempts that are waiting ----

    PENDING = "Pending", Facts(
        state=AttemptState.PENDING, false=(_RUNNING,),
        means="Pods are not scheduled, or their images are being pulled; the message says which.",
        do="Wait, or run kubectl describe pod.",
    )
    QUEUED = "Queued", Facts(
        state=AttemptState.PENDING, false=(_RUNNING,), means="Kueue has not admitted the Job yet.",
        do="Run kubectl get workloads, and check that the LocalQueue in spec.queueName exists and has quota.",
    )
    STAGING = "Staging", Facts(
        state=AttemptState.PENDING, false=(_RUNNING,),
        means="The pods are copying their data to the nodes' disks.", do="Wait.",
    )

    # ---- attempts that ended, according to their log ----

    TARGET_REACHED = "TargetReached", Facts(state=AttemptState.CONVERGED, means="The attempt converged.")
    RATE_MEASURED = "RateMeasured", Facts(
        state=AttemptState.MEASURED,
        means="As many samples were trained, or for as long, as spec.measure asks; the message has the rate.",
    )
    QUALITY_NOT_REACHED = "QualityNotReached", Facts(
        state=AttemptState.NOT_CONVERGED,
        means="The log ended and no evaluation reached the target. A success status in run_stop does not count.",
        do="Look at the curve in the report. Tune learning rate and batch size together; a smaller batch is safer.",
    )
    RUN_ABORTED = "RunAborted", Facts(
        state=AttemptState.NOT_CONVERGED, means="The program gave up: the status in run_stop is not success.",
        do="Have the program log run_stop with status success when the target is reached.",
    )
    EVAL_RESULT_MISSING = "EvalResultMissing", Facts(
        state=AttemptState.NOT_CONVERGED,
        means="A benchmark evaluated after the clock stops (MiniGo in v0.6) did not log which model passed and when.",
        do="Print eval_result with metadata.timestamp, in seconds since run_start, when a model passes.",
    )
    RUN_DEADLINE_EXCEEDED = "RunDeadlineExceeded", Facts(
        state=AttemptState.NOT_CONVERGED, failure=_PROGRAM,
        means="run_stop was not logged within spec.deadlines.run of run_start.",
        do="Raise the deadline, or check the throughput to find out why training is slow.",
    )
    NO_PROGRESS = "NoProgress", Facts(
        state=AttemptState.NOT_CONVERGED, failure=_PROGRAM,
        means="Between run_start and run_stop, rank 0 printed nothing for spec.deadlines.silence.",
        do="Find out which rank the others wait for (NCCL_DEBUG=INFO in spec.template.env). If training is just quiet, "
           "raise the deadline.",
    )
    PROGRAM_EXITED = "ProgramExited", Facts(
        state=AttemptState.NOT_CONVERGED, failure=_PROGRAM,
        means="The training program ended with an error between run_start and run_stop. The attempt counts as not "
              "converged, as MLPerf counts it, and is not repeated.",
        do="Read the last output in the message; the full output is in the result's logs/ and, while the run exists, "
           "in kubectl logs. For OOMKilled, raise the memory in spec.template.resources, or sharedMemory if the data "
           "loader ran out of it.",
    )
    SUSPENDED_IN_TRAINING = "SuspendedInTraining", Facts(
        state=AttemptState.NOT_CONVERGED,
        means="spec.suspend was set between run_start and run_stop. The attempt counts as not converged: if it were "
              "repeated, attempts could be repeated until their times are good.",
        do="Suspend a run between attempts, or before run_start; a queue may preempt it at any time.",
    )
    LOG_TOO_LONG = "LogTooLong", Facts(
        state=AttemptState.INVALID, failure=_PROGRAM,
        means="Rank 0 printed more than 64 MiB of MLPerf lines. What is there is kept.",
        do="Log less often: a line per epoch and evaluation is enough, a line per step is too much.",
    )
    RUN_START_MISSING = "RunStartMissing", Facts(
        state=AttemptState.INVALID, means="The log has MLPerf lines but no run_start.",
        do="Print run_start when the clock starts, before the program touches the data.",
    )
    RUN_STOP_MISSING = "RunStopMissing", Facts(
        state=AttemptState.INVALID, means="The program ended without an error but never printed run_stop.",
        do="Print run_stop when the target is reached or the program gives up.",
    )
    CLOCK_INVALID = "ClockInvalid", Facts(
        state=AttemptState.INVALID,
        means="A run_stop comes before run_start, or a line of the clock is stamped with another time than the one at "
              "which it was printed. The message has both.",
        do="Have the program stamp each line when it prints it, with the clock of its node, and flush it. If it does, "
           "look for what held up the node's container runtime, such as a full disk.",
    )
    INIT_TOO_LONG = "InitTooLong", Facts(
        state=AttemptState.INVALID, keeps_place=True,
        means="Initialization reached or exceeded the untimed limit that the round sets for the closed division.",
        do="Start the clock earlier, or compile and warm up less.",
    )
    BENCHMARK_MISMATCH = "BenchmarkMismatch", Facts(
        state=AttemptState.INVALID, means="submission_benchmark in the log names a different benchmark of the round.",
        do="Correct spec.benchmark, or the name that the program logs.",
    )

    # ---- attempts that failed, or that a user ended ----

    RATE_UNKNOWN = "RateUnknown", Facts(
        state=AttemptState.FAILED, failure=_PROGRAM,
        means="The log ended before it said twice, after spec.measure.warmup, how much had been trained.",
        do="Shorten the warm-up, train longer, or log tracked_stats with metadata.samples_count more often.",
    )
    PROGRAM_FAILED = "ProgramFailed", Facts(
        state=AttemptState.FAILED, failure=_PROGRAM,
        means="The training program ended with an error before run_start. The run fails at once, since another try "
              "would do the same.",
        do="Read the last output in the message; the full output is in the result's logs/ and, while the run exists, "
           "in kubectl logs. For OOMKilled, raise the memory in spec.template.resources, or sharedMemory if the data "
           "loader ran out of it.",
    )
    PREEMPTED = "Preempted", Facts(
        state=AttemptState.FAILED, failure=_DISRUPTION, again="free",
        means="The queue or the scheduler gave the machines to a workload of higher priority. The attempt is tried "
              "again, which does not count against spec.maxRetries (up to 20 times an attempt).",
        do="Nothing. To be preempted less often, raise spec.queuePriorityClass or spec.template.priorityClassName.",
    )
    NODE_LOST = "NodeLost", Facts(
        state=AttemptState.FAILED, failure=_DISRUPTION, again="counted",
        means="A node stopped reporting, or was removed; the message names it. The attempt is retried.",
        do="See the node's Events and its console. Cordon it if it happens again.",
    )
    EVICTED = "Evicted", Facts(
        state=AttemptState.FAILED, failure=_DISRUPTION, again="counted",
        means="The kubelet ended a pod because its node ran out of memory, disk or process numbers, or needed room for "
              "a critical pod. The attempt is retried.",
        do="Request what the training needs in spec.template.resources, and find out what else fills the node.",
    )
    DRAINED = "Drained", Facts(
        state=AttemptState.FAILED, failure=_DISRUPTION, again="counted",
        means="A node was drained, tainted or shut down. The attempt is retried.",
        do="On spot nodes, raise spec.maxRetries; on others, drain nodes between runs.",
    )
    NODE_OUT_OF_MEMORY = "NodeOutOfMemory", Facts(
        state=AttemptState.FAILED, failure=_DISRUPTION, again="counted",
        means="The node ran out of memory and ended the container, which has no memory limit. The attempt is retried.",
        do="Set requests and limits for memory in spec.template.resources, and find out what else fills the node.",
    )
    JOB_SUSPENDED = "JobSuspended", Facts(
        state=AttemptState.FAILED, failure=_DISRUPTION, again="counted",
        means="Somebody suspended the Job, which no queue manages. The attempt is retried.",
        do="Set spec.suspend of the BenchmarkRun instead of that of its Job.",
    )
    POD_LOST = "PodLost", Facts(
        state=AttemptState.FAILED, failure=_DISRUPTION, again="counted",
        means="A pod was deleted or lost, and nothing says why. The attempt is retried.",
        do="See the Events of the node and the audit log, and find out what deletes pods.",
    )
    POD_REJECTED = "PodRejected", Facts(
        state=AttemptState.FAILED, failure=_INFRASTRUCTURE, again="counted",
        means="The kubelet refused a pod that the scheduler had given it; the message has its words. The node has less "
              "than it reports, or lacks something, such as AppArmor. The attempt is retried.",
        do="Compare what runs on the node with what it reports as allocatable, and trainer.pod with what it supports.",
    )
    DEVICE_ERROR = "DeviceError", Facts(
        state=AttemptState.FAILED, failure=_INFRASTRUCTURE, again="counted",
        means="A node could not give a pod its accelerators; the message has the words of the device plugin or of the "
              "container runtime. The attempt is retried.",
        do="Check the accelerators, their driver and the device plugin of the node that the message names.",
    )
    LOG_LOST = "LogLost", Facts(
        state=AttemptState.FAILED, failure=_INFRASTRUCTURE, again="counted",
        means="A part of rank 0's log can no longer be read, so nobody knows when run_start, or whether run_stop, was "
              "logged. What was read is kept. The attempt is retried.",
        do="Check the node of rank 0 and its kubelet, and what removes pods and logs.",
    )
    NODE_CLOCK_STEPPED = "NodeClockStepped", Facts(
        state=AttemptState.FAILED, failure=_INFRASTRUCTURE, again="counted",
        means="The clock of rank 0's node was set between run_start and run_stop, so the times in the log are not "
              "those of the attempt. The message has the time by the log and by the operator. The attempt is retried.",
        do="Let an NTP service of the node slew its clock rather than step it, and find out what sets it.",
    )
    IMAGE_PULL_FAILED = "ImagePullFailed", Facts(
        state=AttemptState.FAILED, failure=_INFRASTRUCTURE, again="counted",
        means="An image could not be pulled within spec.deadlines.pending; the message quotes the registry. The "
              "attempt is retried.",
        do="Correct spec.template.image or imagePullSecrets, or check that the nodes reach the registry.",
    )
    QUEUED_DEADLINE_EXCEEDED = "QueuedDeadlineExceeded", Facts(
        state=AttemptState.FAILED, failure=_INFRASTRUCTURE,
        means="The queue did not admit the Job within spec.deadlines.queued.",
        do="Check the queue's quota and what uses it, or raise the deadline.",
    )
    JOB_LOST = "JobLost", Facts(
        state=AttemptState.FAILED, failure=_DISRUPTION, again="counted",
        means="Somebody deleted the Job before run_stop. The attempt is retried.",
        do="Find out what deletes Podium's Jobs; a TTL controller for Jobs is a common cause.",
    )
    POD_CANNOT_START = "PodCannotStart", Facts(
        state=AttemptState.FAILED, failure=_INFRASTRUCTURE,
        means="The kubelet or the container runtime reports that the container can never start (InvalidImageName, "
              "ErrImageNeverPull, StartError; CreateContainerConfigError and CreateContainerError if they last).",
        do="Correct spec.template.image or command, or ask the administrator to correct the operator's defaults; then "
           "create a new run.",
    )
    PENDING_DEADLINE_EXCEEDED = "PendingDeadlineExceeded", Facts(
        state=AttemptState.FAILED, failure=_INFRASTRUCTURE,
        means="Not all pods were running within spec.deadlines.pending. The message quotes the scheduler or the "
              "kubelet.",
        do="Free capacity, fix what does not fit (resource names, tolerations, node selector, claim, image), or "
           "raise the deadline.",
    )
    INIT_DEADLINE_EXCEEDED = "InitDeadlineExceeded", Facts(
        state=AttemptState.FAILED, failure=_INFRASTRUCTURE, again="counted",
        means="The pods ran and printed MLPerf lines, but not run_start within spec.deadlines.init. The attempt is "
              "retried.",
        do="If the ranks cannot reach each other, check the network (NCCL_DEBUG=INFO in spec.template.env; a "
           "NetworkPolicy may separate the pods). If initialization is just slow, raise the deadline.",
    )
    NO_MLPERF_LOG = "NoMLPerfLog", Facts(
        state=AttemptState.FAILED, failure=_PROGRAM,
        means="Rank 0 printed no MLPerf lines. The attempt is not retried, since a retry would not help.",
        do="Print :::MLLOG lines to stdout from global rank 0. The message contains the last output, usually the "
           "program's error.",
    )
    STAGE_FAILED = "StageFailed", Facts(
        state=AttemptState.FAILED, failure=_INFRASTRUCTURE,
        means="A pod could not copy its data: the source is missing, corrupt or access is denied, or the disk is too "
              "small. The message contains the last lines that the copy printed.",
        do="Fix the problem that they name; to run the same copy by hand, use podium stage.",
    )
    STAGE_INTERRUPTED = "StageInterrupted", Facts(
        state=AttemptState.FAILED, failure=_INFRASTRUCTURE, again="counted",
        means="The data source was unreachable for minutes, or the copy was killed. The attempt is retried.",
        do="Nothing, unless it happens again; then check the source and the network.",
    )
    STAGE_DEADLINE_EXCEEDED = "StageDeadlineExceeded", Facts(
        state=AttemptState.FAILED, failure=_INFRASTRUCTURE,
        means="Not all pods had their data within spec.deadlines.stage.",
        do="Raise the deadline, or find out whether the source is slow.",
    )
    SUSPENDED = "Suspended", Facts(
        state=AttemptState.ABORTED, again="free", true=(_SUSPENDED,), false=(_RUNNING,),
        means="spec.suspend is true. An attempt whose clock had not started is stopped, and repeated on resume.",
        do="Set spec.suspend to false to resume.",
    )
    RUN_DELETED = "RunDeleted", Facts(
        state=AttemptState.ABORTED, false=(_RUNNING, _COMPLETE, _FAILED),
        means="The BenchmarkRun was deleted before its end: nothing more is started, and what was measured is stored.",
    )
    INTERRUPTED = "Interrupted", Facts(
        state=AttemptState.ABORTED,
        means="Ctrl-C or SIGTERM stopped a run on this machine (podium run --local). The measurements so far are "
              "stored.",
        do="Run the same command again; it starts from the beginning.",
    )

    # ---- conditions of the run ----

    VALID = "Valid", Facts(true=(_ADMITTED,), routine=True, means="The spec is valid.")
    INVALID_SPEC = "InvalidSpec", Facts(
        true=(_FAILED,), false=(_ADMITTED,), event="Warning",
        means="The spec has an error that the API server cannot check. The message names field, value and fix.",
        do="Correct the spec and apply it under another name, or delete the run first. podium validate catches the "
           "error before apply, unless it is about what the administrator allows.",
    )
    IN_PROGRESS = "InProgress", Facts(
        false=(_STORED, _COMPLETE, _FAILED), routine=True, means="The run has not ended yet.", do="Wait.",
    )
    INITIALIZING = "Initializing", Facts(
        true=(_RUNNING,), means="All pods are running; the clock has not started.", do="Wait.",
    )
    TRAINING = "Training", Facts(true=(_RUNNING,), means="The clock is running.", do="Wait.")
    CONVERGED = "Converged", Facts(
        true=(_RUNNING,), means="The attempt converged; its containers are still stopping.", do="Wait.",
    )
    MEASURED = "Measured", Facts(
        true=(_RUNNING,), means="The rate was measured; the attempt's containers are still stopping.", do="Wait.",
    )
    NOT_CONVERGED = "NotConverged", Facts(
        true=(_RUNNING,), means="The attempt did not converge; its containers are still stopping.",
        do="Wait, and see the attempt's reason.",
    )
    INVALID = "Invalid", Facts(
        true=(_RUNNING,), means="The attempt broke a rule; its containers are still stopping.",
        do="Wait, and see the attempt's reason.",
    )
    ABORTED = "Aborted", Facts(
        true=(_RUNNING,), means="The attempt was stopped; its containers are still stopping.",
        do="Wait, and see the attempt's reason.",
    )
    LOG_UNREADABLE = "LogUnreadable", Facts(
        true=(_RUNNING,),
        means="Rank 0's log cannot be read at present; the message has the cause. No deadline of the log is judged "
              "meanwhile. This is not a failure: the log is read on as soon as that is possible.",
        do="Check the node of rank 0, its kubelet, and the connection between the API server and the kubelet.",
    )
    STATUS_UNREADABLE = "StatusUnreadable", Facts(
        false=(_RUNNING,),
        means="This operator cannot read the status of the run: a newer operator wrote it, or somebody edited it. The "
              "message names the fields. Nothing is done for the run; what runs goes on, and what is recorded stays.",
        do="Run the version of the operator that wrote the status, or correct the fields with kubectl edit "
           "--subresource=status. To start from the beginning, delete the run and create it again.",
    )
    FINISHED = "Finished", Facts(false=(_RUNNING,), routine=True, means="Nothing is running anymore.")
    STORING = "Storing", Facts(
        false=(_RUNNING,), means="All attempts have ended; the result is being stored.",
        do="Wait. If it takes long, see the condition ResultStored.",
    )
    NOT_SUSPENDED = "NotSuspended", Facts(false=(_SUSPENDED,), routine=True, means="The run is not paused.")
    STORED = "Stored", Facts(
        true=(_STORED,), routine=True,
        means="Every file is in the store; the message is the URL of the result.",
        do='Read it; see "Read a report".',
    )
    STORE_UNAVAILABLE = "StoreUnavailable", Facts(
        false=(_STORED,),
        means="The store refuses the upload or does not answer; the message quotes its error. Nothing is lost; the "
              "upload is retried.",
        do="Correct results.url, the endpoint, or the operator's permissions for the bucket. The run then ends on "
           "its own.",
    )
    NOTHING_TO_STORE = "NothingToStore", Facts(
        false=(_STORED,), routine=True,
        means="The run ended before anything was measured.", do="See the condition Failed.",
    )
    LAUNCH_REFUSED = "LaunchRefused", Facts(
        true=(_FAILED,), false=(_RUNNING,), event="Warning",
        means="The API server refuses the Job or the Service; the message quotes its error (quota, admission policy, a "
              "name that is taken). Or as many runs of the namespace have started as the administrator allows.",
        do="Give the namespace more quota, exempt the training pods from the policy, or rename the run. If the message "
           "names trainer.maxRunsPerNamespace, wait.",
    )
    SCORED = "Scored", Facts(true=(_COMPLETE,), means="The run has a valid score.", do="Read it.")
    COMPLETE = "Complete", Facts(false=(_FAILED,), routine=True, means="The run is complete.")
    FAILED = "Failed", Facts(
        true=(_RUNNING,), false=(_COMPLETE,), routine=True,
        means="The attempt or the run has failed.", do="See the attempt's reason, or the condition Failed.",
    )
    ATTEMPT_FAILED = "AttemptFailed", Facts(
        true=(_FAILED,), event="Warning",
        means="An attempt failed; the message contains its reason. The run fails when no retry is left or a retry "
              "would not help.",
        do="See the attempt's reason.",
    )
    RESULT_INVALID = "ResultInvalid", Facts(
        true=(_FAILED,), event="Warning",
        means="Too many attempts did not converge or broke a rule. The result is stored anyway.",
        do="See the attempts' reasons.",
    )
    STOPPED_AS_HOPELESS = "StoppedAsHopeless", Facts(
        true=(_FAILED,), event="Warning",
        means="The result would pass the RCP check with a probability below 1 %, and spec.stopWhenHopeless is true.",
        do="The attempts converge too fast for their batch size: check the data, the target and the hyperparameters.",
    )

    # ---- Events only ----

    LIKELY_TO_FAIL_RCP = "LikelyToFailRCP", Facts(
        event="Warning",
        means="By the attempts so far, the result passes the RCP check with a probability below 3 %.",
        do="See whether the attempts train what the round asks for; to end such runs, set spec.stopWhenHopeless.",
    )
    LABEL_MISSING = "LabelMissing", Facts(
        event="Warning", means="Somebody has taken the label podium.dev/run-uid off a pod. The attempt goes on.",
        do="Put the label back with the command in the message: until then, changes of the pod are seen late.",
    )
    ATTEMPT_CONVERGED = "AttemptConverged", Facts(
        event="Normal", means="An attempt reached its target; quality, seconds and epochs are in the message.",
    )
    ATTEMPT_MEASURED = "AttemptMeasured", Facts(
        event="Normal", means="The rate of an attempt was measured; it is in the message.",
    )
    ATTEMPT_NOT_CONVERGED = "AttemptNotConverged", Facts(
        event="Warning",
        means="An attempt ended without reaching its target; the message contains its reason.",
        do="See the attempt's reason.",
    )
    ATTEMPT_INVALID = "AttemptInvalid", Facts(
        event="Warning", means="An attempt broke a rule; the message contains its reason.",
        do="See the attempt's reason.",
    )
    ATTEMPT_ABORTED = "AttemptAborted", Facts(
        event="Warning",
        means="An attempt was stopped because the run was suspended before run_start.",
        do="See the attempt's reason.",
    )

    # fmt: on
