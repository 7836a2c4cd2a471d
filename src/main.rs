//! The `angarium` program: the command line, given this machine.

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    let cli = admin::Cli::parse();
    std::process::ExitCode::from(admin::run(cli, &runtime::Machine) as u8)
}
