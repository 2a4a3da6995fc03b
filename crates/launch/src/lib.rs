//! Launchers for swifthook: supervised local processes, and the git workspace.
