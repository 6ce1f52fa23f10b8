//! The program `postfach`: the command line, and nothing else. What the commands do is in the library.

mod cli;

fn main() -> std::process::ExitCode {
    cli::run(std::env::args_os().skip(1).collect())
}
