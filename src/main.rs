//! The `angarium` program: the command line, given this machine.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    std::process::ExitCode::from(admin::run(std::env::args_os(), &runtime::Machine) as u8)
}
