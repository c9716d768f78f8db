-- When a partition's content last changed, beside when it was last looked at (updated_at): what was made from it before
-- is out of date (indicators look back, weeks and months gather days).

ALTER TABLE md.partition_status ADD COLUMN changed_at timestamptz NOT NULL DEFAULT now();

UPDATE md.partition_status SET changed_at = updated_at;
