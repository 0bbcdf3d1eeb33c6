//! fernchat
#![forbid(unsafe_code)]
#![warn(missing_docs)]
pub mod client;
pub mod net;
pub mod seal;
pub mod server;
pub mod terminal;
pub mod wire;
