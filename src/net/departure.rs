//! Why a connection ends. Every connection ends for exactly one of these reasons, and the log tells it.

/// The reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Departure {
    /// The client said goodbye.
    #[error("left")]
    Left,
    /// The peer closed the connection, or the connection failed.
    #[error("hung up")]
    HungUp,
    /// The peer sent what the protocol does not allow.
    #[error("broke the protocol: {0}")]
    Broke(String),
    /// The peer did not take what was sent to it.
    #[error("too slow")]
    TooSlow,
    /// The peer began something and sent no more of it.
    #[error("stalled: nothing more came of what it was sending")]
    Stalled,
    /// The peer took too long to say who it is.
    #[error("greeting too long")]
    GreetingTooLong,
    /// All places were taken, and the peer's address had most of them.
    #[error("made room: its address had most places")]
    MadeRoom,
    /// Too much was held for clients, and most of it for those of the peer's address.
    #[error("the server is short of memory, and its address holds most of it")]
    ShortOfMemory,
    /// The service ended the connection, for this reason: "kicked", say.
    #[error("{0}")]
    Ended(String),
    /// The server stops.
    #[error("the server stops")]
    Stopping,
    /// A thread of this client panicked: a defect of ours that ends one client only.
    #[error("its thread panicked")]
    Panicked,
}
