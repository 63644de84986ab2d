//! Who may do what, asked of a real server: all that the table grants is let through, all else is refused.

mod door;
mod page;
mod raw;
mod table;
mod tls;
mod work;
