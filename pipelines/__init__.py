"""Run it: settings, the batch, Dagster, the command line. No rule lives here."""
