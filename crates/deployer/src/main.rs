//! The binary of the deployer; everything it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Said by the deployer to its helper, and by nobody else.
    if std::env::args_os().nth(1).is_some_and(|first| first == deployer::HELP) {
        return deployer::helper();
    }
    let info = service::Info { name: env!("CARGO_PKG_NAME") };
    service::main(info, deployer::SETTINGS, deployer::Config::read, deployer::run)
}
