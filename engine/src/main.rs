//! The `ringseed` program; everything is in the library.

fn main() -> std::process::ExitCode {
    ringseed::cli::run()
}
