//! twitch-gateway
