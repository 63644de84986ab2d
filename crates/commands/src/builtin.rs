//! Which commands there are. To add one, put its file into `builtin/` and its name into this list.

use crate::definition::Definition;

/// Declares the module of each command and lists its `COMMAND`.
macro_rules! commands {
    ($($name:ident)*) => {
        $(mod $name;)*

        /// Every command, sorted by name.
        pub static ALL: &[&Definition] = &[$(&$name::COMMAND),*];
    };
}

commands! {
    about
    backup
    backups
    deploys
    echo
    help
    ping
    rollback
    stats
    update
    uptime
}

#[cfg(test)]
#[path = "builtin_tests.rs"]
mod tests;
