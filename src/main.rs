//! The command line program. Everything is in the library, most of it private.

fn main() -> std::process::ExitCode {
    fernchat::run()
}
