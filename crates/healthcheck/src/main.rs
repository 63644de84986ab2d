//! The binary of the health check; everything it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    let info = service::Info { name: env!("CARGO_PKG_NAME") };
    service::main(info, healthcheck::SETTINGS, healthcheck::Config::read, healthcheck::run)
}
