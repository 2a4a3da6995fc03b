//! Job queues for swifthook: in memory and on SQLite.
