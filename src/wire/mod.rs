//! The language of the group chat, for both ends. No sockets, no threads, no groups, no keys.
//!
//! This page is the protocol: PyChat's, byte for byte, as its two Python programs speak it, with the few words that two fernchat
//! ends add. Where the Python programs are fragile, fernchat is the side that takes care; those cares are stated here too.
//!
//! [`bytes`] shows a join, a line and a file as they stand on the wire; [`watch`] shows a dialogue while it happens.
//!
//! # Tokens, frames, bodies
//! - A *token* is a [Fernet token](https://github.com/fernet/spec/blob/master/Spec.md): base64url, with padding, of
//!   `0x80 | seconds, 8 bytes | IV, 16 | AES-128-CBC with PKCS#7 | HMAC-SHA256, 32`. No time-to-live is enforced, and a time
//!   stamp in the future is accepted: old machines have wrong clocks.
//! - A *frame* is the length of a token, 4 bytes big-endian, and the token. The text inside is UTF-8 ([`frame`]).
//! - A *body* is the token of a whole file. It follows a frame that says its length, and stands bare on the wire.
//! - Everything on the wire is a multiple of 4 bytes long, so no segment splits a length: a Python program reads a length
//!   with one call, and misreads it when it arrives in two pieces.
//! - A Python program writes length and token in two calls from several threads without a lock, so frames arrive *torn*:
//!   `len len token token`, also inside a body. [`frame::FrameReader`] puts them together.
//!
//! # Joining
//! | step | from | sends |
//! | --- | --- | --- |
//! | 1 | server | 44 bytes, bare: the Fernet key of this run, the same for every client |
//! | 2 | client | the user name |
//! | 3 | server | `/sendGroupname` |
//! | 4 | client | the group name |
//! | 5 | server | `/adminReady`: the group was new and is yours; `/ready`: you are a member; `/wait`: the admin must approve |
//!
//! - Step 5 is the first frame after step 4, whatever happens in the group meanwhile.
//! - A Python client connects first and asks its user for the names afterwards: minutes may pass between 1 and 4.
//! - On `/wait` the members online hear `PyChat: NAME has requested to join the group.`, once. The request outlives its connection.
//! - A Python client that is refused gets `/ready`, a line from `PyChat` with the reason, and `/kicked`: it shows the line and ends.
//!
//! A client that waits understands `/accepted` (it may chat) and `/waitDisconnect` (it ends). It can say `/waitDisconnect`,
//! which is answered by the same word; the request stays. Nothing else that it says has an effect.
//!
//! # Dialogues
//! A member's command is echoed first; then, with C the client and S the server, `.` an acknowledgement whose text is not looked at,
//! and *set* a pickled set of names ([`name_set`]):
//!
//! | command | after the echo | typed as |
//! | --- | --- | --- |
//! | `/viewRequests` | C `.`, S `/sendingData`, C `/readyForData`, S set; or S text: not the admin | `/1` |
//! | `/approveRequest` | C `.`, S `/proceed`, C name, or `!NAME` to deny, S text; or S text: not the admin | `/2` |
//! | `/disconnect` | C `.`, both close | `/3` |
//! | `/allMembers` | C `.`, S set | `/4` |
//! | `/onlineMembers` | C `.`, S set | `/5` |
//! | `/changeAdmin` | as `/approveRequest`; the name of any member | `/6` |
//! | `/whoAdmin` | C group name, S `Admin: NAME` | `/7` |
//! | `/kickMember` | as `/approveRequest`; a member online hears `/kicked` and is disconnected | `/8` |
//! | `/fileTransfer` | C file name, S `/sendFile`, C length, C body, S text; or C `~error~`, which ends it | `/9` |
//! | `/messageSend` | C text | any other line |
//!
//! A text reaches every other member online as the event `NAME: TEXT`.
//!
//! A *delivery* is the other half of a file: S `/receiveFile`, C `/sendFilename`, S file name, C `/sendFile`, S length, S body.
//! A length of `0`, and no body, calls it off in step.
//!
//! # What the server takes care of
//! 1. A Python client takes the next frame for the answer, whatever it is: so inside a dialogue or delivery it is sent nothing else.
//!    Events wait, in order ([`server::turn`](crate::server::turn)).
//! 2. It may send a command where an answer is due: the command is kept and runs next. With `/messageSend` kept, `/proceed` would
//!    lock it up, so a decision about a name is refused and can be tried again. Where a text is due, the next frame is the text.
//! 3. A broken or stalled member holds nobody up and is offline at once.
//! 4. Rights are looked at where the group changes, every time. `/whoAdmin` answers about the client's own group only.
//! 5. One name, one connection: a second one is refused. Names are legal by construction ([`name`]).
//! 6. Nothing is closed in the middle of a frame: a Python program would spin on it.
//! 7. All members hear the lines of their group in one order.
//! 8. `!NAME` denies a request. A Python client that waits is told by `/accepted`, a line with the reason, and `/kicked`.
//! 9. A Python client reads a body with one call, so a file above 64 KiB is not offered to it; it gets a line that says so.
//! 10. An upload that is refused is taken off the stream and dropped, because a Python client sends it in any case.
//! 11. A Python member is told of an end by a line from `PyChat` and `/kicked`; a bare close would leave it hanging.
//!
//! # What the client takes care of
//! A Python server sends events anywhere, before step 5 and between an echo and its answer: what cannot be the step that is due is
//! shown as an event. It is told goodbye by `/disconnect` or `/waitDisconnect` in any case, because its broadcasts stop at a
//! member that is gone. `/receiveFile` is answered in any case, after the open dialogue and a few milliseconds late, because that
//! server misses an answer that comes before it waits. Its acknowledgements are not delayed, because it writes a frame in two pieces.
//!
//! # Between two fernchat ends
//! At step 3 a fernchat server says `/sendGroupname fernchat/1`; Python clients do not look at the text. A fernchat client that read
//! it sends, at step 4, the group name, a line feed, and `fernchat/1` ([`joining`]). An end that does not say exactly this, say
//! `fernchat/2`, is treated as a Python program. Neither Python program ever sees these words:
//!
//! | word | from | in place of |
//! | --- | --- | --- |
//! | `/refused CODE REASON` | server | step 3 or 5, or an event while waiting; codes: `secret`, `bad-name`, `name-taken`, `full`, `denied` |
//! | `/closing REASON` | server | `/kicked`, unless the member was kicked; and `/waitDisconnect` from the server |
//! | `/taken NUMBER` | server | the echo of `/messageSend`, see below |
//! | `/receiveFile NAME` | server | `/receiveFile`: who shares the file |
//! | `/sendFile BYTES` | server | `/sendFile` in an upload: the longest body that it takes |
//! | `0` | client | the length of a body that is longer: none follows, and the result does |
//! | the byte `!`, bare | client | the rest of a body that it is sending: the body ends there, the result follows, and nobody is offered it |
//!
//! **Connections break, and no line is lost or said twice.** A client that joins again when its connection is broken makes up a name for its run,
//! and says at step 4, on a third line: `RUN HEARD`, where HEARD is the end of the last chat line's token that arrived, 24 characters, or nothing.
//! - The text of its messages begins with a number and a blank, `1 hello`; the first of a run is 1. In place of the echo the server says
//!   `/taken 1` when the line is with the group. What was not taken is said again over the next connection, with its number: the server knows what it has.
//! - After `/ready` come the lines that the client missed: those behind HEARD, if the run is that of the member's last connection; else those that
//!   had not been written to it. Python clients get them, too. What is not kept any more is said before, in one line from `PyChat`.
//! - A name that is in use may be held by a connection that is not there any more. It is asked for a sign of life, and the newcomer waits up
//!   to 5 s for the name before it is refused.
//!
//! Unknown words are ignored, so that later versions can add some. To either server our client sends a message's text in one write with
//! its command, without waiting for the echo; when that crosses with a file on offer, a fernchat server keeps both.
//!
//! # Closed servers
//! A closed server shares a *secret* with its users, a line of at least 12 characters. Its step 1 is not the key but 44 characters of
//! base64url for a salt of 32 random bytes, fresh for each run; the key is PBKDF2-HMAC-SHA256 of the secret, with `fernchat link v1` and the salt's bytes
//! as salt, 600000 rounds, 32 bytes. Both ends must be fernchat's. All else is as above, but for this:
//! - Step 3 is `/sendGroupname fernchat/1 CHALLENGE`, the second line of step 4 `fernchat/1 CHALLENGE CHALLENGE2`, step 5 is followed
//!   by a blank and CHALLENGE2. Each end makes up its own challenge, so neither takes a recording for the other.
//! - A first frame that does not open ends the connection, at a plain server too. The client hears why, sealed under the 44 characters taken for a key, which
//!   is all that both are sure to have: `/refused secret REASON`, then `/ready`, a line with the reason, and `/kicked`, for a Python client.
//!   A client that has a secret takes nothing else that is sealed so.
//!
//! # Room keys
//! Members who share a *room key* keep what they say from the server: the text of a message is then a token under the room key, of
//! `[HH:MM:SS] NAME: TEXT`, and a file's content is such a token. A receiver shows the line only if NAME is the name under which the server
//! delivered it ([`client::room_key`](crate::client::room_key)). The server notices nothing.

pub mod bytes;
pub mod command;
pub mod frame;
pub mod joining;
pub mod name;
pub mod name_set;
pub mod size;
mod torn;
pub mod watch;
