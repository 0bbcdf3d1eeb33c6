//! The protocol of the group chat, for both ends. No sockets, no threads, no groups, no keys.
//!
//! This page is the protocol. It is PyChat's, byte for byte, as its two Python programs speak it, and the words that two fernchat ends
//! add. Where the Python programs are fragile, fernchat is the end that takes care. This page says how.
//!
//! [`bytes`] shows a join, a line and a file as they are on the wire. [`watch`] shows a dialogue in the log while it happens.
//!
//! # Tokens, frames, bodies
//! - A *token* is a [Fernet token](https://github.com/fernet/spec/blob/master/Spec.md): base64url, with padding, of
//!   `0x80 | seconds, 8 bytes | IV, 16 | AES-128-CBC with PKCS#7 | HMAC-SHA256, 32`. A token is good at any age. A time
//!   stamp in the future is accepted, too, because old machines have wrong clocks.
//! - A *frame* is the length of a token, 4 bytes big-endian, and the token. The text inside is UTF-8. fernchat takes texts of up to 512 KiB
//!   and tokens of up to 1 MiB. From a client that is joining it takes tokens of up to 1 KiB ([`frame`]).
//! - A *body* is the token of a whole file. It follows a frame that says its length. The body itself has no length in front.
//! - Each end writes a frame with one call. A Python program reads a length with one call, and misreads it if it arrives in two pieces.
//!   All that a Python program gets is a multiple of 4 bytes long, and so are the usual segments. So a segment seldom splits a length.
//! - A Python program writes length and token with two calls, from several threads, without a lock. So frames arrive *torn*:
//!   `length length token token`, also inside a body. [`frame::FrameReader`] puts them together.
//!
//! # Joining
//! | step | from | sends |
//! | --- | --- | --- |
//! | 1 | server | 44 bytes without a length: the Fernet key of this run, the same for every client |
//! | 2 | client | the user name |
//! | 3 | server | `/sendGroupname` |
//! | 4 | client | the group name |
//! | 5 | server | `/adminReady`: the group is new, and the client is its admin; `/ready`: the client is a member; `/wait`: the admin must approve |
//!
//! - Step 5 is the first frame after step 4, also if something happens in the group meanwhile.
//! - A Python client connects first and asks its user for the names afterwards. Minutes may pass between steps 1 and 4.
//! - A Python client that is refused gets `/ready`, a line from `PyChat` with the reason, and `/kicked`. It shows the line and ends.
//!
//! # Waiting
//! On `/wait` the members online get the line `PyChat: NAME has requested to join the group.`, once. The request outlives its connection:
//! if it is approved later, the user is a member at the next visit. If the same name asks without the same user key (see below) and from
//! another address, the members are told again. Of many requests five in ten seconds are told, and one name once a minute. A line counts the others.
//!
//! A client that waits understands two words: `/accepted` (it may chat) and `/waitDisconnect` (it ends). It can send one word,
//! `/waitDisconnect`. The server answers with the same word and closes, and the request stays. If it crosses with `/accepted`, the server
//! ignores it, and the client leaves by `/disconnect`. Nothing else that a waiting client sends has an effect.
//!
//! # Dialogues
//! A member's command is echoed first. In the table, C is the client and S the server. `.` is an acknowledgement, whose text is not
//! looked at. *Set* is a pickled set of names ([`name_set`]).
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
//! | `/kickMember` | as `/approveRequest`; a member online gets `/kicked` and is disconnected | `/8` |
//! | `/fileTransfer` | C file name, S `/sendFile`, C length, C body, S text; or C `~error~`, which ends it | `/9` |
//! | `/messageSend` | C text | any other line |
//!
//! The text of a message reaches every other member online as `NAME: TEXT`. A frame that reaches a client outside its own dialogues, as this
//! one does, is an *event*.
//!
//! # Files
//! A file goes to the server by `/fileTransfer`. The server offers it to every other member online, which is a *delivery*:
//! S `/receiveFile`, C `/sendFilename`, S file name, C `/sendFile`, S length, S body.
//! With the length `0`, and no body, the server calls the delivery off, and both ends stay in sync.
//!
//! All clients have the server's key, so the server passes the token of a file on as it came.
//!
//! # What the server takes care of
//! 1. A Python client takes the next frame for the answer, even if it is something else. So inside a dialogue or a delivery the server sends it
//!    nothing else: events wait, in order (`server/turn.rs`).
//! 2. A Python client may send its next command where an answer is due. The server holds the command and runs it next. If `/messageSend`
//!    is held, the server does not send `/proceed`: the client would wait for the echo of its message, and never send the name. So the
//!    server refuses the decision about a name, and the user tries again. Where the text of a message is due, the next frame is the text.
//! 3. A member whose connection breaks is offline at once, and delays nobody. If a member does not read, what is queued for it grows
//!    up to a limit. Above the limit, a sender waits at most 5 s with one line; then the member is disconnected.
//! 4. Rights are checked where the group changes, every time. `/whoAdmin` answers about the client's own group only.
//! 5. Two connections cannot share a name: the second one is refused. So is a new name that looks like one of the group. Names are legal
//!    by construction ([`name`]).
//! 6. The server closes between two frames. A Python program that reads the end of the stream inside a frame uses a whole core for ever.
//!    There is one exception: a client that does not take its frames is disconnected as too slow, perhaps in the middle of a frame.
//! 7. All members get the lines of their group in the same order.
//! 8. `!NAME` denies a request. A Python client that waits is told by `/accepted`, a line with the reason, and `/kicked`.
//! 9. A Python client reads a body with one call, and gets only what has arrived by then. So a file above 64 KiB is not offered to it. It gets a
//!    line that says so.
//! 10. An upload that is refused is taken off the stream and dropped, because a Python client sends the body in any case.
//! 11. A Python member is told of an end by a line from `PyChat` and `/kicked`. After a bare close it would never end.
//!
//! # What the client takes care of
//! - A Python server sends events anywhere: before step 5, and between an echo and its answer. A frame that cannot be the step that is due
//!   is shown as an event.
//! - The client always says goodbye to a Python server, by `/disconnect` or `/waitDisconnect`. That server does not notice a close, and its later
//!   broadcasts stop at the member that is gone.
//! - The client always answers `/receiveFile`. To a Python server it answers after the open dialogue and a few milliseconds late: that server
//!   misses an answer that comes before it waits.
//! - The client's system sends its TCP acknowledgements to a Python server at once. That server writes a frame in two pieces, and its system
//!   sends the second only after the first is acknowledged.
//! - The client sends the text of a message in one write with its command, to either server, without waiting for the echo.
//!
//! # Between two fernchat ends
//! At step 3 a fernchat server sends `/sendGroupname fernchat/1 CHALLENGE`. Python clients ignore the text. A fernchat client answers, at
//! step 4, with four lines: the group name, `fernchat/1 CHALLENGE CHALLENGE2`, `RUN MARK`, and `PUBLIC-KEY SIGNATURE` ([`joining`]).
//! What RUN and MARK are, and the key, comes below. To such a client the word of step 5 is followed by a space and CHALLENGE2. Each end makes up its own challenge for each connection, and the other
//! end repeats it under the key. An end that plays back a recording of an earlier connection cannot do that.
//!
//! An end that does not say exactly `fernchat/1` is treated as a Python program, also if it says `fernchat/2` or `fernchat/10`. So a Python
//! program never gets one of these words:
//!
//! | word | from | in place of |
//! | --- | --- | --- |
//! | `/refused CODE REASON` | server | step 3 or 5, or an event while waiting; codes: `secret`, `no-secret`, `bad-name`, `name-taken`, `full`, `denied` |
//! | `/closing REASON` | server | `/kicked`, unless the member was kicked; and `/waitDisconnect`, unless the client said it first |
//! | `/requested PROOF NAME` | server | the line about a request; PROOF is `key:` and the fingerprint of the name's key, or `from:` and an address |
//! | `/result TEXT` | server | TEXT, where that is a result in words: no other text can be taken for one |
//! | `/taken NUMBER` | server | the echo of `/messageSend`, see below |
//! | `/tell NAME`, a line feed, TEXT | client | the text of a message: only the member NAME hears it |
//! | the same | server | an event: the member NAME says this to the client alone |
//! | `/news WHAT NAME` | server | an event: NAME `joined`, `left`, was `removed`, or is the `admin` now |
//! | `/receiveFile`, `/sendFile`, `/haveFile`, `/stopFile` | both | the dialogue of an upload, and the steps of a delivery: see [`transfer`] |
//! | the byte `!`, without a length | both | the rest of a body; the body ends there |
//!
//! **A line to one person** has a number and is confirmed, as every line. A Python member reads it as `SENDER (to you): TEXT`. It is not kept: if
//! NAME is not online, `/result TEXT` says so in place of `/taken NUMBER`.
//!
//! **News** is sent only in groups of at most 100 members online. In larger ones each member that comes or goes would cost a frame for each
//! of the others.
//!
//! **What somebody does** is a line as any other, also at a relay: `* NAME waves`, said by NAME. A fernchat client shows it without the name in
//! front.
//!
//! Each end ignores words that it does not know, so that later versions can add some.
//!
//! To a fernchat client events come at any time: inside dialogues, before a result, and between the pieces of a body. Nothing is parked for
//! it. In the same way it goes on talking while it sends a body. Both ends write whole frames between two pieces. A piece is short enough
//! that a line which waits for it is not late.
//!
//! **Files** ([`transfer`]). A member is offered a body of more than 1 MiB while it is uploaded. The server holds the last 64 KiB back until
//! the HMAC of the whole has held. If the upload fails, the server says so to each receiver and ends the body. After a broken connection both
//! ends keep what they have for ten minutes. The client offers its file again under the same ID, and the server offers its files again.
//! Each body goes on where it stopped. Its bytes are the same, with the same time stamp and IV. The receiver says `/haveFile` or
//! `/stopFile` with a reason. A line from `PyChat` tells the uploader what became of the file at each member.
//!
//! A fernchat client also has these commands:
//!
//! | command | after the echo | typed as |
//! | --- | --- | --- |
//! | `/banMember` | as `/approveRequest`; `!NAME` bans the address, too | `/ban`, `/ban-address` |
//! | `/unbanMember` | as `/approveRequest` | `/unban` |
//! | `/viewBans` | as `/viewRequests` | `/bans` |
//! | `/whoIs` | C name, S text | `/whois` |
//!
//! **A name belongs to a key.** PUBLIC-KEY is the user key, the client's Ed25519 key (RFC 8032). SIGNATURE signs [`joining::statement`]: the
//! 44 bytes of step 1, CHALLENGE, the user name and the group name. Both are base64url without padding. The group keeps the key with the name, for
//! members and for requests.
//! - A client that comes with another key, or without one, gets `/refused name-taken`, at once. The holder of the name is not disturbed.
//! - If the same key comes again, it takes the name over. The old connection gets `/closing taken-over`, and its client does not join again
//!   by itself. Otherwise two clients of one person would end each other in turn.
//! - A name that came without a key is in use as long as a client has it. Anybody can join under it afterwards, as in PyChat.
//!
//! **Connections break. No line that the server still keeps is lost, and none is said twice.** A client that can join again makes up a
//! name when it starts, its *run*: RUN at step 4. MARK is nothing, or the last 24 characters of the token of the last chat line that arrived.
//! RUN is empty if the client cannot join again. Then its messages have no numbers, and are echoed.
//! - The client numbers its messages: their text begins with a number and a space, `1 hello`. The first message of a run has the number 1.
//! - When the line is with the group, the server sends `/taken 1` in place of the echo. A line that was not taken is said again over the next
//!   connection, with the same number. So the server knows which lines it has.
//! - After `/ready` come the lines that the client missed. If the run is that of the member's last connection, these are the lines after
//!   MARK. Otherwise they are the lines that the server had not yet written to that member. Python clients get them, too. If the server
//!   no longer has all of them, one line from `PyChat` says first how many are missing at most.
//! - A name without a key that is in use may belong to a connection that is dead. The server probes that connection, at most once a minute,
//!   and the newcomer waits up to 5 s for the name before it is refused. A connection with data under way is not given up sooner for this.
//!
//! # Closed servers
//! A server that sends its key is a *plain server*. A *closed server* shares a *secret* with its users, a line of at least 12 characters.
//! Both ends must be fernchat.
//!
//! In step 1 a closed server sends a *salt* in place of the key: base64url of 32 random bytes, 44 characters. Both ends derive the key from
//! the secret and the salt: PBKDF2-HMAC-SHA256 (RFC 8018), with `fernchat link v1` and the 32 bytes as salt, 600000 rounds, 32 bytes. The salt
//! is fresh for each run of the server. So each run has its own key, and nobody can compute the keys of guessed secrets in advance.
//!
//! Everything else is as above, except for this:
//! - A client that does not repeat CHALLENGE is refused, and so is a server that does not repeat CHALLENGE2.
//! - A first frame that does not open ends the connection, at a plain server, too. The server says why under the only key that both ends are
//!   sure to have: the 44 characters, taken for a key. It sends `/refused secret REASON`, or `/refused no-secret REASON` if it is a plain
//!   server. A Python client gets `/ready`, a line with the reason, and `/kicked`.
//! - Anybody can seal under that key. So a client that has a secret ends at whatever comes under it, and never shows it. It shows a sentence
//!   of its own, which the code chooses.
//!
//! # Room keys
//! Members who share a *room key* hide what they say from the server. The text of a message is then a token under the room key, and so is
//! the content of a file. To the server, such a line is a line as any other. What is sealed says first what it is, so that nothing that was
//! sealed for one purpose serves another ([`seal`](crate::seal)`/room_text.rs`):
//!
//! ```text
//! fernchat line GROUP
//! 2026-11-26T09:05:02+01:00 RUN NUMBER NAME: TEXT
//!
//! fernchat tell GROUP
//! TO
//! 2026-11-26T09:05:02+01:00 RUN NUMBER NAME: TEXT
//!
//! fernchat file GROUP
//! 2026-11-26T09:05:02+01:00 NAME
//! FILE
//! the bytes of the file
//! ```
//!
//! The time is the sender's, with its offset from UTC. RUN and NUMBER are those of the message, as above. `tell` is a line to
//! one person: TO is who hears it, and nobody else is shown it. NAME is the sender, and FILE the
//! name of the file. A receiver shows a line as sealed only if it opens and is a line for this group. NAME must be the name under which
//! the server delivered it. The same goes for a file, its sender and its name; a Python server does not say who the sender is. A number that is
//! not above the last one of its run is marked, and a date that is not today's is shown (`client/room_key.rs`).
//!
//! # Announcements
//! A fernchat server announces itself by multicast DNS (RFC 6762) as a service (RFC 6763), and its clients look for it there. Python programs
//! neither announce nor look. A server that listens on loopback only is not announced.
//!
//! | service | what it is |
//! | --- | --- |
//! | `_fernchat._tcp` | a chat server |
//! | `_fernchat-relay._tcp` | a relay |
//!
//! The TXT record has two words: `name=NAME`, the name that people see, which is that of the machine; and `access=closed` for a closed server, or
//! `access=open`. The name of the instance and of the host are `fernchat-` and random digits, so no two are the same. Nothing in an announcement is proven.

pub mod bytes;
pub mod command;
pub mod frame;
pub mod joining;
pub mod name;
pub mod name_set;
pub mod size;
mod torn;
pub mod transfer;
pub mod watch;
