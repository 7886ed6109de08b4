-- Streams that tell nothing of how their device is: it has been heard by another one since.

-- Who stores records would wait behind this while it waits for who reads for long: it rather comes again.
SET LOCAL lock_timeout = '1s';

-- `heard_in` as it was when the stream was retired: another of its device had been heard for an hour longer. So a device
-- that begins a new outbox, or drives no lights any more, is not looked at among those that are silent. A stream that is
-- heard again is not retired any more, and nothing needs to be written for that. NULL: it was not retired.
ALTER TABLE ingest_streams ADD COLUMN retired_in timestamptz;
CREATE INDEX ingest_streams_newest ON ingest_streams (heard_in, device_id) WHERE heard_in IS DISTINCT FROM retired_in;
-- One of the two, so that batches write no more than before. Until it goes, the release before reads all streams for
-- its lists of devices by state.
DROP INDEX ingest_streams_heard;

CREATE OR REPLACE FUNCTION stream_set_back() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        UPDATE ingest_streams SET retired_in = NULL WHERE device_id = OLD.device_id AND retired_in IS NOT NULL;
    END IF;
    PERFORM keep_heard(ARRAY(SELECT junction_id FROM edge_devices WHERE id = OLD.device_id));
    RETURN NULL;
END $$;

-- TimescaleDB's own way to choose among chunks, anew for each of a hundred devices, takes longer than to look into each.
-- Elsewhere nobody knows the setting, and only a superuser may write it down.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb') THEN
        ALTER FUNCTION device_facts(uuid[]) SET timescaledb.enable_chunk_append = 'off';
    END IF;
END $$;
