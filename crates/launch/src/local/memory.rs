//! Whether a run ended because a GPU had no memory left, or another process had its port, which its exit code does not
//! tell.

use std::io;

use swifthook_core::Exit;

use super::record::Ended;
use super::run_dir::RunDir;

/// How a run ended, with what the end of its log says of the memory of GPUs and of its port.
pub(crate) fn with_its_end(dir: &RunDir, ended: Ended) -> Exit {
    let lasted = ended.ended_at.since(ended.began_at);
    let exit = Exit::from(ended);
    // A log that cannot be read says nothing.
    let end = if exit.is_success() { Vec::new() } else { end_of(dir).unwrap_or_default() };
    let out_of_gpu_memory_after = tells_of_it(&end).then_some(lasted);
    Exit { out_of_gpu_memory_after, port_taken: tells_of_its_port(&end), ..exit }
}

/// The last of a log.
pub(crate) fn end_of(dir: &RunDir) -> io::Result<Vec<u8>> {
    dir.end_of_log(LOOKED_AT)
}

/// As PyTorch says it, in Python and in C++, and the driver and the runtime of CUDA.
fn tells_of_it(log: &[u8]) -> bool {
    PHRASES.iter().any(|phrase| says(log, phrase))
}

/// As PyTorch's store says it that cannot listen at `MASTER_PORT`, since 2.4 and before. It cannot for other reasons too.
fn tells_of_its_port(log: &[u8]) -> bool {
    says(log, "The server socket has failed to listen on any local network address")
        && (says(log, "EADDRINUSE") || says(log, "Address already in use"))
}

fn says(log: &[u8], phrase: &str) -> bool {
    log.windows(phrase.len()).any(|text| text == phrase.as_bytes())
}

/// Several processes of one run may each say a page about it.
const LOOKED_AT: u64 = 64 << 10;
const PHRASES: [&str; 4] = [
    "CUDA out of memory",
    "CUDA error: out of memory",
    "CUDA_ERROR_OUT_OF_MEMORY",
    "cudaErrorMemoryAllocation",
];

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use swifthook_core::Timestamp;

    use super::*;

    fn ended(code: i32, log: &str) -> Exit {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("log"), log).unwrap();
        let dir = RunDir::new(folder.path().to_owned(), folder.path().to_owned());
        let ended = Ended {
            version: 1,
            code: Some(code),
            signal: None,
            stopped: None,
            message: None,
            began_at: Timestamp(1_000),
            ended_at: Timestamp(21_000),
        };
        with_its_end(&dir, ended)
    }

    #[test]
    fn what_the_log_says_of_memory_is_found_at_its_end() {
        let page = "step 1\n".repeat(20_000);
        let torch = "[rank0]: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total \
                     capacity of 79.25 GiB of which 1.19 GiB is free.";
        let driver =
            "RuntimeError: CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported";
        let after = Some(Duration::from_secs(20));
        for (code, log, expected) in [
            (1, torch.to_owned(), after),
            (1, format!("{page}{driver}\n"), after),
            (1, format!("{torch}\n{page}"), None),
            (0, torch.to_owned(), None),
            (1, "ValueError: no such key: out of memory\n".to_owned(), None),
            (1, String::new(), None),
        ] {
            let exit = ended(code, &log);
            assert_eq!((exit.out_of_gpu_memory_after, exit.code), (expected, Some(code)));
        }
    }

    #[test]
    fn a_port_that_another_process_had_is_found_as_pytorch_tells_it() {
        let new = "[rank0]: torch.distributed.DistNetworkError: The server socket has failed to listen on any local network \
                   address. port: 29500, useIpv6: false, code: -98, name: EADDRINUSE, message: address already in use";
        let old = "RuntimeError: The server socket has failed to listen on any local network address. The server socket \
                   has failed to bind to [::]:29500 (errno: 98 - Address already in use).";
        let other = "torch.distributed.DistNetworkError: The server socket has failed to listen on any local network \
                     address. port: 80, useIpv6: false, code: -13, name: EACCES, message: permission denied";
        let page = "  File \"x.py\", line 1\n".repeat(1_000);
        for (code, log, expected) in [
            (1, format!("{new}\n{page}"), true),
            (1, old.to_owned(), true),
            (0, new.to_owned(), false),
            (1, other.to_owned(), false),
            (1, "OSError: [Errno 98] Address already in use\n".to_owned(), false),
        ] {
            assert_eq!(ended(code, &log).port_taken, expected, "{log}");
        }
    }

    #[test]
    fn a_log_that_is_gone_says_nothing() {
        let gone = RunDir::new("/nonexistent".into(), "/nonexistent".into());
        let ended = Ended {
            version: 1,
            code: Some(1),
            signal: None,
            stopped: None,
            message: None,
            began_at: Timestamp(0),
            ended_at: Timestamp(0),
        };
        assert_eq!(with_its_end(&gone, ended).out_of_gpu_memory_after, None);
    }
}
