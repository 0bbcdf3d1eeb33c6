//! fernchat: two small chats for a local network, made to replace two Python programs end by end: a group chat with an admin and
//! files, and a blind [relay] for people who share a key.
//!
//! In the group chat everything is a Fernet token: a 4-byte length and a token make a frame, and a conversation is frames both ways.
//!
//! ```text
//! server                                    client
//!   │ ─── 44 bytes: the key of this run ────▶ │     joining
//!   │ ◀── "alice" ─────────────────────────── │
//!   │ ─── "/sendGroupname" ─────────────────▶ │
//!   │ ◀── "team" ──────────────────────────── │
//!   │ ─── "/adminReady" ────────────────────▶ │
//!   │ ◀── "/messageSend" ──────────────────── │     a dialogue
//!   │ ─── "/messageSend" ───────────────────▶ │
//!   │ ◀── "hello" ─────────────────────────── │
//!   │ ─── "bob: hello back" ────────────────▶ │     an event
//! ```
//!
//! # The house
//! | room | what lives there | what does not |
//! | --- | --- | --- |
//! | [`wire`] | the language: frames, words, names, sets; the protocol's page | sockets, threads, keys |
//! | [`seal`] | the secrets: keys and phrases, tokens, a file's token as a stream | the wire |
//! | [`net`] | the pipes: listener, two threads and an outbox for each client, rounds | the protocol |
//! | [`server`] | groups, turns, sessions, the spool | bytes of frames, sockets |
//! | [`client`] | joining, the thread that sends, the thread that receives | groups |
//! | [`relay`] | the second chat: a relay without a key, and its client | groups, frames |
//! | [`terminal`] | what a person sees and types | the protocol |
//! | [`machine`] | what is asked of the operating system beyond the standard library | |
//!
//! Arrows point one way: `main -> {server, client, relay} -> {net, terminal} and {wire, seal} -> machine`. Server, client and relay
//! never meet, and only the relay's client looks into `seal`: that the relay is blind can be seen from its imports.
//!
//! # Paths
//! **A line.** Bytes → [frame](wire::frame) → token [opened](seal::Key::open) → text → [session](server::session) → sealed once as `NAME: TEXT`
//! → room looked at → [group](server::group) locked: each member's [turn](server::turn) lets it pass or parks it → unlocked → the
//! [round](net::outbox::Post) that follows: one write for each member, which does not block; the member's
//! [writer](net::outbox::write_loop) has what does not go at once.
//!
//! **A file.** The session streams the body into the [spool](server::spool) and through the HMAC → the uploader has its result → an
//! offer to each member's turn → the member's two answers → length and body from the spool. Constant memory; nothing outlives a crash.
//!
//! **A departure.** The reader's loop ends with a [`Departure`](net::connection::Departure) → the member is offline → the outbox
//! closes → the writer drains and ends → joined → one log line.
//!
//! **A stop.** Ctrl-C or SIGTERM → the accept loop wakes → every client is told and has two seconds → all threads are joined → exit 0.
//!
//! # Locks
//! Three that matter, always taken in this order: the [table](server::table) of groups (an `RwLock`), one [group](server::group), one
//! [turn](server::seat). Under the first two nothing is sealed, written or awaited. Below them are some that guard a few fields each: an
//! outbox's state and what was posted to it, who is due in the next round, and the bell that wakes whoever waits for room. The round
//! has one of its own, taken without any other.

#![forbid(unsafe_code)]
#![warn(missing_docs)]
// The documentation is read beside the source, or with --document-private-items.
#![allow(rustdoc::private_intra_doc_links)]

pub mod client;
pub mod machine;
pub mod net;
pub mod relay;
pub mod seal;
pub mod server;
pub mod terminal;
pub mod wire;
