-- Hours of junctions. Whoever reads them and the worker that keeps them compute an hour by the same statements.

-- name: kept
-- The hours that were made. `whole`: with what is kept of the event log, which is most of it; `states`: and with what
-- was known at their ends.
SELECT starts_at, ends_at, lanes::text, lengths::text, zones::text,
       CASE WHEN %(whole)s THEN described END, CASE WHEN %(whole)s THEN log::text END,
       CASE WHEN %(states)s THEN state::text END
FROM junction_hourly_stats
WHERE junction_id = %(junction)s AND starts_at >= %(low)s AND starts_at < %(high)s
ORDER BY starts_at

-- name: states
-- What was known of the event log at the ends of hours that were made.
SELECT starts_at, state::text FROM junction_hourly_stats
WHERE junction_id = %(junction)s AND starts_at >= %(low)s AND starts_at < %(high)s

-- name: marked
-- Quarters of an hour that have changed since their hours were made, and up to when raw rows were dropped.
SELECT ARRAY(SELECT DISTINCT at FROM junction_hour_marks
             WHERE junction_id = %(junction)s AND at >= %(low)s AND at < %(high)s::timestamptz + interval '2 minutes'
             ORDER BY at) AS marks,
       (SELECT max(dropped_before) FROM timeseries WHERE table_name IN ('traffic_cycles', 'lane_cycle_data')) AS cycles,
       (SELECT dropped_before FROM timeseries WHERE table_name = 'zone_occupancy') AS zones,
       (SELECT dropped_before FROM timeseries WHERE table_name = 'signal_events') AS log

-- name: lanes
-- Each lane's cycles by the quarter of an hour in which they end. Green, yellow and red of a lane add up to the
-- cycle's length; `weighted_green_s` is green times saturation, so that hours can be added up.
SELECT date_bin('15 minutes', l.at, 'epoch') AS quarter, l.lane, count(*) AS n,
       sum(l.green_s::double precision) AS green_s, sum(l.yellow_s::double precision) AS yellow_s,
       sum(l.red_s::double precision) AS red_s, sum(l.vehicles)::bigint AS vehicles,
       coalesce(sum(l.green_s::double precision) FILTER (WHERE l.vehicles IS NOT NULL), 0) AS counted_green_s,
       coalesce(sum(l.green_s::double precision + l.yellow_s + l.red_s) FILTER (WHERE l.vehicles IS NOT NULL), 0)
           AS counted_s,
       count(l.saturation) AS n_measured, count(*) FILTER (WHERE l.saturation >= 1) AS n_saturated,
       coalesce(sum(l.saturation::double precision * l.green_s), 0) AS weighted_green_s,
       coalesce(sum(l.green_s::double precision) FILTER (WHERE l.saturation IS NOT NULL), 0) AS measured_green_s,
       coalesce(sum(l.green_s::double precision + l.yellow_s + l.red_s) FILTER (WHERE l.saturation IS NOT NULL), 0)
           AS measured_s,
       coalesce(sum(l.vehicles) FILTER (WHERE l.saturation IS NOT NULL), 0)::bigint AS measured_vehicles
FROM unnest(%(starts)s::timestamptz[], %(ends)s::timestamptz[]) AS asked (start, until)
CROSS JOIN LATERAL (
    SELECT c.*
    FROM edge_devices d
    JOIN ingest_streams s ON s.device_id = d.id
    JOIN lane_cycle_data c ON c.stream_no = s.no
    WHERE d.junction_id = %(junction)s AND c.at >= asked.start AND c.at < asked.until
      AND c.at >= %(low)s AND c.at < %(high)s
) AS l
GROUP BY 1, 2

-- name: lengths
-- How long cycles were, by the quarter of an hour in which they end.
SELECT date_bin('15 minutes', c.at, 'epoch') AS quarter, c.plan, c.algorithm, c.mode,
       c.length_s::double precision AS length_s, count(*) AS n
FROM unnest(%(starts)s::timestamptz[], %(ends)s::timestamptz[]) AS asked (start, until)
CROSS JOIN LATERAL (
    SELECT t.*
    FROM edge_devices d
    JOIN ingest_streams s ON s.device_id = d.id
    JOIN traffic_cycles t ON t.stream_no = s.no
    WHERE d.junction_id = %(junction)s AND t.at >= asked.start AND t.at < asked.until
      AND t.at >= %(low)s AND t.at < %(high)s
) AS c
GROUP BY 1, 2, 3, 4, 5

