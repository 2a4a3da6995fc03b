//! Test lists that every swifthook backend and adapter passes.
