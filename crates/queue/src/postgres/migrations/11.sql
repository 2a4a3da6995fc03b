-- The models of the GPUs that workers have, one for each.
ALTER TABLE workers ADD COLUMN gpus TEXT[] NOT NULL DEFAULT '{}';
