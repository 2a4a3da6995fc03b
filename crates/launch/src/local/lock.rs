use std::fs::File;
use std::io;
use std::process::Stdio;

use rustix::fs::{FlockOperation, flock};

/// The lock of a run directory, given back when dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
    is_ours: bool,
}

impl Lock {
    pub(crate) fn take(file: File, operation: FlockOperation) -> io::Result<Option<Self>> {
        match flock(&file, operation) {
            Ok(()) => Ok(Some(Self { file, is_ours: true })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The lock as a child's standard input: the child has it too.
    pub(crate) fn share(&self) -> io::Result<Stdio> {
        Ok(Stdio::from(self.file.try_clone()?))
    }

    /// Closes our end, and leaves the lock to the child that shares it.
    pub(crate) fn leave_to_child(mut self) {
        self.is_ours = false;
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Not by closing alone: a process that is just being forked elsewhere has a copy of the descriptor until it
        // executes its program, and would keep the lock for that long.
        if self.is_ours {
            let _ = flock(&self.file, FlockOperation::Unlock);
        }
    }
}
