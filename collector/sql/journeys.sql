-- Passages of tags. A tag is written raw, or as `h1:KEY:HASH`, where KEY names the period's key: from one period to
-- the next nothing is alike, so that what is alike is of one period without further ado.

-- name: readers
SELECT j.id, j.name, j.timezone,
       ARRAY(SELECT z.no FROM counting_zones z JOIN edge_devices d ON d.id = z.device_id
             WHERE d.junction_id = j.id AND z.via = 'rfid') AS readers
FROM junctions j
WHERE j.name = ANY (%(names)s::text[]) OR j.id::text = ANY (%(names)s::text[]);

-- name: journeys
-- A passage at the second junction whose tag was last seen at the first one, not too long ago, ends a journey; so each
-- passage belongs to one at most. Journeys count for the time they begin at. Passages whose time is not known well
-- are left out.
WITH passages AS MATERIALIZED (
    SELECT track, at, seq, stream_no, source_no = ANY (%(to_readers)s::integer[]) AS arrives,
           at >= %(low)s AND at < %(high)s AS inside, at_error_ms <= %(max_error_ms)s AS is_timed
    FROM count_events
    WHERE source_no = ANY (%(from_readers)s::integer[] || %(to_readers)s::integer[])
      AND at >= %(low)s::timestamptz - make_interval(secs => %(max_travel_s)s)
      AND at < %(high)s::timestamptz + make_interval(secs => %(max_travel_s)s)
), steps AS (
    SELECT at, arrives, inside, lag(at) OVER w AS left_at, lag(arrives) OVER w AS stayed
    FROM passages WHERE track IS NOT NULL AND is_timed
    WINDOW w AS (PARTITION BY track ORDER BY at, arrives, stream_no, seq)
), ended AS (
    SELECT at, left_at, inside, extract(epoch FROM at - left_at)::float8 AS travel_s
    FROM steps
    WHERE arrives AND NOT stayed AND at - left_at <= make_interval(secs => %(max_travel_s)s)
), journeys AS MATERIALIZED (
    SELECT travel_s FROM ended WHERE left_at >= %(low)s AND left_at < %(high)s
)
SELECT (SELECT count(*) FROM journeys) AS n,
       (SELECT percentile_cont(ARRAY[0.05, 0.15, 0.5, 0.85, 0.95]) WITHIN GROUP (ORDER BY travel_s)
        FROM journeys) AS percentiles_s,
       (SELECT coalesce(jsonb_object_agg(s, n), '{}')
        FROM (SELECT floor(travel_s)::integer AS s, count(*) AS n FROM journeys GROUP BY 1) AS by_second) AS by_second,
       (SELECT count(*) FROM ended WHERE inside) AS n_ended_inside,
       count(*) FILTER (WHERE inside AND NOT arrives AND track IS NOT NULL AND is_timed) AS n_from,
       count(*) FILTER (WHERE inside AND arrives AND track IS NOT NULL AND is_timed) AS n_to,
       count(*) FILTER (WHERE inside AND track IS NULL) AS n_untagged,
       count(*) FILTER (WHERE inside AND track IS NOT NULL AND NOT is_timed) AS n_untimed,
       count(*) FILTER (WHERE inside AND track LIKE 'h1:%%:%%') AS n_hashed,
       count(DISTINCT split_part(track, ':', 2)) FILTER (WHERE inside AND track LIKE 'h1:%%:%%') AS n_keys
FROM passages;

-- name: visitors
-- Per day of the junction and number of visits: how many tags came so often. Passages that follow each other soon are
-- one visit.
WITH passages AS (
    SELECT track, at, at - lag(at) OVER (PARTITION BY track ORDER BY at) AS pause
    FROM count_events
    WHERE source_no = ANY (%(readers)s::integer[]) AND track IS NOT NULL AND at_error_ms <= %(max_error_ms)s
      AND at >= %(low)s AND at < %(high)s
), visits AS (
    SELECT track, bucket_start(at, 86400, %(zone)s) AS day FROM passages
    WHERE pause IS NULL OR pause > make_interval(secs => %(apart_s)s)
), daily AS (
    SELECT day, track, count(*) AS visits FROM visits GROUP BY day, track
)
SELECT (day AT TIME ZONE %(zone)s + interval '2 hours')::date AS day, visits, count(*) AS tags
FROM daily GROUP BY daily.day, visits ORDER BY daily.day, visits;

-- name: returning
-- Of all tags, and of those among them that came on several days.
SELECT count(*) AS tags, count(*) FILTER (WHERE days > 1) AS tags_of_several_days
FROM (
    SELECT track, count(DISTINCT bucket_start(at, 86400, %(zone)s)) AS days
    FROM count_events
    WHERE source_no = ANY (%(readers)s::integer[]) AND track IS NOT NULL AND at_error_ms <= %(max_error_ms)s
      AND at >= %(low)s AND at < %(high)s
    GROUP BY track
) AS of_tag;

-- name: tag
-- Where one tag was read, newest first.
SELECT e.at, e.at_error_ms, j.id AS junction_id, j.name AS junction_name, d.id AS device_id, d.name AS device_name,
       z.sensor, z.name AS source
FROM count_events e
JOIN counting_zones z ON z.no = e.source_no
JOIN edge_devices d ON d.id = z.device_id
LEFT JOIN junctions j ON j.id = d.junction_id
WHERE e.source_no IN (SELECT no FROM counting_zones WHERE via = 'rfid') AND e.track = %(epc)s
  AND e.at >= %(low)s AND e.at < %(high)s
ORDER BY e.at DESC, e.stream_no DESC, e.seq DESC
LIMIT %(limit)s;

-- name: tag_cycles
-- In how many cycles it was noted.
SELECT count(*) FROM lane_cycle_data WHERE epc_ids @> ARRAY[%(epc)s] AND at >= %(low)s AND at < %(high)s;
