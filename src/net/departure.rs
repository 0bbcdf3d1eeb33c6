//! The one way a connection ends: for a reason, which the log tells.

use std::fmt;

/// Why a connection ended. Every one ends by exactly one of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Departure {
    /// The client said goodbye.
    Left,
    /// The admin took the member out of the group.
    Kicked,
    /// The admin denied the request.
    Denied,
    /// A rule refused the client; this is what it was told.
    Refused(String),
    /// The peer closed the connection, or the connection failed.
    HungUp,
    /// The peer sent what the protocol does not allow.
    Broke(String),
    /// The peer did not take what was sent to it, and others waited.
    TooSlow,
    /// The peer took too long to say who it is.
    GreetingTooLong,
    /// The peer had not said who it is yet when the house was full.
    MadeRoom,
    /// The server stops.
    Stopping,
    /// The thread of this client panicked: a defect of ours that ends one client only.
    Panicked,
}

impl fmt::Display for Departure {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Departure::Left => write!(f, "left"),
            Departure::Kicked => write!(f, "kicked"),
            Departure::Denied => write!(f, "denied"),
            Departure::Refused(reason) => write!(f, "refused: {reason}"),
            Departure::HungUp => write!(f, "hung up"),
            Departure::Broke(reason) => write!(f, "broke the protocol: {reason}"),
            Departure::TooSlow => write!(f, "too slow"),
            Departure::GreetingTooLong => write!(f, "greeting too long"),
            Departure::MadeRoom => write!(f, "made room while greeting"),
            Departure::Stopping => write!(f, "the server stops"),
            Departure::Panicked => write!(f, "its thread panicked"),
        }
    }
}
