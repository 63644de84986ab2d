//! The sandbox as its clients see it: real sockets, real frames.

mod discord;
mod page;
mod twitch;
