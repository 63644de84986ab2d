//! The binary of the backup; everything it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    let info = service::Info { name: env!("CARGO_PKG_NAME") };
    service::main(info, backup::SETTINGS, backup::Config::read, backup::run)
}
