-- Batches need not keep an index of when each stream was heard any more. The release before reads all streams for its
-- lists of devices by state.

-- Who stores records would wait behind this while it waits for who reads for long: it rather comes again.
SET LOCAL lock_timeout = '1s';

DROP INDEX ingest_streams_newest;