-- name: zones
-- Zones: vehicles in them times seconds, how many left, and for how long it was measured.
SELECT date_bin('15 minutes', o.at, 'epoch') AS quarter, o.source_no,
       sum(o.n_mean::double precision * o.span_ms / 1000) AS vehicle_s, sum(o.exits)::bigint AS exits,
       (sum(o.span_ms) / 1000.0)::double precision AS measured_s
FROM unnest(%(starts)s::timestamptz[], %(ends)s::timestamptz[]) AS asked (start, until)
CROSS JOIN LATERAL (
    SELECT z.*
    FROM edge_devices d
    JOIN counting_zones s ON s.device_id = d.id AND s.kind = 'zone'
    JOIN zone_occupancy z ON z.source_no = s.no
    WHERE d.junction_id = %(junction)s AND z.at >= asked.start AND z.at < asked.until
      AND z.at >= %(low)s AND z.at < %(high)s
) AS o
GROUP BY 1, 2

-- name: hours_told
-- Those of some hours that the event log tells of. Its first entry in each is looked up.
SELECT asked.start
FROM unnest(%(starts)s::timestamptz[], %(ends)s::timestamptz[]) AS asked (start, until)
CROSS JOIN LATERAL (
    SELECT FROM edge_devices d
    JOIN ingest_streams s ON s.device_id = d.id
    CROSS JOIN LATERAL (
        SELECT FROM signal_events
        WHERE stream_no = s.no AND at >= asked.start AND at < asked.until AND at >= %(low)s AND at < %(high)s LIMIT 1
    ) e
    WHERE d.junction_id = %(junction)s LIMIT 1
) told

-- name: log_rows
-- Some hours of the event log: what is asked for, and after which entries it is silent for more than two minutes.
-- Lights that run write something at least once a minute. Of what happened at once the end of flash comes first:
-- steady lights begin with all red. Its beginning comes after the ends of greens that it cut off. Who came at once
-- with a change of lamps came after it.
SELECT (date_part('epoch', at) * 1000000)::bigint AS at_us, code, parameter, is_last
FROM (
    SELECT at, place, stream_no, seq, code, parameter,
           coalesce(lead(at) OVER line - at > interval '2 minutes', true) AS is_last
    FROM (
        SELECT e.at, CASE WHEN e.code = 173 AND e.parameter = 2 THEN -1 WHEN e.code = 173 THEN 80
                          WHEN e.code = 81 THEN 82 ELSE e.code END AS place,
               e.stream_no, e.seq, e.code, e.parameter
        FROM edge_devices d
        JOIN ingest_streams s ON s.device_id = d.id
        JOIN signal_events e ON e.stream_no = s.no
        WHERE d.junction_id = %(junction)s
          AND e.at >= %(start)s AND e.at < %(until)s::timestamptz + interval '2 minutes'
    ) AS told
    WINDOW line AS (ORDER BY at, place, stream_no, seq)
) AS entry
WHERE at < %(until)s
  AND (is_last OR code = ANY (%(codes)s::smallint[]) OR code = 82 AND parameter = ANY (%(on)s::smallint[])
       OR code = 81 AND parameter = ANY (%(off)s::smallint[]))
ORDER BY at, place, stream_no, seq

-- name: hold_rows
-- Until the end of the transaction: who drops rows writes here, too.
SELECT FROM timeseries
WHERE table_name IN ('traffic_cycles', 'lane_cycle_data', 'zone_occupancy', 'signal_events')
ORDER BY table_name FOR SHARE

-- name: keep
INSERT INTO junction_hourly_stats AS k
    (junction_id, starts_at, ends_at, lanes, lengths, zones, described, log, state)
VALUES (%(junction)s, %(starts_at)s, %(ends_at)s, %(lanes)s, %(lengths)s, %(zones)s, %(described)s, %(log)s, %(state)s)
ON CONFLICT (junction_id, starts_at) DO UPDATE
SET ends_at = excluded.ends_at, lanes = excluded.lanes, lengths = excluded.lengths, zones = excluded.zones,
    described = excluded.described, log = excluded.log, state = excluded.state, computed_at = now()

-- name: mark_next
-- An hour that is kept has to be made anew: what is known when it begins is other than it was. Marks that are not
-- taken yet may have changed hours up to there, and change nothing when they are.
INSERT INTO junction_hour_marks (junction_id, at)
SELECT junction_id, starts_at FROM junction_hourly_stats WHERE junction_id = %(junction)s AND starts_at = %(start)s

