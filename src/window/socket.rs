//! The WebSocket of one page: two threads, one that reads and one that writes.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Message as Frame, WebSocket};

use super::pages::{Message, Pages};
use crate::machine;

/// The longest message that a page may send, in bytes: a typed line has at most 511 KiB.
const MAX_MESSAGE: usize = 1 << 20;

/// Shows a page what there is, and hands over what it says, until it is closed.
pub(super) fn serve(socket: TcpStream, pages: &Arc<Pages>, hear: impl Fn(&str)) -> io::Result<()> {
    let mut config = WebSocketConfig::default();
    (config.read_buffer_size, config.write_buffer_size) = (8 << 10, 0);
    (config.max_message_size, config.max_frame_size) = (Some(MAX_MESSAGE), Some(MAX_MESSAGE));
    let writing = WebSocket::from_raw_socket(socket.try_clone()?, Role::Server, Some(config));
    let (page, messages) = pages.open();
    let begun = machine::spawn("page writing", move || writing_loop(writing, messages));
    // A browser sends no pings, and the end of this loop is the answer to a close. So only the other thread writes.
    let mut reading = WebSocket::from_raw_socket(&socket, Role::Server, Some(config));
    while begun.is_ok() {
        match reading.read() {
            Ok(Frame::Text(text)) => hear(&text),
            Ok(Frame::Close(_)) | Err(_) => break,
            Ok(_) => {}
        }
    }
    // The channel ends with this, and the writing thread with the channel.
    pages.close(page);
    // It may be gone already.
    let _ = socket.shutdown(Shutdown::Both);
    begun
}

fn writing_loop(mut socket: WebSocket<TcpStream>, messages: impl Iterator<Item = Message>) {
    for message in messages {
        if socket.send(Frame::text(&*message)).is_err() {
            break;
        }
    }
    // It wakes the reading thread.
    let _ = socket.get_ref().shutdown(Shutdown::Both);
}
