-- Devices are found by their name, and by how long they have been silent; what was put aside or lost, by its device.

-- The pieces of three letters of a name, by which any part of it is found.
CREATE FUNCTION name_pieces(name text) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT array_agg(DISTINCT substr(lower(name), n, 3)) FROM generate_series(1, greatest(length(name) - 2, 1)) AS n
$$;
CREATE INDEX edge_devices_name ON edge_devices (name, id);
CREATE INDEX edge_devices_pieces ON edge_devices USING gin (name_pieces(name));

-- When it was last heard, in steps of five minutes: an index of the very time would be written with every batch.
ALTER TABLE ingest_streams ADD COLUMN
    heard_in timestamptz GENERATED ALWAYS AS (date_bin('5 minutes', last_received_at, 'epoch')) STORED;
CREATE INDEX ingest_streams_heard ON ingest_streams (heard_in, device_id);

CREATE INDEX ingest_rejects_kept ON ingest_rejects (stream_no, received_at);
CREATE INDEX ingest_gaps_stream_time ON ingest_gaps (stream_no, at);
CREATE INDEX ingest_gaps_lost ON ingest_gaps (stream_no) INCLUDE (seq, from_seq) WHERE from_seq IS NOT NULL;
