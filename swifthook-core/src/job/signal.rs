//! Signals by which programs end.

/// Signals that a program gets for what it has done itself: a wrong address, an instruction that there is none, an assertion
/// that does not hold. It does the same another time. The numbers are those of Linux, see `signal(7)`.
#[must_use]
pub fn is_crash(signal: i32) -> bool {
    CRASHES.iter().any(|(number, ..)| *number == signal)
}

/// A signal in words: `signal 11 (SIGSEGV, it used memory that is not its own)`.
#[must_use]
pub fn signal_in_words(signal: i32) -> String {
    match CRASHES.iter().chain(OTHERS).find(|(number, ..)| *number == signal) {
        Some((_, name, "")) => format!("signal {signal} ({name})"),
        Some((_, name, what)) => format!("signal {signal} ({name}, {what})"),
        None => format!("signal {signal}"),
    }
}

/// The same for an exit code, where it is that of a shell, or of ms-swift, whose child was ended by a signal.
pub(crate) fn exit_code_in_words(code: i32) -> String {
    let signal = [code - 128, 256 - code].into_iter().find(|signal| is_crash(*signal));
    match signal {
        Some(signal) => format!("exit code {code}, as after {}", signal_in_words(signal)),
        None => format!("exit code {code}"),
    }
}

const CRASHES: &[(i32, &str, &str)] = &[
    (4, "SIGILL", "it came to an instruction that this processor does not have"),
    (5, "SIGTRAP", "it came to a trap"),
    (6, "SIGABRT", "it gave itself up"),
    (7, "SIGBUS", "it used memory that is not there"),
    (8, "SIGFPE", "it computed what cannot be"),
    (11, "SIGSEGV", "it used memory that is not its own"),
    (31, "SIGSYS", "it made a call that it may not make"),
];
const OTHERS: &[(i32, &str, &str)] = &[
    (1, "SIGHUP", ""),
    (2, "SIGINT", ""),
    (3, "SIGQUIT", ""),
    (9, "SIGKILL", ""),
    (13, "SIGPIPE", ""),
    (15, "SIGTERM", ""),
    (24, "SIGXCPU", ""),
    (25, "SIGXFSZ", ""),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_and_the_exit_code_that_stands_for_it_have_the_same_words() {
        let told = "signal 11 (SIGSEGV, it used memory that is not its own)";
        assert_eq!(signal_in_words(11), told);
        for code in [139, 245] {
            assert_eq!(exit_code_in_words(code), format!("exit code {code}, as after {told}"));
        }
        assert_eq!([1, 2, 127, 128, 137, 143, 255].map(exit_code_in_words)[3], "exit code 128");
        assert_eq!(exit_code_in_words(137), "exit code 137");
        assert_eq!(
            (signal_in_words(9), signal_in_words(64)),
            ("signal 9 (SIGKILL)".into(), "signal 64".into())
        );
    }
}
