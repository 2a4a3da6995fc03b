-- The path of a change whose job was removed: of it the key has only a digest.
ALTER TABLE changes ADD COLUMN path TEXT;
