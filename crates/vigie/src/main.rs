//! The `vigie` binary; see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    vigie::main()
}
