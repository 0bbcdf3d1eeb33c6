//! In the place of multicast DNS, where the program is built without it: nothing is announced, and nothing is found.

use std::convert::Infallible;
use std::net::SocketAddr;

use super::{Found, Kind};

/// There is none.
pub(crate) struct Announcement(#[allow(dead_code)] Infallible);

impl Announcement {
    /// Never.
    pub(crate) fn start(_: Kind, _: SocketAddr) -> Option<Announcement> {
        None
    }
}

/// Nothing can be found.
pub(crate) fn find() -> Result<Vec<Found>, String> {
    Err("this program was built without discovery; give the HOST and the PORT".into())
}
