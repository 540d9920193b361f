-- runner.db, schema version 5, second part (tracking_schema.sql).
CREATE INDEX parameter_by_number ON parameter(key, number, run);
CREATE INDEX parameter_by_value ON parameter(key, value, run);
CREATE INDEX ledger_by_run ON ledger(run_id);
