"""What the trainers share: ranks, log, clock, seeds, schedules, command line, telemetry."""
