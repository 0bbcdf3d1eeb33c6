//! The server through real sockets, spoken to frame by frame.

mod support;

use support::{set, Peer, Server};

#[test]
fn request_waits_until_the_admin_approves() {
    let server = Server::start();
    let mut alice = Peer::join(server.port, "alice", None);
    let mut bob = Peer::join(server.port, "bob", Some(&mut alice));
    bob.tells("hello");
    alice.hears("bob: hello");
    assert_eq!(alice.asks_for_set("/allMembers"), set(&["alice", "bob"]));
}
