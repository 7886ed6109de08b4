-- Batches need not keep indexes of the minutes in which was heard any more. The release before reads all streams for its
-- lists of devices by state, and all of `junction_heard` for its lists of junctions.

-- Who stores records would wait behind this while it waits for who reads for long: it rather comes again.
SET LOCAL lock_timeout = '1s';

DROP INDEX ingest_streams_newest, junction_heard_in;
