//! The supervisor as a binary of its own, for embedders who do not call `supervise_if_asked` in their `main`.

fn main() -> std::process::ExitCode {
    swifthook_launch::supervise_if_asked();
    std::process::ExitCode::from(2)
}