-- name: take_marks
-- Takes the oldest marks away.
WITH taken AS (
    DELETE FROM junction_hour_marks
    WHERE id <= (SELECT max(id) FROM (SELECT id FROM junction_hour_marks ORDER BY id LIMIT %(limit)s) AS oldest)
    RETURNING junction_id, at
)
SELECT t.junction_id, array_agg(DISTINCT t.at ORDER BY t.at) AS ats
FROM taken t JOIN junctions j ON j.id = t.junction_id
GROUP BY t.junction_id
ORDER BY t.junction_id

-- name: made
-- From when to when hours were made within a time.
SELECT min(starts_at), max(ends_at) FROM junction_hourly_stats
WHERE junction_id = %(junction)s AND starts_at >= %(low)s AND starts_at < %(high)s

-- name: behind
-- Junctions whose lights have told what they are and that lack hours, after one of them, and from when to when.
-- An hour is made half an hour after its end: what comes within a quarter of an hour leaves no mark.
SELECT j.id, coalesce(k.ends_at, first.at) AS start, now() - interval '30 minutes' AS until
FROM junctions j
LEFT JOIN LATERAL (
    SELECT ends_at FROM junction_hourly_stats
    WHERE junction_id = j.id AND starts_at >= now() - interval '35 days' ORDER BY starts_at DESC LIMIT 1
) k ON true
LEFT JOIN LATERAL (
    SELECT least(
        (SELECT min(e.at) FROM edge_devices d JOIN ingest_streams s ON s.device_id = d.id
         JOIN signal_events e ON e.stream_no = s.no
         WHERE d.junction_id = j.id AND e.at >= now() - interval '8 days' AND e.at < now()),
        (SELECT min(c.at) FROM edge_devices d JOIN ingest_streams s ON s.device_id = d.id
         JOIN traffic_cycles c ON c.stream_no = s.no
         WHERE d.junction_id = j.id AND c.at >= now() - interval '8 days' AND c.at < now())
    ) AS at
) first ON k.ends_at IS NULL
WHERE j.id > %(after)s::uuid AND j.metadata #> '{lights,description}' IS NOT NULL
  AND coalesce(k.ends_at, first.at) < now() - interval '90 minutes'
ORDER BY j.id
LIMIT %(limit)s

-- name: first_record
-- The first of what hours are made of that a junction told in a time. Each stream's is looked up in an index.
SELECT min(told.at)
FROM edge_devices d
CROSS JOIN LATERAL (
    SELECT first.at FROM ingest_streams s CROSS JOIN LATERAL (
        SELECT e.at FROM signal_events e
        WHERE e.stream_no = s.no AND e.at >= %(low)s AND e.at < %(high)s ORDER BY e.at LIMIT 1) first
    WHERE s.device_id = d.id
    UNION ALL
    SELECT first.at FROM ingest_streams s CROSS JOIN LATERAL (
        SELECT c.at FROM traffic_cycles c
        WHERE c.stream_no = s.no AND c.at >= %(low)s AND c.at < %(high)s ORDER BY c.at LIMIT 1) first
    WHERE s.device_id = d.id
    UNION ALL
    SELECT first.at FROM counting_zones n CROSS JOIN LATERAL (
        SELECT z.at FROM zone_occupancy z
        WHERE z.source_no = n.no AND z.at >= %(low)s AND z.at < %(high)s ORDER BY z.at LIMIT 1) first
    WHERE n.device_id = d.id AND n.kind = 'zone'
) told
WHERE d.junction_id = %(junction)s

-- name: seed_back
-- Hours are made that begin with `start`, all of them from `made_from` on. Where none is just before them, there may
-- be others that lack.
INSERT INTO junction_hours_back AS b (junction_id, made_from) VALUES (%(junction)s, %(made_from)s)
ON CONFLICT (junction_id) DO UPDATE SET made_from = greatest(b.made_from, excluded.made_from)
WHERE NOT EXISTS (
    SELECT FROM junction_hourly_stats
    WHERE junction_id = %(junction)s AND ends_at = %(start)s
      AND starts_at >= %(start)s::timestamptz - interval '2 hours' AND starts_at < %(start)s)

-- name: reopen_back
-- Something came for a time of which no hours were made.
UPDATE junction_hours_back SET made_from = %(moment)s WHERE junction_id = %(junction)s AND made_from < %(moment)s

-- name: next_back
-- Where hours reach back least.
SELECT b.junction_id, b.made_from FROM junction_hours_back b JOIN junctions j ON j.id = b.junction_id
WHERE b.made_from > '-infinity'
ORDER BY b.made_from DESC, b.junction_id LIMIT 1

-- name: note_back
-- NULL: there is nothing further back.
UPDATE junction_hours_back SET made_from = coalesce(%(start)s::timestamptz, '-infinity')
WHERE junction_id = %(junction)s AND made_from = %(made_from)s
