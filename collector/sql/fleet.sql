-- The Pis, and the proof that nothing they sent was lost.

-- name: devices
SELECT d.id, d.name, d.status, d.created_at, d.revoked_at, j.id AS junction_id, j.name AS junction_name,
       h.received_at
FROM edge_devices d
LEFT JOIN device_heard h ON h.device_id = d.id
LEFT JOIN junctions j ON j.id = d.junction_id
WHERE %(devices)s::text[] IS NULL OR d.name = ANY (%(devices)s::text[]) OR d.id::text = ANY (%(devices)s::text[])
ORDER BY d.name, d.id
LIMIT %(limit)s OFFSET %(offset)s;

-- name: streams
-- The streams of some devices. What was lost is counted twice: as the batches came, and from the gaps themselves.
SELECT s.no, s.device_id, s.stream, s.epoch, s.last_seq, s.stored, s.rejected, s.lost,
       s.first_received_at, s.last_received_at, s.last_at, g.n_gaps, g.lost_in_gaps, r.rejects_kept
FROM ingest_streams s
CROSS JOIN LATERAL (
    SELECT count(*) AS n_gaps, coalesce(sum(seq - from_seq + 1), 0)::bigint AS lost_in_gaps
    FROM ingest_gaps WHERE stream_no = s.no
) g
CROSS JOIN LATERAL (SELECT count(*) AS rejects_kept FROM ingest_rejects WHERE stream_no = s.no) r
WHERE s.device_id = ANY (%(devices)s::uuid[])
ORDER BY s.stream, s.first_received_at, s.no;

-- name: gaps
-- The latest gaps of some streams.
SELECT s.no AS stream_no, g.seq, g.from_seq, g.at, g.duration_ms, g.reason, g.sensor, g.dropped, g.detail
FROM unnest(%(streams)s::integer[]) AS s (no)
CROSS JOIN LATERAL (
    SELECT * FROM ingest_gaps WHERE stream_no = s.no ORDER BY seq DESC LIMIT %(limit)s
) g
ORDER BY s.no, g.seq DESC;

-- name: find_device
SELECT d.public_key, d.status, j.name AS junction
FROM edge_devices d LEFT JOIN junctions j ON j.id = d.junction_id
WHERE d.id = %(id)s;

-- name: create_junction
-- Does nothing if there is one of that name.
INSERT INTO junctions (name, timezone) VALUES (%(name)s, %(timezone)s) ON CONFLICT (name) DO NOTHING;

-- name: find_junction
SELECT id, timezone FROM junctions WHERE name = %(name)s;

-- name: create_device
INSERT INTO edge_devices (id, name, public_key, junction_id)
VALUES (%(id)s, %(name)s, %(public_key)s, %(junction_id)s);

-- name: update_device
-- The same device again: it may have a new name, gets a junction if it had none, and is trusted again.
UPDATE edge_devices
SET name = %(name)s, junction_id = coalesce(junction_id, %(junction_id)s), status = 'active', revoked_at = NULL
WHERE id = %(id)s;

-- name: revoke_device
UPDATE edge_devices SET status = 'revoked', revoked_at = coalesce(revoked_at, now()) WHERE id = %(id)s;

-- name: audit_streams
-- For each stream: what its counters say was stored, and the rows that are there or were dropped by retention.
WITH present AS (
    SELECT stream_no, count(*) AS n FROM ({rows}) AS r GROUP BY stream_no
), expired AS (
    SELECT stream_no, sum(n)::bigint AS n FROM expired_rows
    WHERE table_name <> 'lane_cycle_data' GROUP BY stream_no
), rejects AS (
    SELECT stream_no, count(*) AS n FROM ingest_rejects GROUP BY stream_no
), lost AS (
    SELECT stream_no, sum(seq - from_seq + 1)::bigint AS n FROM ingest_gaps
    WHERE from_seq IS NOT NULL GROUP BY stream_no
)
SELECT s.no, s.device_id, s.stream, s.epoch, s.last_seq, s.stored, s.rejected, s.lost,
       coalesce(p.n, 0) AS present, coalesce(e.n, 0) AS expired, coalesce(r.n, 0) AS rejects_kept,
       coalesce(l.n, 0) AS lost_in_gaps
FROM ingest_streams s
LEFT JOIN present p ON p.stream_no = s.no
LEFT JOIN expired e ON e.stream_no = s.no
LEFT JOIN rejects r ON r.stream_no = s.no
LEFT JOIN lost l ON l.stream_no = s.no
WHERE s.last_seq <> s.stored + s.rejected + s.lost
   OR s.stored <> coalesce(p.n, 0) + coalesce(e.n, 0)
   OR s.lost <> coalesce(l.n, 0)
ORDER BY s.no
LIMIT %(limit)s;

-- name: audit_duplicates
-- Records that are there more than once.
SELECT stream_no, seq, count(*) AS n
FROM ({rows}) AS r
GROUP BY stream_no, seq
HAVING count(*) > 1
ORDER BY stream_no, seq
LIMIT %(limit)s;

-- name: audit_holes
-- Runs of sequence numbers that nothing accounts for, in streams that retention has not touched.
WITH covered AS (
    SELECT stream_no, seq AS from_seq, seq AS to_seq FROM ({rows}) AS r
    UNION ALL
    SELECT stream_no, seq, seq FROM ingest_rejects
    UNION ALL
    SELECT stream_no, from_seq, seq FROM ingest_gaps WHERE from_seq IS NOT NULL
    UNION ALL
    SELECT no, last_seq + 1, last_seq + 1 FROM ingest_streams
), steps AS (
    SELECT stream_no, from_seq,
           coalesce(max(to_seq) OVER (PARTITION BY stream_no ORDER BY from_seq, to_seq
                                      ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS before
    FROM covered
)
SELECT stream_no, before + 1 AS from_seq, from_seq - 1 AS to_seq
FROM steps
WHERE from_seq > before + 1 AND stream_no NOT IN (SELECT stream_no FROM expired_rows)
ORDER BY stream_no, from_seq
LIMIT %(limit)s;

-- name: audit_rollups
-- Minutes whose rollup is not what its raw rows say, and that do not wait to be rolled up.
WITH bound AS (
    SELECT dropped_before FROM timeseries WHERE table_name = 'count_events'
), raw AS (
    SELECT source_no, date_bin('1 minute', at, 'epoch') AS minute, cls, direction, count(*) AS n
    FROM count_events WHERE at >= (SELECT dropped_before FROM bound)
    GROUP BY 1, 2, 3, 4
), rolled AS (
    SELECT source_no, bucket AS minute, cls, direction, n FROM count_rollups
    WHERE step_s = 60 AND n <> 0 AND bucket >= (SELECT dropped_before FROM bound)
)
SELECT source_no, minute, cls, direction, coalesce(raw.n, 0) AS raw, coalesce(rolled.n, 0) AS rolled
FROM raw FULL JOIN rolled USING (source_no, minute, cls, direction)
WHERE raw.n IS DISTINCT FROM rolled.n
  AND NOT EXISTS (SELECT FROM rollup_marks m WHERE m.kind = 'count' AND m.ref_no = source_no AND m.minute = coalesce(raw.minute, rolled.minute))
ORDER BY source_no, minute
LIMIT %(limit)s;
