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
//! ```text
//!                                   main, args
//!          ┌────────────────────────────┼────────────────────────────┐
//!       server                       client                        relay
//!   session  sharing           link  dialogues  files           (the relay)
//!   group  table  backlog      sending  receiving  room           splitter
//!   seat  turn  spool          typed  step  │                      client
//!          └────────────────────────────┼────────────────────────────┘
//!          ┌──────────────┬─────────────┴┬──────────────────┐
//!         net             │              │               terminal
//!   listener  connection  │              │      editor  completion  style
//!   outbox  departure     │              │      log  progress
//!          │            wire           seal                 │
//!          │       frame  command    key  token             │
//!          │       name  name_set    body  line  secret     │
//!          └──────────────┴──────┬───────┴──────────────────┘
//!                             machine
//! ```
//!
//! | room | what lives there | what does not |
//! | --- | --- | --- |
//! | [`wire`] | the language: frames, words, names, sets; the protocol's page | sockets, threads, keys |
//! | [`seal`] | the secrets: keys and phrases, tokens, a file's token as a stream | the wire |
//! | [`net`] | the pipes: listener, threads, an outbox for each client, rounds | the protocol |
//! | [`server`] | groups, turns, sessions, the spool | bytes of frames, sockets |
//! | [`client`] | joining, the thread that sends, the thread that receives | groups |
//! | [`relay`] | the second chat: a relay without a key, and its client | groups, frames |
//! | [`terminal`] | what a person sees and types | the protocol |
//! | [`machine`] | what is asked of the operating system beyond the standard library | |
//!
//! Arrows point down: `main -> {server, client, relay} -> {net, terminal} and {wire, seal} -> machine`; the terminal also looks into
//! `wire` and `seal`, for names and lines. Server, client and relay never meet, and only the relay's client looks into `seal`: that the
//! relay is blind can be seen from its imports. `tests/layers.rs` keeps the arrows.
//!
//! # In which order to read it
//! Each file begins with a page that says what it does and what must stay true; read that first, then the code down to the tests, whose
//! names are sentences. The first six are a lesson of their own.
//!
//! | | read | to see |
//! | --- | --- | --- |
//! | 1 | [`wire`] and [`wire::bytes`] | what the two ends say to each other, in words and then byte by byte |
//! | 2 | [`wire::frame`] | *framing*: a stream has no messages, so somebody must say where one ends; and what to do when two threads wrote at once |
//! | 3 | [`server::session`] | *a dialogue as straight-line code*: with a thread for each client, where it is in the protocol is where the code is |
//! | 4 | [`server::group`], [`server::table`] | *one lock, and why*: it gives all members one order, and under it nothing takes time |
//! | 5 | [`server::turn`], [`server::seat`] | what may go to a client now, and what must wait: rules without a socket, a lock or a clock |
//! | 6 | [`net::outbox`] | *the one way out*, and why it goes in rounds: one thread wakes, not a hundred. *What flow control is*: a queue with a limit, and who waits when it is full |
//! | 7 | [`net::connection`], [`net::listener`] | *how a thread dies*: for one named reason, also after a panic, and joined by who started it |
//! | 8 | `seal/token.rs`, `seal/body.rs` | what a token is; *a stream that is trusted only at its end* |
//! | 9 | [`server::sharing`](server), [`server::spool`] | a file of any size in constant memory |
//! | 10 | [`client::dialogues`], [`client::receiving`] | the same dialogues from the other end: is this frame the step that is due, or an event? |
//! | 11 | [`client::sending`], [`server::backlog`] | *reconnecting without losing or doubling*: who says, keeps; who hears, says how far |
//! | 12 | [`relay::splitter`] | *where a token ends when nothing says so* |
//! | 13 | [`wire::name`], [`wire::name_set`] | values that are legal because they exist; reading a format that is really a program |
//!
//! Who knows the Python scripts begins with [`from_python`]: where each part of them went, and what changed. Who has read enough does the
//! [`exercises`].
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
//! **A departure.** The reader's loop ends with a [`Departure`](net::departure::Departure) → the member is offline → the outbox
//! closes → the writer drains and ends → joined → one log line.
//!
//! **A stop.** Ctrl-C or SIGTERM → the accept loop wakes → every client is told and has two seconds → all threads are joined → exit 0.
//!
//! # Locks
//! Three that matter, always taken in this order: the [table](server::table) of groups (an `RwLock`), one [group](server::group), one
//! [turn](server::seat). Under the first two nothing is sealed, written or awaited. A [relay] has one in their place: the listener's list
//! of connections. Below them are some that guard a few fields each: an outbox's state and, under it, the list of those that the clock
//! must look at; what was posted to an outbox and, under it, who is due in the next round; the bell that wakes whoever waits for room;
//! the list of deliveries that failed. The round has one of its own, taken without any of these; under it a client's writer is started.

#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)
)]
// The documentation is read beside the source, or with --document-private-items.
#![allow(rustdoc::private_intra_doc_links)]

pub mod client;
#[doc = include_str!("exercises.md")]
pub mod exercises {}
#[doc = include_str!("from_python.md")]
pub mod from_python {}
pub mod machine;
pub mod net;
pub mod relay;
pub mod seal;
pub mod server;
pub mod terminal;
pub mod wire;
