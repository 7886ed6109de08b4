-- What the cycles of one junction add up to. A cycle belongs to when it ends.

-- name: lanes
-- Each lane's cycles. Green, yellow and red of a lane add up to the cycle's length.
SELECT l.lane, count(*) AS n, sum(l.green_s::double precision) AS green_s, sum(l.yellow_s::double precision) AS yellow_s,
       sum(l.red_s::double precision) AS red_s, sum(l.vehicles)::bigint AS vehicles,
       coalesce(sum(l.green_s::double precision) FILTER (WHERE l.vehicles IS NOT NULL), 0) AS measured_green_s,
       coalesce(sum(l.green_s::double precision + l.yellow_s + l.red_s) FILTER (WHERE l.vehicles IS NOT NULL), 0)
           AS measured_s
FROM edge_devices d
JOIN ingest_streams s ON s.device_id = d.id
JOIN lane_cycle_data l ON l.stream_no = s.no
WHERE d.junction_id = %(junction)s AND l.at >= %(low)s AND l.at < %(high)s
GROUP BY l.lane
ORDER BY l.lane

-- name: lengths
-- How long cycles were: all of them first, then by plan, algorithm and mode, the most used first.
SELECT grouping(c.mode) = 1 AS is_all, c.plan, c.algorithm, c.mode, count(*) AS n,
       sum(c.length_s::double precision) AS total_s, avg(c.length_s::double precision) AS mean_s,
       percentile_cont(ARRAY[0.15, 0.5, 0.85]) WITHIN GROUP (ORDER BY c.length_s) AS centiles_s
FROM edge_devices d
JOIN ingest_streams s ON s.device_id = d.id
JOIN traffic_cycles c ON c.stream_no = s.no
WHERE d.junction_id = %(junction)s AND c.at >= %(low)s AND c.at < %(high)s
GROUP BY GROUPING SETS ((), (c.plan, c.algorithm, c.mode))
ORDER BY is_all DESC, n DESC, c.plan, c.algorithm, c.mode

-- name: lane_hours
-- Each lane hour by hour. `weighted_green_s`: green times saturation, so that hours can be added up.
WITH quarters AS (
    SELECT l.lane, date_bin('15 minutes', l.at, 'epoch') AS quarter, count(*) AS n_cycles,
           count(l.saturation) AS n_measured, count(*) FILTER (WHERE l.saturation >= 1) AS n_saturated,
           sum(l.saturation::double precision * l.green_s) AS weighted_green_s,
           sum(l.green_s::double precision) FILTER (WHERE l.saturation IS NOT NULL) AS green_s,
           sum(l.green_s::double precision + l.yellow_s + l.red_s) FILTER (WHERE l.saturation IS NOT NULL) AS length_s,
           sum(l.vehicles) FILTER (WHERE l.saturation IS NOT NULL) AS vehicles
    FROM edge_devices d
    JOIN ingest_streams s ON s.device_id = d.id
    JOIN lane_cycle_data l ON l.stream_no = s.no
    WHERE d.junction_id = %(junction)s AND l.at >= %(low)s AND l.at < %(high)s
    GROUP BY 1, 2
)
SELECT lane, bucket_start(quarter, 3600, %(zone)s) AS hour, sum(n_cycles)::bigint AS n_cycles,
       sum(n_measured)::bigint AS n_measured, sum(n_saturated)::bigint AS n_saturated,
       coalesce(sum(weighted_green_s), 0) AS weighted_green_s, coalesce(sum(green_s), 0) AS green_s,
       coalesce(sum(length_s), 0) AS length_s, coalesce(sum(vehicles), 0)::bigint AS vehicles
FROM quarters
GROUP BY 1, 2
ORDER BY 1, 2

-- name: zone_hours
-- Approach zones hour by hour: vehicles in it times seconds, how many left it, and how long it was measured.
SELECT z.no, bucket_start(z.quarter, 3600, %(zone)s) AS hour, sum(z.vehicle_s) AS vehicle_s,
       sum(z.exits)::bigint AS exits, sum(z.measured_s)::double precision AS measured_s
FROM (
    SELECT source_no AS no, date_bin('15 minutes', at, 'epoch') AS quarter,
           sum(n_mean::double precision * span_ms / 1000) AS vehicle_s, sum(exits) AS exits,
           sum(span_ms) / 1000.0 AS measured_s
    FROM zone_occupancy
    WHERE source_no = ANY (%(zones)s::integer[]) AND at >= %(low)s AND at < %(high)s
    GROUP BY 1, 2
) AS z
GROUP BY 1, 2
ORDER BY 1, 2
