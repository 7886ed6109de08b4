-- What the event log of a junction's lights adds up to, by the definitions that the lights themselves use. Every
-- question is `logged` and then one of its own; `states` stands between where it matters what phases show.

-- name: logged
-- What matters of the log, from an hour before, so that it is known what is shown at the beginning, until just after the end; and
-- where it falls silent for more than two minutes, at its last entry before that. Lights that run write something
-- at least once a minute.
WITH streams AS (
    SELECT s.no FROM edge_devices d JOIN ingest_streams s ON s.device_id = d.id WHERE d.junction_id = %(junction)s
), logged AS MATERIALIZED (
    SELECT e.at, e.stream_no, e.seq, e.code::integer AS code, e.parameter::integer AS parameter
    FROM streams s
    JOIN signal_events e ON e.stream_no = s.no
    WHERE e.at >= %(low)s::timestamptz - interval '1 hour' AND e.at < %(high)s::timestamptz + interval '2 minutes'
      AND (e.code = ANY (%(codes)s::smallint[])
           OR e.code IN (81, 82) AND e.parameter = ANY (%(channels)s::smallint[]))
), pieces AS MATERIALIZED (
    SELECT min(e.at) AS first, max(e.at) AS last
    FROM streams s
    JOIN signal_events e ON e.stream_no = s.no
    WHERE e.at >= %(low)s::timestamptz - interval '1 hour' AND e.at < %(high)s::timestamptz + interval '2 minutes'
    GROUP BY date_bin('10 seconds', e.at, 'epoch')
), silences AS MATERIALIZED (
    SELECT last AS at FROM (SELECT last, lead(first) OVER (ORDER BY first) AS next FROM pieces) AS p
    WHERE next IS NULL OR next - last > interval '2 minutes'
)

-- name: states
-- What each phase shows: 2 green, 1 yellow, 0 red; no row while it is not known or flashes. People who were not
-- called for are not told of: their phases are red until they are.
, phases AS MATERIALIZED (
    SELECT DISTINCT parameter AS phase FROM logged
    WHERE code IN (1, 7, 8, 10, 12, 21, 22, 23) AND parameter BETWEEN 1 AND 16
), told AS (
    SELECT parameter AS phase, at, code AS rank, CASE WHEN code IN (1, 21) THEN 2 WHEN code = 8 THEN 1 ELSE 0 END AS aspect
    FROM logged WHERE code IN (1, 7, 8, 10, 12, 21, 22, 23) AND parameter BETWEEN 1 AND 16
    UNION ALL
    -- Flash ends whatever was begun; steady lights begin with all red.
    SELECT p.phase, l.at, -1, CASE WHEN l.parameter = 2 THEN 0 END
    FROM logged l CROSS JOIN phases p WHERE l.code = 173
    UNION ALL
    SELECT p.phase, s.at, 32767, NULL FROM silences s CROSS JOIN phases p
    UNION ALL
    SELECT phase, (SELECT min(first) FROM pieces), -2, 0 FROM unnest(%(on_foot)s::integer[]) AS p (phase)
), spans AS (
    SELECT phase, aspect, start, until FROM (
        SELECT phase, aspect, greatest(at, %(low)s::timestamptz) AS start,
               least(lead(at) OVER (PARTITION BY phase ORDER BY at, rank), %(high)s::timestamptz) AS until
        FROM told) AS t
    WHERE aspect IS NOT NULL AND until > start
)

