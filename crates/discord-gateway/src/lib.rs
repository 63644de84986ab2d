//! discord-gateway
