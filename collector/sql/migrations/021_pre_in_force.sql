-- When a camera counted at a line, zone or turn: one that was drawn later, or taken away, was not measured at all times
-- at which its camera was.

SET LOCAL lock_timeout = '1s';

-- NULL: nobody told, and it is taken to be always.
ALTER TABLE counting_zones ADD COLUMN in_force tstzmultirange;
