//! The binary of the deployer; everything it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    let info = service::Info { name: env!("CARGO_PKG_NAME") };
    service::main(info, deployer::SETTINGS, deployer::Config::read, deployer::run)
}
