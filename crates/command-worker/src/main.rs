//! The binary of the command worker; everything it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    let info = service::Info { name: env!("CARGO_PKG_NAME") };
    service::main(info, command_worker::SETTINGS, command_worker::Config::read, command_worker::run)
}
