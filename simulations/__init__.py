"""Many virtual devices: cohort engine, synthetic world, privacy sweep, report, verification."""
