//! fernchat: two small chats for a local network, which replace two Python programs one end at a time. One is a group chat with an
//! admin and files. The other is a blind [relay] for people who share a key.
//!
//! In the group chat everything after the key is a Fernet token. A 4-byte length and a token make a frame, and a conversation is frames in
//! both directions:
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
//! The [`guide`] has pages beside the code: for readers who know the Python scripts, for lessons, for people who run a server, and for
//! contributors. `cargo doc --open --document-private-items` shows the pages of all modules.
//!
//! # The modules
//! The picture shows the main files of each.
//!
//! ```text
//!        program, args, configuration, discovery, log_queue ──▶ window
//!          ┌────────────────────────┼───────────────────────┐
//!       server                    client                  relay
//!   joining  session         joining  link             splitter  client
//!   decisions  group         sending  receiving
//!   member  table  backlog   dialogues
//!   client  turn  state      upload  download
//!   upload  share  spool     offers  pack  paths
//!   download  deliveries
//!          └────────────────────────┼───────────────────────┘
//!         ┌─────────────────┬───────┴──────┬────────────────┐
//!        net              wire           seal            screen
//!   listener  connection  frame  torn    key  token      terminal
//!   outbox  fanout        command  name  body  secret    editor  completion
//!   flow  fairness        name_set  transfer  identity   wording  style  log
//!         └─────────────────┴───────┬──────┴────────────────┘
//!                                machine
//! ```
//!
//! | module | what is in it | what is not |
//! | --- | --- | --- |
//! | [`wire`] | the protocol: frames, words, names, sets of names | sockets, threads, keys |
//! | [`seal`] | keys, secrets and identities, tokens, a file's token as a stream | the wire |
//! | [`net`] | the listener, the threads and the outbox of a client, the fan-out, who makes room for a newcomer | the protocol |
//! | [`server`] | joining, dialogues, groups, files on their way | bytes of frames |
//! | [`client`] | joining, the thread that sends, the thread that receives | rights |
//! | [`relay`] | the second chat: a relay without a key, and its client | groups, frames |
//! | [`screen`] | what a client shows, as values, and where typed lines come from | how it looks |
//! | [`terminal`] | the screen that is a terminal, or pipes: the text that a person reads | the protocol |
//! | [`typed`] | the commands of both clients, and what a typed line means | |
//! | [`configuration`] | two small files: what the person has set, and where the person was last | |
//! | [`discovery`] | servers that are found on the network without an address | the protocol, server and client |
//! | [`window`] | the screen that is a page in the browser: its server on loopback, its form, which offers what was found | what the clients do |
//! | [`log_queue`] | the log, which makes nobody wait | |
//! | [`machine`] | what is asked of the operating system beyond the standard library | |
//!
//! Imports point down. Server, client and relay do not use each other. Of the relay only its client uses `seal`, so the imports show
//! that the relay is blind. Clients know a screen, and not which one:
//! `program` gives them the terminal. Of `wire`, the terminal uses only names, sizes and two texts. `tests/layers.rs` checks all this.
//!
//! # In which order to read it
//! Each file begins with a page that says what the file does and what must stay true. Read that page first, then the code down to the
//! tests. The names of the tests are sentences.
//!
//! The first part fits in an afternoon: some 1,700 lines with their comments, from the protocol to the outbox of each member. For now,
//! take it that a [turn](server::turn) sends a client what may go out now, and keeps the rest for later. A member's `come_online` sends step 5
//! and then what was missed. A holder says who has a name. After 1, watch the protocol: see [`guide::lesson`].
//!
//! | | read | to see |
//! | --- | --- | --- |
//! | 1 | [`wire`] | what the two ends say to each other |
//! | 2 | [`server::joining`] | five steps, as they stand in the protocol |
//! | 3 | [`server::session`] | a dialogue as straight-line code: each client has a thread, so its place in the code is its place in the protocol |
//! | 4 | [`server::group`] | who may do what, and how one lock gives all members the same order |
//! | 5 | [`net::outbox`] | a channel and a writer thread for each client |
//!
//! Then, in any order:
//!
//! | read | to see |
//! | --- | --- |
//! | [`net::fanout`] | the fast path beside the channel: a thread that speaks alone writes by itself, others share one thread |
//! | [`server::client`], [`server::turn`] | what may go to a client now, and what must wait: the turn has no socket, no lock and no clock |
//! | [`server::decisions`], [`server::member`] | the dialogues of the admin, and who owns a name |
//! | [`wire::bytes`] | the protocol again, byte by byte |
//! | [`wire::frame`], `wire/torn.rs` | *framing*: a stream has no messages, so something must say where one ends |
//! | [`server::table`], [`server::state`] | how a group is found, founded and forgotten, and what a restart leaves |
//! | [`net::fairness`], `server/places.rs` | *fairness*: one rule says who makes room when something scarce is used up |
//! | `net/flow.rs` | *flow control*: a queue with a limit, and who waits when it is full |
//! | [`net::connection`], [`net::listener`] | *how a thread ends*: for one named reason, also after a panic, and joined by the thread that started it |
//! | `seal/token.rs`, `seal/body.rs` | what a token is, and *a stream that can be trusted only at its end* |
//! | [`server::upload`], [`server::spool`], [`server::deliveries`] | a file of any size in constant memory, read while it grows, between other frames |
//! | [`client::upload`], [`client::offers`] | a transfer that goes on over another connection |
//! | [`client::dialogues`], [`client::receiving`] | the same dialogues from the other end: is this frame the expected step, or an event? |
//! | [`client::sending`], [`server::backlog`] | *joining again* without losing a line or saying one twice |
//! | [`relay::splitter`] | *where a token ends when nothing says so* |
//! | [`wire::name`], [`wire::name_set`] | values that exist only if they are legal; reading a pickle as data, without running it |
//!
//! # Paths
//! **A line.** The client reads a typed line, holds a dialogue about it, seals it and writes it to the socket. In the server, the reader
//! thread cuts the [frame](wire::frame) out of the stream and opens it, and the [session](server::session) knows that it is a line. The session
//! seals `NAME: TEXT` once. It locks the [group](server::group), which pushes the frame into the [outbox](net::outbox) of each member.
//! The [turn](server::turn) of a member may keep it back until a dialogue ends. Then the lock is released, and the [fan-out](net::fanout) writes to all
//! sockets that take it at once. The writer thread of a member has the rest. The member's client opens the frame and shows the line.
//!
//! **A file.** The session streams the body into the [spool](server::spool) and through the HMAC, between the other frames of the client. Fernchat
//! members are offered a long file at once, and others when it is whole ([`server::share`]). The writer thread of a member reads the spool while it
//! grows ([`server::deliveries`]), and what else there is goes between two pieces. A Python member gets the whole in its turn. This takes constant
//! memory, and no file outlives the server.
//!
//! **A departure.** The loop of the reader thread ends with a [`Departure`](net::departure::Departure). The member goes offline. The outbox
//! closes, the writer thread writes what is queued and ends, and the reader joins it. Then one line is logged.
//!
//! **A stop.** Ctrl-C or SIGTERM wakes the accept loop. Every client that has joined is told, and has two seconds. Then all threads are
//! joined, and the exit code is 0.
//!
//! # Locks
//! Three locks matter. They are always taken in this order: the [table](server::table) of groups (an `RwLock`), one
//! [group](server::group), one [turn](server::client). While one is held, nothing is written to a socket, and nothing waits for a peer.
//! Lines and replies are sealed before. (Two short frames are sealed under a turn. They are the notice of lines that were not kept, and the
//! length `0`.) In the [relay] there is one lock in their place: the listener's list of connections.
//!
//! Below them are locks that guard a few fields each. For example, an outbox has one for what was pushed to it, and one for its deadlines.
//! The fan-out has one for the outboxes that are due in the next round. A client has one for its deliveries, and a body in the spool one for
//! those who wait for more of it.
//! One round is made at a time: its lock is taken while none of the others is held.

#![cfg_attr(
    not(test),
    warn(
        unreachable_pub,
        clippy::unwrap_used,
        clippy::print_stdout,
        clippy::print_stderr
    )
)]
// The documentation is read beside the source, or with --document-private-items.
#![allow(rustdoc::private_intra_doc_links)]

mod args;
mod client;
mod configuration;
mod discovery;
pub mod guide;
mod log_queue;
mod machine;
mod net;
mod program;
pub mod relay;
mod screen;
pub mod seal;
mod server;
mod terminal;
mod typed;
#[cfg(feature = "window")]
mod window;
pub mod wire;

pub use program::run;