-- name: arrivals
-- By phase and hour: how long it is known what it shows, how much of that is green, and who came meanwhile.
, detectors AS (
    SELECT * FROM unnest(%(channels)s::integer[], %(channel_phases)s::integer[]) AS d (channel, phase)
), timeline AS (
    SELECT phase, at, rank, aspect, false AS is_arrival FROM told
    UNION ALL
    SELECT d.phase, l.at, 82, NULL, true
    FROM logged l JOIN detectors d ON d.channel = l.parameter WHERE l.code = 82
), grouped AS (
    SELECT *, count(*) FILTER (WHERE NOT is_arrival) OVER (PARTITION BY phase ORDER BY at, rank) AS nth FROM timeline
), shown AS (
    SELECT phase, at, is_arrival, first_value(aspect) OVER (PARTITION BY phase, nth ORDER BY at, rank) AS aspect, nth
    FROM grouped
), came AS (
    SELECT phase, date_bin('15 minutes', at, 'epoch') AS quarter, count(*) AS n, count(*) FILTER (WHERE aspect = 2) AS n_on_green
    FROM shown
    WHERE is_arrival AND nth > 0 AND aspect IS NOT NULL AND at >= %(low)s AND at < %(high)s
    GROUP BY 1, 2
), times AS (
    SELECT s.phase, q.quarter,
           sum(extract(epoch FROM least(s.until, q.quarter + interval '15 minutes') - greatest(s.start, q.quarter)))
               AS known_s,
           sum(extract(epoch FROM least(s.until, q.quarter + interval '15 minutes') - greatest(s.start, q.quarter)))
               FILTER (WHERE s.aspect = 2) AS green_s
    FROM spans s
    CROSS JOIN LATERAL generate_series(
        date_bin('15 minutes', s.start, 'epoch'), s.until - interval '1 microsecond', interval '15 minutes')
        AS q (quarter)
    GROUP BY 1, 2
)
SELECT phase, bucket_start(quarter, 3600, %(zone)s) AS hour, sum(known_s)::double precision AS known_s,
       sum(green_s)::double precision AS green_s, sum(n)::bigint AS n, sum(n_on_green)::bigint AS n_on_green
FROM (
    SELECT phase, quarter, known_s, coalesce(green_s, 0) AS green_s, 0 AS n, 0 AS n_on_green FROM times
    UNION ALL
    SELECT phase, quarter, 0, 0, n, n_on_green FROM came
) AS parts
WHERE phase = ANY (%(phases)s::integer[])
GROUP BY 1, 2
ORDER BY 1, 2

-- name: stages
-- How long each set of phases had green (as bits), and how long it took after that until somebody had again: while
-- somebody had yellow, and while nobody had. Only while it is known of all that carry vehicles.
, edges AS (
    SELECT at, sum(known)::integer AS known, sum(green)::integer AS green, sum(yellow)::integer AS yellow
    FROM spans s
    CROSS JOIN LATERAL (SELECT (s.phase <> ALL (%(on_foot)s::integer[]))::integer AS is_counted, 1 << s.phase AS bit) AS b
    CROSS JOIN LATERAL (VALUES
        (s.start, b.is_counted, CASE WHEN s.aspect = 2 THEN b.bit ELSE 0 END, CASE WHEN s.aspect = 1 THEN b.bit ELSE 0 END),
        (s.until, -b.is_counted, CASE WHEN s.aspect = 2 THEN -b.bit ELSE 0 END, CASE WHEN s.aspect = 1 THEN -b.bit ELSE 0 END)
    ) AS e (at, known, green, yellow)
    WHERE s.phase = ANY (%(phases)s::integer[])
    GROUP BY at
), moments AS (
    SELECT at, lead(at) OVER (ORDER BY at) AS until, sum(known) OVER (ORDER BY at) AS known,
           sum(green) OVER (ORDER BY at) AS green, sum(yellow) OVER (ORDER BY at) AS yellow
    FROM edges
), owned AS (
    SELECT *, count(*) FILTER (WHERE green <> 0) OVER (ORDER BY at) AS nth FROM moments
    WHERE known = (SELECT count(*) FROM phases WHERE phase = ANY (%(phases)s::integer[])
                                                 AND phase <> ALL (%(on_foot)s::integer[]))
      AND known > 0
), held AS (
    SELECT *, first_value(green) OVER (PARTITION BY nth ORDER BY at) AS owner FROM owned
)
SELECT owner::bigint AS owner, CASE WHEN green <> 0 THEN 'green' WHEN yellow <> 0 THEN 'yellow' ELSE 'lost' END AS kind,
       sum(extract(epoch FROM until - at))::double precision AS total_s
FROM held WHERE until IS NOT NULL
GROUP BY 1, 2
ORDER BY 1, 2

