-- How a junction's lights are now is told by the latest of few events among very many, most of them of detectors.
CREATE INDEX signal_events_unit ON signal_events (stream_no, code, at) WHERE code >= 100;
