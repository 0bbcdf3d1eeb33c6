//! The language of the group chat, for both ends. No sockets, no threads, no groups.
pub mod command;
pub mod frame;
pub mod name;
pub mod name_set;
