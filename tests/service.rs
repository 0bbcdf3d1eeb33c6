//! The server as a service: its log, its signals, and what the machine allows it.

mod support;

use std::net::{SocketAddr, TcpStream};

use socket2::{Domain, Socket, Type};
use support::{Peer, Server, ends_well};

/// Connects from the stranger's address.
fn stranger(port: u16) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let from: SocketAddr = "127.0.0.66:0".parse().unwrap();
    socket.bind(&from.into()).unwrap();
    let to: SocketAddr = ([127, 0, 0, 1], port).into();
    socket.connect(&to.into()).unwrap();
    socket.into()
}

#[test]
fn a_port_probe_is_one_line_at_debug_and_a_member_two_at_info() {
    let mut server = Server::start();
    let probe = stranger(server.port).local_addr().unwrap();
    server.program.logs("departed: hung up");
    let alice = Peer::join(server.port, "alice", None);
    let address = alice.socket.local_addr().unwrap();
    drop(alice);
    server.program.logs("departed: hung up");
    server.program.signal("TERM");
    ends_well(&mut server.program);
    let log = server.program.log_so_far();
    let lines = |part: &str| -> Vec<&String> {
        let lines = log.iter().filter(|line| line.contains(part));
        lines.collect()
    };
    let of_probe = lines(&probe.to_string());
    assert_eq!(of_probe.len(), 1, "{log:#?}");
    assert!(of_probe[0].contains(" DEBUG client 1 from "), "{log:#?}");
    let at_info = lines(" INFO ");
    assert_eq!(at_info.len(), 3, "{log:#?}");
    assert!(at_info[0].ends_with("alice founds group team"), "{log:#?}");
    let departed = format!("client 2 alice in team from {address} departed: hung up");
    assert!(at_info[1].ends_with(&departed), "{log:#?}");
}