-- name: split_failures
-- Greens of phases that have presence detectors: whether somebody was there in four fifths of green and of the first
-- 5 s of red. A cycle that is not whole, or during which the log fell silent, is none.
, detectors AS (
    SELECT * FROM unnest(%(channels)s::integer[], %(channel_phases)s::integer[]) AS d (channel, phase)
), steps AS (
    SELECT parameter AS phase, at, code,
           count(*) FILTER (WHERE code = 1) OVER (PARTITION BY parameter ORDER BY at, stream_no, seq) AS nth
    FROM logged
    WHERE code IN (1, 8, 10) AND parameter IN (SELECT phase FROM detectors)
), cycles AS (
    SELECT phase, nth, min(at) FILTER (WHERE code = 1) AS green, min(at) FILTER (WHERE code = 8) AS yellow,
           min(at) FILTER (WHERE code = 10) AS red, count(*) FILTER (WHERE code = 8) AS n_yellow,
           count(*) FILTER (WHERE code = 10) AS n_red
    FROM steps WHERE nth > 0 GROUP BY phase, nth
), followed AS (
    SELECT *, red + interval '5 seconds' AS seen,
           coalesce(lead(green) OVER (PARTITION BY phase ORDER BY nth), (SELECT max(last) FROM pieces)) AS until
    FROM cycles
), whole AS (
    SELECT * FROM followed f
    WHERE n_yellow = 1 AND n_red = 1 AND until >= seen AND yellow > green AND seen >= %(low)s AND seen < %(high)s
      AND NOT EXISTS (SELECT FROM silences WHERE at >= f.green AND at < f.seen)
), flips AS (
    SELECT parameter AS channel, at, stream_no, seq, (code = 82)::integer
           - lag((code = 82)::integer, 1, 0) OVER (PARTITION BY parameter ORDER BY at, stream_no, seq) AS delta
    FROM logged WHERE code IN (81, 82) AND parameter IN (SELECT channel FROM detectors)
), changes AS (
    SELECT d.phase, f.at, f.delta FROM flips f JOIN detectors d USING (channel)
), timeline AS (
    SELECT phase, at, 0 AS which, delta, NULL::bigint AS nth FROM changes
    UNION ALL
    SELECT w.phase, p.at, p.which, 0, w.nth
    FROM whole w
    CROSS JOIN LATERAL (VALUES (w.green, 1), (w.yellow, 2), (w.red, 3), (w.seen, 4)) AS p (at, which)
), counted AS (
    SELECT *, sum(delta) OVER (PARTITION BY phase ORDER BY at, which ROWS UNBOUNDED PRECEDING) AS n_there,
           min(at) FILTER (WHERE which = 0) OVER (PARTITION BY phase) AS since
    FROM timeline
), lasted AS (
    SELECT *, CASE WHEN lag(n_there) OVER line > 0 THEN extract(epoch FROM at - lag(at) OVER line) ELSE 0 END AS span_s
    FROM counted WINDOW line AS (PARTITION BY phase ORDER BY at, which)
), summed AS (
    SELECT *, sum(span_s) OVER (PARTITION BY phase ORDER BY at, which ROWS UNBOUNDED PRECEDING) AS there_s FROM lasted
), rated AS (
    SELECT phase, nth, date_bin('15 minutes', max(at), 'epoch') AS quarter,
           (max(there_s) FILTER (WHERE which = 2) - max(there_s) FILTER (WHERE which = 1))
           / extract(epoch FROM max(at) FILTER (WHERE which = 2) - min(at)) AS green_share,
           (max(there_s) FILTER (WHERE which = 4) - max(there_s) FILTER (WHERE which = 3)) / 5 AS red_share
    FROM summed WHERE nth IS NOT NULL
    GROUP BY phase, nth
    -- Before its detectors told anything, it is not known who was there.
    HAVING min(at) >= min(since)
)
SELECT phase, bucket_start(quarter, 3600, %(zone)s) AS hour, count(*) AS n_cycles,
       count(*) FILTER (WHERE green_share >= 0.8 AND red_share >= 0.8) AS n_failures,
       sum(green_share)::double precision AS green_shares, sum(red_share)::double precision AS red_shares
FROM rated
GROUP BY 1, 2
ORDER BY 1, 2
